"""What ``ipquery enrich`` takes for a row of each format, in one process, beside jq and HTTP.

    python -m loadgen.bench.enrich [DB]

Addresses are those of a day's log: some visitors come often, most seldom (Zipf). Nothing is
asserted. Processor time counts, all that the command takes from its start to its end, and of all
rounds the best, as whatever disturbs makes them slower only.

Without it jq would read the addresses, curl would ask the daemon for one after the other, on one
connection, and jq would put the answers into the rows. That row is what these take, and the daemon.
"""

import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import click

from ipquery import Snapshot
from loadgen.bench.requests import draw_addresses
from loadgen.cli.parameters import snapshot_of
from loadgen.peers.servers import IPQUERY as IPQUERY_SERVER
from loadgen.peers.servers import Running
from loadgen.report.tables import columns
from loadgen.send.addresses import ZIPF_POPULATION, random_of, zipf
from loadgen.tools.program import spent

_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
IPQUERY = Path(sys.executable).parent / "ipquery"
_TIME = "2026-11-29T09:00:00Z"


@attrs.frozen
class Kind:
    """A file of some format, and what the command is told about it."""

    name: str
    header: str
    row: Callable[[str, int], str]
    options: Sequence[str] = ()
    is_compressed: bool = False


def _csv(ip: str, number: int) -> str:
    return f"{_TIME},{ip},200,{number},/a/b/{number}.html\n"


def _quoted(ip: str, number: int) -> str:
    return f'"{_TIME}","{ip}","200","{number}","/a/b/{number}.html"\n'


def _combined(ip: str, number: int) -> str:
    request = f'"GET /a/b/{number}.html HTTP/1.1"'
    return f'{ip} - - [29/Nov/2026:09:00:00 +0000] {request} 200 {number} "-" "{_AGENT}"\n'


def _json(ip: str, number: int) -> str:
    return f'{{"time":"{_TIME}","client":{{"ip":"{ip}","port":{number}}},"status":200}}\n'


_HEADER = "time,ip,status,bytes,path\n"

JSON = Kind("json", "", _json, ["--column", "client.ip"])

# Fields as enrich adds them without being told. $1 is the file, $2 the daemon's port.
_BY_HTTP = r"""set -eo pipefail
url="http://127.0.0.1:$2/v1/ip/\(.client.ip)?fields=country_code,province,city,isp,asn"
jq -r "\"url = $url\"" "$1" |
    curl --silent --config - --write-out '\n' |
    paste -d '\n' "$1" - |
    jq -c -n 'inputs as $row | $row + {geo: input}'
"""

# They take tens of times as long.
_FEW = 50_000

KINDS = (
    Kind("csv", _HEADER, _csv),
    Kind("csv, every field quoted", _HEADER, _quoted),
    Kind("csv, --anonymise", _HEADER, _csv, ["--anonymise"]),
    Kind("csv, gzip", _HEADER, _csv, is_compressed=True),
    Kind("combined", "", _combined),
    Kind("combined, --log-format", "", _combined, ["--log-format", "$remote_addr - $rest"]),
    JSON,
)


def measure(path: Path, file: Path, kind: Kind) -> float:
    """Seconds of processor time.

    :param path: a snapshot.
    """
    command = [str(IPQUERY), "enrich", "--db", str(path), "-j", "1"]
    with subprocess.Popen(
        [*command, *kind.options, str(file)], stdout=subprocess.DEVNULL
    ) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise click.ClickException(f"{kind.name}: ended with {running.returncode}")
    return usage.ru_utime + usage.ru_stime


def by_jq_and_http(running: Running, file: Path) -> float:
    """Seconds of processor time, of all that take part, for a file of JSON lines."""
    before = spent() + running.cpu_seconds(IPQUERY_SERVER)
    command = ["bash", "-c", _BY_HTTP, "bash", str(file), str(IPQUERY_SERVER.port)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return spent() + running.cpu_seconds(IPQUERY_SERVER) - before


def _beside(path: Path, folder: Path, addresses: Sequence[str], rounds: int) -> float | None:
    """Rows a second by jq and HTTP; ``None`` where one of the programs is missing."""
    for program in ("jq", "curl"):
        if shutil.which(program) is None:
            click.echo(f"{program} is missing: its row is left out (apt-get install {program})")
            return None
    file = folder / "beside"
    write(file, JSON, addresses)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    with Running(folder, path, None, cores) as running:
        running.start(IPQUERY_SERVER)
        return len(addresses) / min(by_jq_and_http(running, file) for _ in range(rounds))


def write(file: Path, kind: Kind, addresses: Sequence[str]) -> None:
    """A file with a row for each address."""
    rows = "".join(kind.row(ip, number) for number, ip in enumerate(addresses))
    content = (kind.header + rows).encode()
    file.write_bytes(gzip.compress(content, 6) if kind.is_compressed else content)


def _addresses(path: Path, count: int, v6: float) -> Iterator[str]:
    chance = random_of(1)
    with Snapshot(path) as snapshot:
        known = draw_addresses(snapshot, ZIPF_POPULATION)
    v4_drawn = iter(zipf(chance, 1.0, known.v4)(count))
    v6_drawn = iter(zipf(chance, 1.0, known.v6)(count) if known.v6 else [])
    which = random.Random(1)  # noqa: S311 # the same again is what is wanted
    for _ in range(count):
        drawn = v6_drawn if known.v6 and which.random() < v6 else v4_drawn
        yield next(drawn).decode()


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Turns that each gets.")
@click.option("--count", default=2_000_000, show_default=True, help="Rows of a file.")
@click.option("--v6", default=0.1, show_default=True, help="How many of the addresses are IPv6.")
@click.argument("db", default="default")
def main(rounds: int, count: int, v6: float, db: str) -> None:
    """Measure what enriching takes with DB, a snapshot or SOURCE."""
    named = snapshot_of(db)
    assert named is not None
    best: dict[str, float] = {}
    addresses = [*_addresses(Path(named), count, v6)]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(KINDS))]
        short = Path(folder, "short")
        write(short, KINDS[0], addresses[:1])
        start = min(measure(Path(named), short, KINDS[0]) for _ in range(rounds))
        for file, kind in zip(files, KINDS, strict=True):
            write(file, kind, addresses)
        for _ in range(rounds):
            for file, kind in zip(files, KINDS, strict=True):
                found = measure(Path(named), file, kind)
                best[kind.name] = min(found, best.get(kind.name, found))
        by_http = _beside(Path(named), Path(folder), addresses[:_FEW], rounds)
    click.echo(f"its start: {start:.2f} s of the processor")
    table = [["million rows/s", "with its start", "beyond it"]]
    table += [
        [name, f"{count / seconds / 1e6:.2f}", f"{count / (seconds - start) / 1e6:.2f}"]
        for name, seconds in best.items()
    ]
    if by_http is not None:
        table.append(["json, by jq, curl and the daemon", f"{by_http / 1e6:.3f}", ""])
    click.echo(columns(table))


if __name__ == "__main__":
    main()
