"""Enriched logs and tables say of each row what one look-up after the other says."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Snapshot
from ipquery.address import parse, to_text
from ipquery.data.enrich.inputs import Input
from ipquery.data.enrich.job import run
from ipquery.data.enrich.options import options_for
from ipquery.data.enrich.output import Output
from ipquery.data.enrich.prefixes import prefix_of
from ipquery.data.enrich.totals import Totals
from tests.data.addresses import FIELDS, said

PLACED = ("network", "country_code", "last", "asn", "first")


@pytest.fixture(scope="module")
def db(sample: Path) -> Iterator[Snapshot]:
    with Snapshot(sample) as snapshot:
        yield snapshot


def enrich(
    db: Snapshot, *given: bytes, size: int = 1 << 22, processes: int = 1, **choices: Any
) -> tuple[bytes, Totals]:
    """What comes out of files."""
    choices.setdefault("fields", FIELDS)
    options = options_for(**choices)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}") for number in range(len(given))]
        for path, content in zip(paths, given, strict=True):
            path.write_bytes(content)
        inputs = [Input(path) for path in paths]
        try:
            with Path(folder, "out").open("w+b") as file:
                output = Output("out", file.fileno())
                path = db.path
                totals = run(path, inputs, options, output, processes, lambda so_far: None, size)
                file.seek(0)
                return file.read(), totals
        finally:
            for one in inputs:
                one.close()


def counted(rows: Sequence[Sequence[Any]]) -> Totals:
    last = [row[-1] for row in rows]
    return Totals(len(rows), last.count("unknown"), last.count("bad"))


_v4 = st.integers(0, 2**32 - 1).map(lambda number: to_text(4, number))
_v6 = st.integers(0x2400 << 112, 0x2600 << 112).map(lambda number: to_text(6, number))
_BAD = ("", "-", "x", "1.2.3.4.5", "01.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0", "unix:", "9" * 70)
addresses = _v4 | _v6 | st.sampled_from(_BAD)
sizes = st.sampled_from((8, 50, 300, 1 << 20))

# --- csv


def _csv(rows: Sequence[Sequence[str]], mark: str, ending: str, quoting: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator=ending, quoting=quoting).writerows(rows)
    return text.getvalue().encode()


def _records(data: bytes, mark: str) -> list[list[str]]:
    # No translation of line ends: those in quotes stay what they are.
    lines = io.StringIO(data.decode(), newline="")
    return [row for row in csv.reader(lines, delimiter=mark) if row]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


cells = st.sampled_from(
    ("", "a", "b c", 'say "x"', "a,b", "c\td", "line\nline", "\r\n", '"', "é中")
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[list[str]]]:
    """Rows of one width, and the number of the column with addresses."""
    width = draw(st.integers(1, 4))
    column = draw(st.integers(0, width - 1))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=12))
    for row in rows:
        row[column] = draw(addresses)
    return column, [row for row in rows if row != [""]]  # a line with nothing is none


@given(
    tables(),
    st.sampled_from((",", "\t")),
    st.sampled_from(("\n", "\r\n")),
    st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    sizes,
    st.booleans(),
)
def test_csv_has_the_fields_of_each_row(
    db: Snapshot,
    table: tuple[int, list[list[str]]],
    mark: str,
    ending: str,
    quoting: Any,
    size: int,
    anonymise: bool,
) -> None:
    column, rows = table
    header = [f"c{k}" for k in range(4)][: max(map(len, rows), default=column + 1)]
    header[column] = "ip"
    format_ = {",": "csv", "\t": "tsv"}[mark]
    given_ = _csv([header, *rows], mark, ending, quoting)
    made, totals = enrich(db, given_, size=size, format_=format_, anonymise=anonymise)
    first, *found = _records(made, mark)
    assert first == [*header, *(f"ip_{name}" for name in FIELDS), "ip_status"]
    added = [said(db, row[column]) for row in rows]
    for row in rows if anonymise else ():
        row[column] = prefix_of(row[column])
    wanted = [[*row, *map(_text, more)] for row, more in zip(rows, added, strict=True)]
    assert found == wanted
    assert totals == counted(added)


@given(
    st.lists(st.text('",\n\r a1.', max_size=12), min_size=1, max_size=8).map("".join),
    sizes,
    st.integers(1, 3),
)
def test_any_csv_is_read_as_pythons_reader_reads_it(
    db: Snapshot, text: str, size: int, column: int
) -> None:
    """Quotes anywhere, rows of any width."""
    given_ = f"a,b,ip\n{text}\n".replace("\r", "").encode()
    names = ["ip" if k == column else f"c{k}" for k in range(1, 4)]
    given_ = given_.replace(b"a,b,ip", ",".join(names).encode(), 1)
    lines = io.StringIO(given_.decode(), newline="")
    reader = csv.reader(lines)
    rows = [row for row in reader if row][1:]
    try:
        made, totals = enrich(db, given_, size=size, format_="csv")
    except DataError as error:
        assert "ends inside a quoted field" in str(error)
        assert '"' in text
        return
    found = [row for row in csv.reader(io.StringIO(made.decode(), newline="")) if row][1:]
    assert len(found) == len(rows)
    for row, more in zip(rows, found, strict=True):
        address = row[column - 1] if column <= len(row) else None
        wanted = row + [""] * (3 - len(row)) + [*map(_text, said(db, address))]
        assert more == wanted
    assert totals.odd == sum(len(row) != 3 for row in rows)


def test_csv_without_a_header(db: Snapshot) -> None:
    made, _ = enrich(db, b"x,1.2.3.4\ny,?\n", format_="csv", header=False, column="2")
    found = _records(made, ",")
    assert found == [
        ["x", "1.2.3.4", *map(_text, said(db, "1.2.3.4"))],
        ["y", "?", *map(_text, said(db, "?"))],
    ]


def test_several_files_have_one_header(db: Snapshot) -> None:
    made, totals = enrich(db, b"ip\n1.2.3.4\n", b"ip\r\n1.2.3.5", b"ip\n")
    assert [row[0] for row in _records(made, ",")] == ["ip", "1.2.3.4", "1.2.3.5"]
    assert totals.rows == 2
    with pytest.raises(DataError, match=r"1: its header isn't that of .*0"):
        enrich(db, b"ip\n1.2.3.4\n", b"address\n1.2.3.4\n")


def test_a_mark_of_utf_8_stays_where_it_is(db: Snapshot) -> None:
    made, _ = enrich(db, b"\xef\xbb\xbfip,x\n1.2.3.4,5\n")
    assert made.startswith(b"\xef\xbb\xbfip,x,ip_country_code")
    assert b"\n1.2.3.4,5," in made


def test_nothing_comes_of_nothing(db: Snapshot) -> None:
    assert enrich(db, b"", format_="json") == (b"", Totals())
    assert enrich(db, b"ip,x\n")[1] == Totals()


# --- logs

LINE = '{ip} - {user} [29/Nov/2026:09:00:00 +0000] "{request}" 200 5 "-" "{agent}"'
_ADDED = re.compile(r' "((?:[^"])*)"')


def _added_to_line(line: str, count: int) -> tuple[str, list[str]]:
    """A line as it was, and what was added."""
    values: list[str] = []
    for _ in range(count):
        at = line.rindex(' "')
        values.append(line[at + 2 : -1])
        line = line[:at]
    return line, values[::-1]


def _escaped(value: Any) -> str:
    text = "-" if value is None else str(value)
    return re.sub(r'["\\\x00-\x1f\x7f]', lambda found: f"\\x{ord(found[0]):02X}", text)


tokens = addresses.filter(bool)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "ip": tokens,
                "user": st.sampled_from(("-", "joe", "joe doe")),
                "request": st.sampled_from(("GET / HTTP/1.1", r"\x16\x03", "GET /?a=1.2.3.4 H")),
                "agent": st.sampled_from(("", "Mozilla/5.0 (X11)", r"\x22", "é")),
            }
        ),
        max_size=12,
    ),
    st.sampled_from(("\n", "\r\n")),
    sizes,
    st.booleans(),
    st.sampled_from(("combined", "first", "later")),
)
def test_logs_have_the_fields_of_each_line(
    db: Snapshot,
    lines: list[dict[str, str]],
    ending: str,
    size: int,
    anonymise: bool,
    kind: str,
) -> None:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "combined": (LINE, {"format_": "combined"}),
        "first": ("{ip}|{user}|{agent}", {"log_format": "$remote_addr|$remote_user|$agent"}),
        "later": (
            'x [{user}] "{agent}" <{ip}> {request}',
            {"log_format": 'x [$user] "$agent" <${client}> $request', "column": "client"},
        ),
    }
    template, choices = kinds[kind]
    given_ = "".join(template.format(**line) + ending for line in lines).encode()
    made, totals = enrich(db, given_, size=size, anonymise=anonymise, **choices)
    found = made.decode().split(ending)
    assert found.pop() == ""
    added = [said(db, line["ip"]) for line in lines]
    for line in lines if anonymise else ():
        line["ip"] = prefix_of(line["ip"])
    wanted = [
        template.format(**line) + "".join(f' "{_escaped(value)}"' for value in more)
        for line, more in zip(lines, added, strict=True)
    ]
    assert found == wanted
    assert totals == counted(added)


def test_lines_of_another_form_are_marked(db: Snapshot) -> None:
    given_ = b"nothing\n\n<1.2.3.4>\n1.2.3.4\n"
    made, totals = enrich(db, given_, log_format="<$ip>", column="ip", fields=["asn"])
    assert made == b'nothing "-" "bad"\n\n<1.2.3.4> "%b" "ok"\n1.2.3.4 "-" "bad"\n' % (
        _escaped(said(db, "1.2.3.4", ["asn"])[0]).encode()
    )
    assert totals == Totals(3, 0, 2)


# --- json

members: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(("a", "b", "ip_x", "client")),
    st.sampled_from((None, 1, 1.5, "x", 'q"\\', "é", [], {"ip": "9.9.9.9"}, "1.2.3.4")),
    max_size=3,
)
values: st.SearchStrategy[Any] = addresses | st.sampled_from((None, 7, True, [], {}))


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    said_: dict[str, Any] = draw(members)
    if draw(st.integers(0, 5)):
        said_["ip"] = draw(values)
    if draw(st.integers(0, 5)):
        said_["client"] = {
            **draw(members),
            **draw(st.just({}) | st.fixed_dictionaries({"ip": values})),
        }
    return said_


def _at(said_: Any, path: str) -> Any:
    for key in path.split("."):
        said_ = said_.get(key) if isinstance(said_, dict) else None
    return said_ if isinstance(said_, str) else None


@given(
    st.lists(objects() | st.sampled_from(("[]", "x", "{", "5", "{} {}")), max_size=10),
    st.sampled_from(("ip", "client.ip")),
    st.sampled_from((None, "geo")),
    sizes,
    st.booleans(),
    st.booleans(),
    st.sampled_from(((",", ":"), (", ", ": "))),
)
def test_json_has_the_fields_of_each_object(
    db: Snapshot,
    lines: list[Any],
    path: str,
    nested: str | None,
    size: int,
    anonymise: bool,
    ascii_: bool,
    separators: tuple[str, str],
) -> None:
    given_ = "".join(
        (
            one
            if isinstance(one, str)
            else json.dumps(one, ensure_ascii=ascii_, separators=separators)
        )
        + "\n"
        for one in lines
    )
    made, totals = enrich(
        db,
        given_.encode(),
        size=size,
        format_="json",
        column=path,
        nested=nested,
        anonymise=anonymise,
    )
    found = made.decode().splitlines()
    assert len(found) == len(lines)
    bad_lines = 0
    added = []
    for one, line in zip(lines, found, strict=True):
        if isinstance(one, str):
            bad_lines += 1
            if not anonymise:
                assert line == one
                continue
            added.append(said(db, None))
            one = {}
        else:
            added.append(said(db, _at(one, path)))
        prefix = "" if nested else "ip_"
        more = dict(zip([prefix + k for k in (*FIELDS, "status")], added[-1], strict=True))
        wanted = {**_anonymised(one, path)} if anonymise else {**one}
        wanted |= {nested: more} if nested else more
        assert json.loads(line) == wanted
    assert (totals.rows, totals.odd) == (len(added), bad_lines)
    assert totals.bad == counted(added).bad


def _anonymised(one: Any, path: str) -> Any:
    first, _, rest = path.partition(".")
    if not isinstance(one, dict) or first not in one:
        return one
    value = one[first]
    if rest:
        return {**one, first: _anonymised(value, rest)}
    return {**one, first: prefix_of(value if isinstance(value, str) else "")}


def test_what_is_in_objects_stays_as_it_was_written(db: Snapshot) -> None:
    line = b'{"n": 1.10, "ip": "1.2.3.4", "big": 12345678901234567890123, "t": "\\u00e9"}\n'
    made, _ = enrich(db, line)
    assert made.startswith(line[:-2])


# --- how it comes in


def _zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("backports.zstd").compress(data))


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, _zstd, lambda d: gzip.compress(d) * 2]
)
def test_what_is_compressed_is_read(db: Snapshot, compress: Any) -> None:
    lines = b"".join(b'1.2.3.%d - - [x] "GET" %d\n' % (k % 256, k) for k in range(5000))
    whole = compress(lines)
    made, totals = enrich(db, whole, size=10_000)
    assert totals.rows in (5000, 10_000)
    assert made[: len(made) // (totals.rows // 5000)] == enrich(db, lines)[0]
    with pytest.raises(DataError, match=r"0: damaged"):
        enrich(db, whole[: len(whole) // 2 - 3], format_="combined")
    with pytest.raises(DataError, match=r"0: damaged"):
        enrich(db, whole[:20] + b"xyz" * 9 + whole[40:], format_="combined")


def test_processes_keep_the_order(db: Snapshot) -> None:
    chance = random.Random(3)
    lines = [f"{k},{to_text(4, chance.randrange(2**32))}\n" for k in range(20_000)]
    given_ = "".join(["n,ip\n", *lines]).encode()
    assert enrich(db, given_, size=5000, processes=3) == enrich(db, given_)


def test_what_has_come_is_passed_on_before_more_comes(db: Snapshot, tmp_path: Path) -> None:
    from threading import Thread

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading, writing = os.pipe()
    options = options_for("csv", fields=["asn"])

    def work() -> None:
        with Input(fifo) as source:
            output = Output("out", writing)
            run(db.path, [source], options, output, 2, lambda so_far: None)
        os.close(writing)

    thread = Thread(target=work)
    thread.start()
    with fifo.open("wb", buffering=0) as into, os.fdopen(reading, "rb") as out:
        into.write(b"ip\n1.2.3.4\n")
        assert out.readline() == b"ip,ip_asn,ip_status\n"
        assert out.readline().startswith(b"1.2.3.4,")
        into.write(b"1.2.3.5\n1.2")
        assert out.readline().startswith(b"1.2.3.5,")
        into.write(b".3.6\n")
        into.close()
        assert out.read().startswith(b"1.2.3.6,")
    thread.join()


# --- what is refused

REFUSED: list[tuple[bytes, Mapping[str, Any], str]] = [
    (b"a,b\n1,2\n", {}, "no column is called 'ip'; name one by --column: 'a', 'b'"),
    (b"ip,ip\n1,2\n", {}, "two columns are called 'ip'"),
    (b"ip,ip_asn\n1,2\n", {}, "there is a column ip_asn already; choose another --prefix"),
    (b'ip,b\n1,"x\n', {}, "ends inside a quoted field"),
    (b"1,2\n", {"format_": "csv", "header": False, "column": "3"}, "there is no column 3"),
    (b"?!;\n", {}, "can't tell what format this is; name one by --format: csv, tsv, combined"),
    (b"\xff\xfei\0p\0,\0x\0\n", {}, "this isn't text"),
    (b"ip\n1\n", {"log_format": "$a $b"}, "the log format has no $remote_addr; name the"),
    (b"ip\n1\n", {"log_format": "$a$remote_addr"}, "variables with nothing between them"),
    (b"ip\n1\n", {"log_format": "$remote_addr", "format_": "csv"}, "a log format is for logs"),
    (b"ip\n1\n", {"nested": "geo"}, "fields can be nested in json, not in csv"),
    (b"ip\n1\n", {"nested": "geo", "prefix": "x"}, "not both; leave one out"),
    (b"ip\n1\n", {"header": False}, "without a header is for csv and tsv"),
    (b"ip\n1\n", {"header": False, "format_": "csv"}, "--column is the number"),
    (b"ip\n1\n", {"fields": ["colour"]}, "'colour' is no field"),
    (b"ip\n1\n", {"fields": ["network"], "anonymise": True}, "can tell the address"),
    (b"ip\n1\n", {"prefix": "a\nb"}, "can't be a name"),
    (b"PAR1 and so on", {}, "no Parquet, or damaged"),
]


@pytest.mark.parametrize(("given_", "choices", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(
    db: Snapshot, given_: bytes, choices: Mapping[str, Any], message: str
) -> None:
    if given_.startswith(b"PAR1"):
        pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")
    with pytest.raises(DataError) as refused:
        enrich(db, given_, **choices)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["none", "."])
def test_what_cannot_be_read_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(DataError, match="can't read it"):
        Input(tmp_path / missing)


# --- parquet


@given(st.lists(addresses | st.none(), max_size=20), st.booleans())
def test_parquet_has_the_fields_of_each_row(
    db: Snapshot, given_: list[str | None], anonymise: bool
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")
    import pyarrow.parquet as parquet

    table = arrow.table({"n": range(len(given_)), "ip": arrow.array(given_, arrow.string())})
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=7)
    made, totals = enrich(db, file.getvalue(), anonymise=anonymise)
    found = parquet.read_table(io.BytesIO(made)).to_pylist()
    added = [said(db, address) for address in given_]
    names = [f"ip_{name}" for name in (*FIELDS, "status")]
    for number, (address, more) in enumerate(zip(given_, added, strict=True)):
        there = prefix_of(address or "") if anonymise else address
        assert found[number] == {"n": number, "ip": there, **dict(zip(names, more, strict=True))}
    assert len(found) == len(given_)
    assert totals == counted(added)


@given(
    st.lists(st.sampled_from(("1.0.0.1", "::1", "::ffff:1.0.0.1")) | addresses, max_size=20),
    st.sampled_from((PLACED, ("network",))),
    sizes,
)
def test_networks_are_those_of_one_look_up(
    db: Snapshot, given_: list[str], fields: tuple[str, ...], size: int
) -> None:
    names = [f"ip_{name}" for name in (*fields, "status")]
    wanted = [said(db, address, fields) for address in given_]
    lines = b"".join(b"%b\n" % json.dumps({"ip": one}).encode() for one in given_)
    made, totals = enrich(db, lines, size=size, format_="json", fields=fields)
    found = [json.loads(line) for line in made.splitlines()]
    assert [[one[name] for name in names] for one in found] == wanted
    assert totals == counted(wanted)
    table = _csv([["ip", "n"], *([one, "1"] for one in given_)], ",", "\n", csv.QUOTE_MINIMAL)
    made, _ = enrich(db, table, size=size, format_="csv", fields=fields)
    assert [row[2:] for row in _records(made, ",")] == [names, *([*map(_text, w)] for w in wanted)]


@given(st.lists(addresses, max_size=20), st.sampled_from((PLACED, ("network",))))
def test_networks_in_parquet_are_those_of_one_look_up(
    db: Snapshot, given_: list[str], fields: tuple[str, ...]
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")
    import pyarrow.parquet as parquet

    file = io.BytesIO()
    parquet.write_table(arrow.table({"ip": arrow.array(given_, arrow.string())}), file)
    made, _ = enrich(db, file.getvalue(), fields=fields)
    names = [f"ip_{name}" for name in (*fields, "status")]
    found = parquet.read_table(io.BytesIO(made)).to_pylist()
    assert [[row[name] for name in names] for row in found] == [
        said(db, address, fields) for address in given_
    ]


@given(addresses)
def test_a_prefix_holds_its_address(text: str) -> None:
    import ipaddress

    try:
        version, number = parse(text)
    except ValueError:
        assert prefix_of(text) == "-"
        return
    network = ipaddress.ip_network(prefix_of(text))
    assert ipaddress.ip_address(to_text(version, number)) in network
    assert network.prefixlen == {4: 24, 6: 48}[version]
