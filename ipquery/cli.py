"""The ``ipquery`` command: build, look up, and tell what a database holds."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import click

from ipquery import doctor
from ipquery.address import parse
from ipquery.config import Config, ConfigError, load
from ipquery.data import build
from ipquery.data.blend.policy import METHODS
from ipquery.data.record import DataError
from ipquery.data.snapshot import Describer, Snapshot
from ipquery.data.sources import parse_source
from ipquery.net.limits import open_files_limit
from ipquery.progress import reporter

_READ_BYTES = 1 << 16


class _Group(click.Group):
    """Turns the errors a user can mend into one line and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (ConfigError, DataError) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # `ipquery lookup - | head`: the rest is not wanted. The descriptor
            # is replaced so that the interpreter's last flush doesn't complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None


@click.group(cls=_Group)
@click.version_option(package_name="ipquery")
def main() -> None:
    """Where an IP address is, and whose it is.

    SOURCE is a database file, [FORMAT:]PATH, or `default`. The daemon is
    started with `twistd ipquery`.
    """


def _with_config(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Configuration file with databases, lists of codes and limits.",
    )(command)


def _load(path: Path | None) -> Config:
    return load(path) if path else Config()


@main.command("build")
@click.option(
    "-o",
    "out",
    metavar="OUT.ipq",
    required=True,
    type=click.Path(path_type=Path),
    help="The snapshot to write; an existing one is replaced only when all is well.",
)
@click.option(
    "--policy",
    "method",
    type=click.Choice(METHODS),
    help="How several SOURCEs are blended: the first with a record answers whole, each level "
    "is filled from the first that knows (the default), or country and province by vote.",
)
@_with_config
@click.argument("sources", metavar="SOURCE...", nargs=-1)
def build_command(
    out: Path, method: str | None, config_path: Path | None, sources: Sequence[str]
) -> None:
    """Compile databases into a snapshot.

    SOURCEs in order of precedence. Without any, the configuration's.
    """
    config = _load(config_path)
    policy = attrs.evolve(config.blend, method=method) if method else config.blend
    databases = [parse_source(text) for text in sources] or config.databases
    if not databases:
        raise DataError("no database given; name a SOURCE, or a --config that does")
    built = build.build(databases, out, reporter(sys.stderr), config.lists, config.build, policy)
    click.echo(
        f"{out}: built in {built.seconds:.1f} s with {built.peak_memory >> 20} MB of memory",
        err=True,
    )


def _open(config: Config, databases: Sequence[str]) -> Snapshot:
    sources = [parse_source(text) for text in databases] or config.databases
    if not sources:
        raise DataError("no database given; name one with --db, or a --config that does")
    path = build.ensure_snapshot(
        sources,
        config.cache_dir,
        reporter(sys.stderr),
        config.lists,
        config.build,
        config.blend,
    )
    try:
        return Snapshot(path)
    except OSError as error:
        raise DataError(f"{path}: can't read this snapshot: {error.strerror}") from None


@main.command()
@click.option(
    "--db",
    "databases",
    metavar="DB",
    multiple=True,
    help="A snapshot, or a SOURCE; may be given several times.",
)
@_with_config
@click.argument("addresses", metavar="IP...|-", nargs=-1, required=True)
def lookup(databases: Sequence[str], config_path: Path | None, addresses: Sequence[str]) -> None:
    """Look addresses up: one JSON object a line, in the order given.

    "-" reads addresses from standard input, one a line. What isn't an address
    is named on standard error, and the exit status is 1.
    """
    with _open(_load(config_path), databases) as snapshot:
        lines = _Lines(snapshot)
        for batch in _batches(addresses, sys.stdin.buffer):
            click.echo(b"".join(lines.of(batch)), nl=False)
    if lines.rejected:
        raise SystemExit(1)


def _batches(addresses: Sequence[str], stdin: BinaryIO) -> Iterator[Iterable[str]]:
    for address in addresses:
        if address == "-":
            yield from _read_batches(stdin)
        else:
            yield [address]


