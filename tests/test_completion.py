"""What the shells complete, asked of the real shells; and the man pages, by the real man."""

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from ipquery.cli import main
from ipquery.tap import Options
from loadgen.cli import main as load
from tests.programs import IPQUERY, require


def _run(*command: object, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{IPQUERY.parent}:{os.environ['PATH']}", **environment},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Each prints, one a line, what the shell has got from the script for the words in WORDS.
SHELLS = {
    "bash": """
        source "$SCRIPT"
        COMP_WORDS=($WORDS) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p ipquery | sed -E 's/.*-F ([^ ]+).*/\\1/') ipquery
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    # Without a terminal there is no line to complete: what the script says is printed.
    "zsh": """
        compdef() { }
        source "$SCRIPT"
        _describe() { print -l -- ${(P)3} }
        compadd() { print -l -- $completions }
        words=(${=WORDS}) CURRENT=${#words}
        _ipquery_completion
    """,
    "fish": 'source "$SCRIPT"; complete -C "$WORDS"',
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    require(name, name)
    return name


def _completed(shell: str, folder: Path, words: str) -> list[str]:
    script = folder / "script"
    script.write_text(_run(IPQUERY, "completion", shell))
    # Without its user's files.
    flags = ["-f"] if shell == "zsh" else []
    said = _run(shell, *flags, "-c", SHELLS[shell], SCRIPT=str(script), WORDS=words)
    # zsh and fish have an explanation behind the word.
    return [re.split(r"[:\t]", line)[0] for line in said.splitlines()]


def test_it_completes_commands_and_options(shell: str, tmp_path: Path) -> None:
    assert _completed(shell, tmp_path, "ipquery lo") == ["lookup"]
    assert _completed(shell, tmp_path, "ipquery build --po") == ["--policy"]


def test_a_shell_that_is_not_known_is_refused() -> None:
    done = subprocess.run(
        [IPQUERY, "completion", "tcsh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("manual") / "man1"
    written = [Path(line) for line in _run(IPQUERY, "manual", folder).splitlines()]
    assert sorted(written) == sorted(folder.iterdir())
    return {path.name: path for path in written}


def test_every_command_has_a_page(pages: dict[str, Path]) -> None:
    commands = {f"ipquery-{name}.1" for name in main.commands}
    assert set(pages) == {"ipquery.1", "twistd-ipquery.1", *commands}


def test_the_daemon_has_one_that_says_what_its_help_says(pages: dict[str, Path]) -> None:
    shown = _shown(pages["twistd-ipquery.1"])
    options = Options()
    for text in (*options.docs.values(), *options.longdesc.split("\n\n")[1:]):
        assert " ".join(text.split()) in shown
    helped = " ".join(options.getUsage(width=1000).split())
    for switch in ("-b, --bind", "-w, --workers", "--config", "--db", "--redis", "--no-express"):
        assert switch in shown
        assert switch in helped
    first = options.longdesc.split("\n\n")[0].rstrip(".")
    said = _run(require("lexgrog", "man-db"), pages["twistd-ipquery.1"])
    assert f'"twistd-ipquery - {first}"' in said


def test_so_has_the_load_generator(tmp_path: Path) -> None:
    written = _run(IPQUERY.with_name("ipquery-load"), "manual", tmp_path / "man1").splitlines()
    names = {Path(line).name for line in written}
    assert names == {"ipquery-load.1", *(f"ipquery-load-{name}.1" for name in load.commands)}
    assert "Produce load, honestly measured" in _shown(tmp_path / "man1/ipquery-load.1")
    shown = _shown(tmp_path / "man1/ipquery-load-run.1")
    with click.Context(load.commands["run"], info_name="run") as context:
        for parameter in load.commands["run"].get_params(context):
            for said in parameter.get_help_record(context) or ():
                assert " ".join(said.split()) in shown


def _shown(page: Path) -> str:
    """The page as people see it, on so wide a terminal that no line of it is folded."""
    require("man", "man-db")
    shown = _run(
        "man", "--warnings", "-l", page, LC_ALL="C.UTF-8", MANWIDTH="1000", MAN_KEEP_FORMATTING=""
    )
    return " ".join(shown.split())


@pytest.mark.parametrize("name", ["", *main.commands])
def test_a_page_says_what_help_says(pages: dict[str, Path], name: str) -> None:
    command = main.commands[name] if name else main
    shown = _shown(pages[f"ipquery-{name}.1" if name else "ipquery.1"])
    assert command.help is not None
    for paragraph in command.help.replace("\b", "").split("\n\n")[1:]:
        assert " ".join(paragraph.split()) in shown
    with click.Context(command, info_name="ipquery") as context:
        for parameter in command.get_params(context):
            for said in parameter.get_help_record(context) or ():
                assert " ".join(said.split()) in shown


def test_apropos_gets_the_whole_first_sentence(pages: dict[str, Path]) -> None:
    said = _run(require("lexgrog", "man-db"), *pages.values())
    for name, command in main.commands.items():
        assert command.help is not None
        first = " ".join(command.help.split("\n\n")[0].split()).rstrip(".")
        assert f'"ipquery-{name} - {first}"' in said


def test_the_group_s_page_names_all_others(pages: dict[str, Path]) -> None:
    shown = _shown(pages["ipquery.1"])
    for name in main.commands:
        assert f"ipquery-{name}(1)" in shown
