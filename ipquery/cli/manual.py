"""``ipquery manual``: man pages, made of what ``--help`` says.

click-man makes such pages, too. It cuts the line that ``apropos`` shows off after 45
characters, names no other pages, and would have to be installed wherever pages are made.
"""

import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ipquery.tap import Options

_SECTION = 1
_SHOWN_AS_THEY_ARE = "\b"


@click.command("manual")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def manual_command(context: click.Context, folder: Path) -> None:
    """Write the man pages of all commands into a folder.

    The folder is made if there is none; man looks into ~/.local/share/man/man1 and
    /usr/local/share/man/man1. Prints the pages' names.
    """
    # Here, as it brings Twisted.
    from ipquery.tap import Options

    write_pages(folder, [*manual(context.find_root().command, "ipquery"), daemon_page(Options())])


def write_pages(folder: Path, pages: Iterable[tuple[str, str]]) -> None:
    """Write pages into a folder, and print their paths.

    :param pages: the name of each, and its text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages:
        path = folder / f"{name}.{_SECTION}"
        path.write_text(text, "utf-8")
        click.echo(path)


def daemon_page(options: "Options") -> tuple[str, str]:
    """The name of the page of ``twistd ipquery``, and the page.

    :param options: what it is told by.
    """
    name = "twistd-ipquery"
    first, *more = options.longdesc.split("\n\n")
    lines = [
        *_beginning(name, first),
        ".SH SYNOPSIS",
        f"\\fBtwistd {_plain('-n')} ipquery\\fR {_plain('[OPTIONS]')}",
        ".SH DESCRIPTION",
    ]
    for paragraph in more or [first]:
        lines += _paragraph(paragraph)
    lines.append(".SH OPTIONS")
    for long in options.longOpt:
        option = long.rstrip("=")
        given = [one for one, meant in options.synonyms.items() if meant == option]
        switches = ", ".join(
            f"-{one}" if len(one) == 1 else f"--{one}" for one in sorted(given, key=len)
        )
        value = " VALUE" if long.endswith("=") else ""
        lines += _item(switches + value, options.docs[option])
    return name, "\n".join([*lines, *_see_also(["ipquery"])]) + "\n"


def manual(group: click.Command, called: str) -> Iterator[tuple[str, str]]:
    """The name of each page, and the page: of the group first, then of its commands.

    :param called: the group's name.
    """
    assert isinstance(group, click.Group)
    with click.Context(group, info_name=called) as context:
        pages = {called: context}
        for name in group.list_commands(context):
            pages[f"{called}-{name}"] = click.Context(
                group.commands[name], parent=context, info_name=name
            )
        for name, one in pages.items():
            others = [other for other in pages if other != name]
            lines = [*_page(name, one), *_see_also(others if one is context else others[:1])]
            yield name, "\n".join(lines) + "\n"


def _beginning(name: str, first: str) -> Iterator[str]:
    """:param first: the sentence that says what it is."""
    version = importlib.metadata.version("ipquery")
    yield f'.TH {_plain(name.upper())} {_SECTION} "" "ipquery {version}" "User Commands"'
    yield ".SH NAME"
    yield f"{_plain(name)} \\- {_plain(' '.join(first.split()).rstrip('.'))}"


def _page(name: str, context: click.Context) -> Iterator[str]:
    command = context.command
    first, *more = _paragraphs(command)
    yield from _beginning(name, first)
    yield ".SH SYNOPSIS"
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"\\fB{_plain(context.command_path)}\\fR {_plain(pieces)}"
    yield ".SH DESCRIPTION"
    for paragraph in more or [first]:
        yield from _paragraph(paragraph)
    records = (option.get_help_record(context) for option in command.get_params(context))
    yield ".SH OPTIONS"
    for switches, text in filter(None, records):
        yield from _item(switches, text)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for subcommand in command.commands.values():
            yield from _item(f"{subcommand.name}", _paragraphs(subcommand)[0])


def _see_also(names: list[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield ",\n".join(f"\\fB{_plain(name)}\\fR({_SECTION})" for name in names)


def _paragraphs(command: click.Command) -> list[str]:
    """What a command says of itself; the first is one sentence."""
    assert command.help, f"{command.name} says nothing of itself"
    return command.help.split("\n\n")


def _paragraph(text: str) -> Iterator[str]:
    if text.startswith(_SHOWN_AS_THEY_ARE):
        yield from (".PP", ".nf", _plain(text.removeprefix(_SHOWN_AS_THEY_ARE).strip("\n")), ".fi")
    else:
        yield from (".PP", _plain(" ".join(text.split())))


def _item(name: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{_plain(name)}\\fR", _plain(" ".join(text.split())))


def _plain(text: str) -> str:
    """A text that roff shows as it is: signs of its own, and first signs of lines."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`").replace("'", "\\(aq")
    return re.sub(r"^(?=\.)", r"\\&", text.replace("~", "\\(ti").replace("^", "\\(ha"), flags=re.M)