def _read_batches(stdin: BinaryIO) -> Iterator[list[str]]:
    """Whole lines as they come in, so that a pipe that never ends is answered in time."""
    rest = b""
    while chunk := os.read(stdin.fileno(), _READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line.decode(errors="replace").strip() for line in lines if line.strip()]
    if rest.strip():
        yield [rest.decode(errors="replace").strip()]


class _Lines:
    """Output lines, as UTF-8."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._describe = Describer(snapshot).describe
        self.rejected = 0

    def of(self, addresses: Iterable[str]) -> Iterator[bytes]:
        for address in addresses:
            try:
                version, number = parse(address)
            except ValueError as error:
                self.rejected += 1
                click.echo(str(error), err=True)
                continue
            known = self._describe(version, number) or b'"found":false'
            # An address holds no character that JSON would escape.
            yield b'{"ip":"%b",%b}\n' % (address.encode(), known)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@_with_config
@click.argument("db", metavar="[DB]", required=False)
def info(as_json: bool, config_path: Path | None, db: str | None) -> None:
    """Tell what a database holds: sources, dates, licences, counts, coverage."""
    with _open(_load(config_path), [db] if db else []) as snapshot:
        about = {"identity": snapshot.identity, **snapshot.about}
    if as_json:
        click.echo(json.dumps(about, ensure_ascii=False, indent=2))
        return
    for line in _describe(about):
        click.echo(line)


def _describe(about: dict[str, Any]) -> Iterator[str]:
    for label, value in _facts(about):
        yield f"{label:<15}{value}" if label else ""


def _facts(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "snapshot", about["identity"]
    for source in about["sources"]:
        yield "", ""
        yield "source", f"{source['name']} ({source['format']}, {source['bytes']:,} bytes)"
        yield "date", source["date"] or "unknown"
        yield "licence", source["licence"] or "not stated"
        yield "attribution", source["attribution"] or "not stated"
        yield "ranges", _pair(source["ranges"])
        yield "records", f"{source['records']:,}"
    yield "", ""
    yield (
        "answers",
        f"{about['answers']:,} different ones, of {about['places']:,} places and "
        f"{about['owners']:,} owners",
    )
    yield "ranges", _pair(about["ranges"])
    for version, bits in (("ipv4", 32), ("ipv6", 128)):
        yield "coverage", f"{about['addresses'][version] / 2**bits:.2%} of {_VERSIONS[version]}"
    for field, share in about["codes"].items():
        where = "" if field == "country" else " in China"
        named = share["named"]
        part = f"{share['coded'] / named:.2%}" if named else "none"
        yield (
            f"{field} code",
            f"{part} of the {named:,} ranges that name one, of {share['ranges']:,}{where}",
        )


_VERSIONS = {"ipv4": "IPv4", "ipv6": "IPv6"}


def _pair(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {_VERSIONS[version]}" for version, count in counts.items())


@main.command("doctor")
@click.option(
    "--load",
    "outgoing",
    metavar="CONNECTIONS",
    type=click.IntRange(min=0),
    default=0,
    help="Check for a load generator on this machine, too, with so many connections.",
)
@_with_config
def doctor_command(config_path: Path | None, outgoing: int) -> None:
    """Say which of this machine's settings are too low for the configured load.

    Each is followed by the line that mends it. Exit status 1 if there is any.
    Run it as the service's user, under the limits that the service has.
    """
    config = _load(config_path)
    needs = doctor.Needs(config.http.connections, config.workers, outgoing)
    findings = doctor.check(Path("/proc"), needs, open_files_limit())
    for finding in findings:
        click.echo(f"{finding.what} is {finding.found}, should be {finding.wanted}: {finding.why}")
        click.echo(f"    {finding.mend}\n")
    load_text = f"workers = {needs.workers}, http.connections = {needs.connections}"
    if findings:
        click.echo(f"{len(findings)} to mend for {load_text}.")
        raise SystemExit(1)
    click.echo(f"Nothing to mend for {load_text}.")
