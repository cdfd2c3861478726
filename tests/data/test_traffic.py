"""What is counted of logs and tables is what one look-up after the other says."""

import csv
import datetime
import io
import itertools
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Snapshot
from ipquery.address import parse, to_text
from ipquery.data.columns.texts import Texts
from ipquery.data.enrich.inputs import Input
from ipquery.data.enrich.options import options_for
from ipquery.data.ranges import Column
from ipquery.data.record import Record
from ipquery.data.traffic.job import count
from ipquery.data.traffic.timeline import INTERVALS, WIDTHS, Timeline
from ipquery.data.traffic.times import NO_TIME, Times, of_numbers, seconds_of
from ipquery.special import V4_BLOCKS, V6_BLOCKS
from tests.data.builder import write_snapshot

RECORDS = (
    Record(country="中国", country_code="CN", province="河南省", city="商丘市", isp="联通"),
    Record(country="China", country_code="CN", province="河南省", org="A school", asn=4837),
    Record(country="Nowhere", province="Far", isp="<b>", asn=1, as_org="One"),
    Record(country="US", city="Here", asn=1, as_org="Uno"),
    Record(country="United States", country_code="US", province="CA", isp="x", as_org="Only"),
    Record(isp="x"),
)
RANGE = 1 << 24
ALL = 10_000


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """1.0.0.0/8 to 6.0.0.0/8 have a record each, and blocks of IPv6."""
    v4 = [((k + 1) * RANGE, (k + 2) * RANGE - 1, k) for k in range(len(RECORDS))]
    v6 = [(0x2400 + k << 112, (0x2401 + k << 112) - 1, k) for k in range(len(RECORDS))]
    path = write_snapshot(tmp_path_factory.mktemp("traffic") / "db.ipq", v4, v6, RECORDS)
    with Snapshot(path) as snapshot:
        yield snapshot


def counted(
    db: Snapshot,
    *given_: bytes,
    time: str | None = None,
    top: int = ALL,
    size: int = 1 << 22,
    processes: int = 1,
    **choices: Any,
) -> dict[str, Any]:
    options = attrs.evolve(options_for(**choices), fields=())
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}") for number in range(len(given_))]
        for path, content in zip(paths, given_, strict=True):
            path.write_bytes(content)
        inputs = [Input(path) for path in paths]
        try:
            return count(db, inputs, options, time, top, lambda rows: None, processes, size)
        finally:
            for one in inputs:
                one.close()


_SPECIAL = [block.network.partition("/")[0] for block in (*V4_BLOCKS, *V6_BLOCKS)]
addresses = st.one_of(
    st.integers(0, 8 * RANGE).map(lambda number: to_text(4, number)),
    st.integers(0x2400 << 112, 0x2408 << 112).map(lambda number: to_text(6, number)),
    st.sampled_from(
        (*_SPECIAL, "64:ff9b:0:1::", "::2", "2001:1::3", "2001:1::4", "::ffff:3.0.0.0")
    ),
    st.sampled_from(("", "-", "x", "1.2.3", "::x")),
)
# From one day to years.
times = st.none() | st.integers(1_790_000_000, 1_790_050_000) | st.integers(0, 2_000_000_000)
Rows = list[tuple[str, int | None]]
rows = st.lists(st.tuples(addresses, times), max_size=30)


def _local(seconds: int | None, east: int = 0) -> str:
    if seconds is None:
        return "-"
    zone = datetime.timezone(datetime.timedelta(minutes=east))
    at = datetime.datetime.fromtimestamp(seconds, zone)
    return at.strftime("%d/%b/%Y:%H:%M:%S %z")


