"""Batches: addresses a second in every form, beside one by one and beside nginx with GeoIP2.

    python -m loadgen.bench.batch [--snapshot FILE] [--rounds 3] [--seconds 3] [--mmdb FILE]

wrk sends the batches, 8 at the same time, on the core that the servers don't have. What is
compared is processor time of the server for an address: the generator, which reads up to
8 MB for each answer, is slower than the server in some of the rows. Behind the rows stands what
batches cost others, see :mod:`loadgen.bench.neighbours`.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import attrs
import click

from ipquery import Snapshot
from ipquery.data.build import default_cache, served_snapshot
from ipquery.data.sources import default_sources
from ipquery.progress import reporter
from loadgen.bench import neighbours, requests, subjects
from loadgen.bench.rounds import Contender, Row, measure
from loadgen.peers.cores import LOAD_CORE, SERVER_CORE
from loadgen.peers.servers import GEOIP2, IPQUERY, Running, Server
from loadgen.report.tables import Table, columns
from loadgen.report.tally import Tally
from loadgen.tools.wrk import replay_with_wrk

_SIZES = (10, 100, 10_000)
_CONNECTIONS = 8
_JSON, _NDJSON, _TEXT = "application/json", "application/x-ndjson", "text/plain"
_ARRAYS = "application/vnd.ipquery.arrays+json"
_TWO = "fields=country_code,city"


@attrs.frozen
class Form:
    """How batches are asked and answered."""

    name: str
    body: str
    accept: str
    query: str = ""
    headers: str = ""
    gives_objects: bool = False
    """Whether each address is ``{"ip": …}``."""

    def request(self, addresses: Sequence[bytes]) -> bytes:
        """One batch."""
        items = [one.decode() for one in addresses]
        if self.body == _TEXT:
            body = "".join(f"{one}\n" for one in items)
        else:
            texts = [json.dumps({"ip": one} if self.gives_objects else one) for one in items]
            is_array = self.body == _JSON
            body = f"[{', '.join(texts)}]" if is_array else "".join(f"{one}\n" for one in texts)
        head = (
            f"POST /v1/batch?{self.query} HTTP/1.1\r\nHost: ip.example.com\r\n"
            f"Content-Type: {self.body}\r\nAccept: {self.accept}\r\n{self.headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


_LARGEST = Form("NDJSON, whole objects", _NDJSON, _NDJSON)

FORMS = (
    Form("NDJSON, two fields", _NDJSON, _NDJSON, _TWO),
    _LARGEST,
    Form("NDJSON of objects, two fields", _NDJSON, _NDJSON, _TWO, gives_objects=True),
    Form("text to NDJSON, two fields", _TEXT, _NDJSON, _TWO),
    Form("JSON, two fields", _JSON, _JSON, _TWO),
    Form("JSON, whole objects", _JSON, _JSON),
    Form("JSON to the contract's arrays", _JSON, _ARRAYS),
    Form("text to CSV, two fields", _TEXT, "text/csv", _TWO),
    Form("NDJSON, two fields, gzip", _NDJSON, _NDJSON, _TWO, "Accept-Encoding: gzip\r\n"),
    Form("NDJSON, whole objects, gzip", _NDJSON, _NDJSON, "", "Accept-Encoding: gzip\r\n"),
)


@attrs.frozen
class _Subject:
    """A row of the table."""

    name: str
    size: int
    contender: Contender


def _ask(file: Path, server: Server, seconds: float) -> Tally:
    return replay_with_wrk(server.port, file, _CONNECTIONS, seconds, LOAD_CORE)


def _batches(forms: Sequence[Form], addresses: Sequence[bytes], folder: Path) -> Iterator[_Subject]:
    for place, form in enumerate(forms):
        for size in _SIZES:
            file = folder / f"batch-{place}-{size}"
            starts = range(0, len(addresses) - size + 1, size)
            requests.write(file, (form.request(addresses[at : at + size]) for at in starts))
            name = f"{form.name}, {size:,}"
            yield _Subject(form.name, size, Contender(name, IPQUERY, partial(_ask, file)))


def table(rows: Sequence[tuple[str, int, Row]]) -> Table:
    """The figures: name, addresses in a request, and what was found."""
    nginx = next((row.cpu_microseconds for name, _, row in rows if name == GEOIP2.name), None)
    heads = ("asked", "at once", "addresses/s", "CPU µs for one", "a core, addresses/s")
    body = []
    for name, size, row in rows:
        cost = row.cpu_microseconds / size
        cells = [
            name,
            f"{size:,}",
            f"{row.median(lambda result: result.rate) * size:,.0f}",
            f"{cost:.2f}",
            f"{1e6 / cost:,.0f}" if cost else "-",
            f"{row.pss / 1e6:.0f}",
            str(row.errors),
        ]
        if nginx is not None:
            cells.insert(4, f"{cost / nginx:.3f}")
        body.append(tuple(cells))
    head = [*heads, "PSS MB", "errors"]
    if nginx is not None:
        head.insert(4, "of nginx's")
    return [tuple(head), *body]


@click.command()
@click.option("--snapshot", type=click.Path(path_type=Path), help="Instead of the default's.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=3, show_default=True)
@click.option("--only", multiple=True, metavar="PATTERN", help="Only rows of such names.")
@click.option("--mmdb", type=click.Path(path_type=Path), help="DB-IP City Lite, for nginx.")
def main(
    snapshot: Path | None, rounds: int, seconds: int, only: Sequence[str], mmdb: Path | None
) -> None:
    """Measure batches beside look-ups one by one, and what they cost others.

    Without --mmdb there is no nginx.
    """
    if snapshot is None:
        snapshot = served_snapshot(default_sources(), default_cache(), reporter(sys.stderr))
    forms = [form for form in FORMS if not only or any(fnmatchcase(form.name, one) for one in only)]
    with Snapshot(snapshot) as opened:
        addresses = requests.draw_addresses(opened).v4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Running(folder, snapshot.absolute(), mmdb and mmdb.absolute(), SERVER_CORE) as running:
            one_by_one = [subjects.contender(IPQUERY, 64)]
            if mmdb is not None:
                one_by_one.append(subjects.contender(GEOIP2, 64))
            chosen = [_Subject(one.name, 1, one) for one in one_by_one]
            chosen += _batches(forms, addresses, folder)
            found = measure(
                [one.contender for one in chosen],
                running,
                rounds,
                seconds,
                lambda text: click.echo(text, err=True),
            )
            batches = folder / "neighbours"
            starts = range(0, len(addresses) - _SIZES[-1] + 1, _SIZES[-1])
            request = _LARGEST.request
            requests.write(batches, (request(addresses[at : at + _SIZES[-1]]) for at in starts))
            look_ups = folder / "look-ups"
            requests.write(look_ups, map(requests.get, addresses))
            others = neighbours.measure_neighbours(
                look_ups, batches, running, rounds, seconds, lambda text: click.echo(text, err=True)
            )
    rows = [(one.name, one.size, row) for one, row in zip(chosen, found, strict=True)]
    click.echo(f"\n{columns(table(rows))}")
    click.echo(f"\n{columns(neighbours.table(others))}")


if __name__ == "__main__":
    main()
