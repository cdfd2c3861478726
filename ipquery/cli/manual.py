"""``ipquery manual``: man pages, made of what ``--help`` says.

click-man makes such pages, too. It cuts the line that ``apropos`` shows off after 45
characters, names no other pages, and would have to be installed wherever pages are made.
"""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import click

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
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in manual(context.find_root().command):
        path = folder / f"{name}.{_SECTION}"
        path.write_text(text, "utf-8")
        click.echo(path)


def manual(group: click.Command) -> Iterator[tuple[str, str]]:
    """The name of each page, and the page: of the group first, then of its commands."""
    assert isinstance(group, click.Group)
    with click.Context(group, info_name="ipquery") as context:
        pages = {"ipquery": context}
        for name in group.list_commands(context):
            pages[f"ipquery-{name}"] = click.Context(
                group.commands[name], parent=context, info_name=name
            )
        for name, one in pages.items():
            others = [other for other in pages if other != name]
            lines = [*_page(name, one), *_see_also(others if one is context else others[:1])]
            yield name, "\n".join(lines) + "\n"


def _page(name: str, context: click.Context) -> Iterator[str]:
    command = context.command
    first, *more = _paragraphs(command)
    version = importlib.metadata.version("ipquery")
    yield f'.TH {_plain(name.upper())} {_SECTION} "" "ipquery {version}" "User Commands"'
    yield ".SH NAME"
    yield f"{_plain(name)} \\- {_plain(first.rstrip('.'))}"
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