def _iso(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def _csv(some: Rows) -> bytes:
    text = io.StringIO()
    # Fields that were added before don't matter.
    table = [["x", "ip", "ip_status", "when"], *(["a,b", ip, "ok", _iso(t)] for ip, t in some)]
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue().encode()


def _log(some: Rows) -> bytes:
    # Not empty: what is in front of the blank in a log is something.
    return "".join(
        f'{ip or "-"} - me [{_local(t, east=480)}] "GET / HTTP/1.1" 200 1 "-" "-"\n'
        for ip, t in some
    ).encode()


def _json(some: Rows) -> bytes:
    lines = ({"ip": ip, "at": {"s": t}} for ip, t in some)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _mixed_json(some: Rows) -> bytes:
    """Some times are numbers, some are texts, one is neither; and a line is no object."""
    kinds = (lambda t: t, _iso, lambda t: None if t is None else f"{t}.5")
    lines = [{"ip": ip, "at": {"s": kinds[k % 3](t)}} for k, (ip, t) in enumerate(some)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return f"no object\n{text}".encode()


def _parquet(some: Rows, type_: str = "timestamp[ms]") -> bytes:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    seconds = arrow.array([t for _, t in some], arrow.int64())
    kind = arrow.type_for_alias(type_)
    if type_.startswith("timestamp"):
        seconds = seconds.cast(arrow.timestamp("s"))
    table = arrow.table(
        {"ip": arrow.array([ip for ip, _ in some], arrow.string()), "t": seconds.cast(kind)}
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def _check(db: Snapshot, found: dict[str, Any], some: Rows, odd: int = 0) -> None:
    """What has been counted against one look-up after the other."""
    requests = [(db.match(ip), t) for ip, t in some if _is_address(ip)]
    records = [match.record or Record() for match, _ in requests]
    assert found["rows"] == len(some)
    assert found["addresses"] == len(requests)
    assert found["no_address"] == len(some) - len(requests)
    assert found["no_record"] == sum(match.record is None for match, _ in requests)
    assert found["other_form"] == odd
    kinds = Counter(match.kind for match, _ in requests)
    assert {one["kind"]: one["requests"] for one in found["kinds"]} == kinds
    for ranking, key in (
        ("countries", lambda r: (_country(r),)),
        ("provinces", lambda r: (_country(r), r.province)),
        ("cities", lambda r: (_country(r), r.province, r.city)),
        ("providers", lambda r: (r.isp or r.org,)),
        ("networks", lambda r: (r.asn if r.asn is not None else r.as_org,)),
    ):
        expected = Counter(map(key, records))
        unknown = sum(number for one, number in expected.items() if one[-1] is None)
        told = found[ranking]
        assert told["unknown"] == unknown
        top = {_key_of(ranking, one): one["requests"] for one in told["top"]}
        assert top == {one: number for one, number in expected.items() if one[-1] is not None}
        assert (told["different"], told["others"]) == (len(top), 0)
        assert [*top.values()] == sorted(top.values(), reverse=True)
    _check_times(found["time"], [(_country(r), t) for r, (_, t) in zip(
        records, requests, strict=True)])  # fmt: skip


def _country(record: Record) -> tuple[str, str] | None:
    """A country by its code; by its name, which may look like another's code, if it has none."""
    if record.country_code is not None:
        return "code", record.country_code
    return None if record.country is None else ("name", record.country)


def _country_of(one: dict[str, Any]) -> tuple[str, str] | None:
    return _country(Record(country=one["country"], country_code=one["country_code"]))


def _key_of(ranking: str, one: dict[str, Any]) -> tuple[Any, ...]:
    if ranking == "networks":
        return (one["asn"] if one["asn"] is not None else one["as_org"],)
    if ranking == "providers":
        return (one["provider"],)
    country = _country_of(one)
    parts = {"countries": (), "provinces": ("province",), "cities": ("province", "city")}
    return (country, *(one[part] for part in parts[ranking]))


def _check_times(told: dict[str, Any], expected: Sequence[tuple[Any, int | None]]) -> None:
    timed = [(country, t) for country, t in expected if t is not None]
    assert told["no_time"] == len(expected) - len(timed)
    if not timed:
        assert (told["first"], told["starts"], told["requests"]) == (None, [], [])
        return
    seconds = [t for _, t in timed]
    assert _seconds(told["first"]) == min(seconds)
    assert _seconds(told["last"]) == max(seconds)
    starts = [*map(_seconds, told["starts"])]
    width = told["interval_seconds"]
    assert len(starts) <= INTERVALS
    assert starts == [*range(starts[0], starts[-1] + 1, width)]
    by_start = Counter(starts[(t - starts[0]) // width] for t in seconds)
    assert told["requests"] == [by_start[start] for start in starts]
    drawn = {_country_of(one): one["requests"] for one in told["countries"]}
    for country, requests in (*drawn.items(), (None, told["unknown"])):
        mine = Counter(starts[(t - starts[0]) // width] for c, t in timed if c == country)
        assert requests == [mine[start] for start in starts]
    series = [*drawn.values(), told["others"], told["unknown"]]
    assert [sum(some) for some in zip(*series, strict=True)] == told["requests"]


def _seconds(timestamp: str) -> int:
    return int(datetime.datetime.fromisoformat(timestamp).timestamp())


def _is_address(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


sizes = st.sampled_from((60, 400, 1 << 20))


@given(rows, sizes)
def test_a_log(db: Snapshot, some: Rows, size: int) -> None:
    found = counted(db, _log(some), size=size, format_="combined")
    _check(db, found, some)


@given(rows, sizes)
def test_a_table(db: Snapshot, some: Rows, size: int) -> None:
    _check(db, counted(db, _csv(some), size=size, time="when"), some)


@given(rows, sizes)
def test_json(db: Snapshot, some: Rows, size: int) -> None:
    choices: dict[str, Any] = {"size": size, "format_": "json", "time": "at.s"}
    _check(db, counted(db, _json(some), **choices), some)
    _check(db, counted(db, _mixed_json(some), **choices), some, odd=1)


@given(rows, st.sampled_from(("timestamp[ms]", "int64", "uint64", "float64", "string")))
def test_parquet(db: Snapshot, some: Rows, type_: str) -> None:
    _check(db, counted(db, _parquet(some, type_), time="t"), some)


@pytest.mark.parametrize(
    ("kind", "time", "format_"),
    [(_log, None, "combined"), (_csv, "when", "csv"), (_mixed_json, "at.s", "json")],
)
def test_by_however_many_processes_the_counts_are_the_same(
    db: Snapshot, kind: Callable[[Rows], bytes], time: str | None, format_: str
) -> None:
    chance = random.Random(3)
    # From 1.0.0.0 to 9.0.0.0, of which the last have no record, over some days.
    drawn = (
        (to_text(4, chance.randrange(RANGE, 9 * RANGE)), chance.randrange(10**9, 10**9 + 10**6))
        for _ in range(3000)
    )
    some: Rows = [*drawn, ("x", None)]
    one, several = (
        counted(db, kind(some), time=time, size=5000, processes=n, format_=format_) for n in (1, 3)
    )
    assert several == one
    assert one["rows"] == len(some)


def test_several_files_are_one_report(db: Snapshot) -> None:
    one: Rows = [("1.0.0.1", 1_790_000_000), ("7.7.7.7", None)]
    other: Rows = [("2.0.0.1", 1_790_000_100)]
    _check(db, counted(db, _csv(one), _csv(other), time="when"), one + other)


def test_a_country_has_the_name_that_most_have(db: Snapshot) -> None:
    found = counted(db, b"ip\n1.0.0.1\n2.0.0.1\n2.0.0.2\n", top=1)
    (china,) = found["countries"]["top"]
    assert china == {"country_code": "CN", "country": "China", "requests": 3}
    (henan,) = found["provinces"]["top"]
    assert henan == {**china, "province": "河南省"}
    assert counted(db, b"ip\n3.0.0.1\n3.0.0.2\n4.0.0.1\n")["networks"]["top"] == [
        {"asn": 1, "as_org": "One", "requests": 3}
    ]


def test_what_is_not_named_is_counted_together(db: Snapshot) -> None:
    found = counted(db, b"ip\n1.0.0.1\n1.0.0.1\n3.0.0.1\n5.0.0.1\n6.0.0.1\n7.0.0.1\n", top=1)
    countries = found["countries"]
    assert (countries["different"], countries["others"], countries["unknown"]) == (3, 2, 2)
    assert found["time"] is None


def test_without_time_a_table_has_none_over_time(db: Snapshot) -> None:
    assert counted(db, b"ip,time\n1.0.0.1,5\n")["time"] is None


def test_the_times_of_a_log_format_of_ones_own(db: Snapshot) -> None:
    for variable, text in (
        ("time_iso8601", "2026-09-21T22:13:20+08:00"),
        ("msec", "1790000000.123"),
        ("time_local", "21/Sep/2026:14:13:20 +0000"),
    ):
        given_ = f"<1.0.0.1> {text}|\n".encode()
        found = counted(db, given_, log_format=f"<$ip> ${variable}|", column="ip")
        assert found["time"]["first"] == "2026-09-21T14:13:20Z"
    assert counted(db, b"1.0.0.1 x\n", log_format="$remote_addr $x")["time"] is None


@pytest.mark.parametrize(
    ("given_", "choices", "said"),
    [
        (b"ip,t\n", {"time": "u"}, "no column is called 'u'; name one by --time: 'ip', 't'"),
        (
            b"1.1.1.1 x",
            {"log_format": "$remote_addr $x", "time": "t"},
            "the log format has no $t; name the variable by --time: 'remote_addr', 'x'",
        ),
        (
            b"1,2\n",
            {"format_": "csv", "header": False, "column": "1", "time": "t"},
            "without a header, --time is the number of the time's column, from 1",
        ),
        (
            b"1,2\n",
            {"format_": "csv", "header": False, "column": "1", "time": "3"},
            "there is no column 3: there are 2",
        ),
    ],
)
def test_what_cannot_be_counted(
    db: Snapshot, given_: bytes, choices: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=".") as raised:
        counted(db, given_, **choices)
    assert said in str(raised.value)


def test_a_column_that_holds_no_times(db: Snapshot) -> None:
    with pytest.raises(DataError, match="a column of bool holds no times; name another one"):
        counted(db, _parquet([("1.0.0.1", 1)], "bool"), time="t")


# --- times

AT = 1_790_000_000  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("21/Sep/2026:14:13:20 +0000", AT),
        ("[21/Sep/2026:22:13:20 +0800]", AT),
        ("21/Sep/2026:10:43:20 -0330", AT),
        ("2026-09-21T14:13:20Z", AT),
        ("2026-09-21 14:13:20", AT),
        ("2026-09-21T22:13:20.999+08:00", AT),
        ("2026-09-21", AT - 51_200),
        (" 1790000000.9 ", AT),
        (1790000000.9, AT),
        (AT, AT),
        (0, 0),
        *((one, NO_TIME) for one in (None, "", "-", "x", -1, float("nan"), float("inf"), 1e300)),
        *((one, NO_TIME) for one in ("1969-12-31", "9" * 400, "1790000000000", "٢٠")),
        *((one, NO_TIME) for one in ("31/Feb/2026:14:13:20 +0000", "21/Foo/2026:14:13:20 +0000")),
        *((one, NO_TIME) for one in ("21/Sep/2026:14:13:60 +0000", "21/Sep/2026:14:13:20 +9900")),
    ],
)
def test_times_as_they_are_written(written: Any, seconds: int) -> None:
    assert seconds_of(written) == seconds
    if isinstance(written, str):
        assert seconds_of(written.encode()) == seconds
        assert _many([written, written]) == [seconds] * 2
    if isinstance(written, int | float):
        assert of_numbers(np.array([written])).tolist() == [seconds]


@given(st.integers(0, 2**34), st.integers(-800, 800), st.integers(0, 25), st.sampled_from("9:/ x"))
def test_many_times_are_read_as_one_is(seconds: int, east: int, place: int, other: str) -> None:
    text = _local(seconds, east)
    assert seconds_of(text) == seconds
    damaged = text[:place] + other + text[place + 1 :]
    some = [text, damaged, "", text, text[:-1], f"{text} "]
    assert _many(some) == [*map(seconds_of, some)]


def test_a_text_that_is_not_there_is_no_time() -> None:
    data = np.frombuffer(b"2026", np.uint8)
    found = Times().of_texts(Texts(data, np.array([0, 0]), np.array([-1, 4])))
    assert found.tolist() == [NO_TIME, 2026]


def _many(texts: Sequence[str]) -> list[int]:
    data = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, data)])
    seconds: list[int] = Times().of_texts(Texts.of(b"".join(data), ends)).tolist()
    return seconds


# --- timeline


def test_each_width_is_made_of_the_one_before() -> None:
    assert all(wider % width == 0 for width, wider in itertools.pairwise(WIDTHS))
    timeline = Timeline(1)
    timeline.add(_column(0, seconds_of("9999-12-31")), _column(0, 0))
    assert len(timeline.starts) <= INTERVALS


def test_weeks_begin_on_mondays() -> None:
    timeline = Timeline(1)
    timeline.add(_column(AT, AT + 200 * 86_400), _column(0, 0))
    assert timeline.width == 7 * 86_400
    assert datetime.datetime.fromtimestamp(timeline.starts[0], datetime.UTC).weekday() == 0


@given(st.lists(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 2)), max_size=5)))
def test_in_whichever_parts_times_come_the_counts_are_the_same(
    parts: list[list[tuple[int, int]]],
) -> None:
    one, other = Timeline(3), Timeline(3)
    for part in parts:
        one.add(_column(*(t for t, _ in part)), _column(*(g for _, g in part)))
    all_ = [pair for part in parts for pair in part]
    other.add(_column(*(t for t, _ in all_)), _column(*(g for _, g in all_)))
    assert (one.width, one.starts) == (other.width, other.starts)
    assert one.counts.tolist() == other.counts.tolist()
    for start, counts in zip(one.starts, one.counts.tolist(), strict=True):
        inside = Counter(g for t, g in all_ if start <= t < start + one.width)
        assert counts == [inside[0], inside[1], inside[2]]


def _column(*numbers: int) -> Column:
    return np.array(numbers, np.int64)
