"""Whole columns of addresses have the answers that each address has by itself."""

import ipaddress
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError, Snapshot
from ipquery.address import to_text
from ipquery.data import build
from ipquery.data.columns.given import batches
from ipquery.data.columns.numbers import NO_RECORD, NOT_AN_ADDRESS
from ipquery.data.columns.texts import Texts, read, read_v4
from ipquery.data.record import FIELDS
from ipquery.data.sources import default_sources
from tests.data.addresses import INVALID, VALID
from tests.data.builder import write_snapshot
from tests.data.exporting import MAPPED, full_records, worlds
from tests.data.tables import RECORDS, Rows, addresses_of_interest, rows_of

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'ipquery[bulk]'")


def _expected(snapshot: Snapshot, address: str) -> int:
    """What stands for an address in a column, by :meth:`Snapshot.find`."""
    try:
        record = snapshot.find(address)
    except ValueError:
        return NOT_AN_ADDRESS
    if record is None:
        return NO_RECORD
    return snapshot.answer_number(*_parsed(address))


def _parsed(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.version, int(parsed)


# What holds addresses, and what it makes of texts.
HOLDERS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "mixed list": lambda texts: [_object(text) for text in texts],
    "str array": np.array,
    "object array": lambda texts: np.array(texts, object),
    "arrow": pyarrow.array,
    "large": lambda texts: pyarrow.array(texts, pyarrow.large_string()),
    "view": lambda texts: pyarrow.array(texts, pyarrow.string_view()),
    "dictionary": lambda texts: pyarrow.array(texts).dictionary_encode(),
    "dictionary of views": lambda texts: pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(range(len(texts)), pyarrow.uint32()),
        pyarrow.array(texts, pyarrow.string_view()),
    ),
    "chunked": lambda texts: pyarrow.chunked_array([texts[:3], [], texts[3:]], pyarrow.string()),
    "sliced": lambda texts: pyarrow.array(["1.2.3.4", *texts, "x"]).slice(1, len(texts)),
    "stream": lambda texts: _Stream(pyarrow.chunked_array([texts])),
}


def _object(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return text


class _Stream:
    """A column of a library that has the Arrow interface, and isn't pyarrow's."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._column.__arrow_c_stream__(requested_schema)


@st.composite
def _addresses(draw: st.DrawFn, v4: Rows, v6: Rows) -> list[str]:
    interesting = [
        to_text(version, number)
        for version, rows in ((4, v4), (6, v6))
        for number in sorted(addresses_of_interest(version, rows))
    ]
    chance = random.Random(draw(st.integers(0, 2**32)))
    texts = [*interesting, *chance.sample([*INVALID, *VALID], draw(st.integers(0, 12)))]
    chance.shuffle(texts)
    return texts[: draw(st.sampled_from((0, 1, 40, len(texts))))]


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Rows, Rows, list[str]]:
    v4, v6 = draw(rows_of(4)), draw(rows_of(6))
    return v4, v6, draw(_addresses(v4, v6))


@given(_cases())
def test_columns_of_texts_have_the_answers_of_each(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Rows, Rows, list[str]]
) -> None:
    v4, v6, texts = case
    path = write_snapshot(tmp_path_factory.mktemp("columns") / "a.ipq", v4, v6, RECORDS)
    encodable = [text for text in texts if text.isprintable()]
    with Snapshot(path) as snapshot:
        for name, hold in HOLDERS.items():
            some = texts if name in ("list", "tuple", "generator", "object array") else encodable
            # numpy's arrays of texts end where there is nothing but zeros.
            wanted = [_expected(snapshot, text) for text in some]
            found = snapshot.find_many(hold(some)) if some or name != "str array" else None
            assert found is None or found.numbers.tolist() == wanted, name


@given(rows_of(4), rows_of(6))
def test_columns_of_numbers_have_the_answers_of_each(
    tmp_path_factory: pytest.TempPathFactory, v4: Rows, v6: Rows
) -> None:
    path = write_snapshot(tmp_path_factory.mktemp("columns") / "a.ipq", v4, v6, RECORDS)
    numbers = sorted(addresses_of_interest(4, v4))
    wide = sorted({*addresses_of_interest(6, v6), *(MAPPED + number for number in numbers)})
    packed = [number.to_bytes(16, "big") for number in wide]
    with Snapshot(path) as snapshot:
        wanted = [_expected(snapshot, to_text(4, number)) for number in numbers]
        for column in (
            numbers,
            np.array(numbers, np.uint32),
            np.array(numbers, np.int64),
            np.array(numbers, ">u4"),
            np.array(numbers, np.uint32).repeat(2)[::2],
            pyarrow.array(numbers, pyarrow.uint32()),
            pyarrow.array(numbers, pyarrow.int64()),
        ):
            assert snapshot.find_many(column).numbers.tolist() == wanted
        wanted = [_expected(snapshot, to_text(6, number)) for number in wide]
        for column in (
            [ipaddress.IPv6Address(number) for number in wide],
            np.array(packed, "S16"),
            np.array(packed, "V16"),
            pyarrow.array([b"0" * 16, *packed], pyarrow.binary(16)).slice(1),
        ):
            assert snapshot.find_many(column).numbers.tolist() == wanted


@given(worlds(full_records))
def test_tables_say_what_records_do(tmp_path_factory: pytest.TempPathFactory, world: Any) -> None:
    path = world.build(tmp_path_factory.mktemp("columns") / "a.ipq")
    texts = ["x", *(to_text(version, number) for version, number in world.addresses())]
    with Snapshot(path) as snapshot:
        found = snapshot.find_many(texts)
        rows = found.table().to_pylist()
        for text, row in zip(texts, rows, strict=True):
            record = None if text == "x" else snapshot.find(text)
            assert row == {name: getattr(record, name, None) for name in FIELDS}
        codes, values = found.codes("city")
        assert [values[code] for code in codes] == [row["city"] for row in rows]


def test_blocks_of_addresses_are_seen_through_to_their_last_address(tmp_path: Path) -> None:
    """All addresses of blocks of 256 that are cut in every way, and of those beside them."""
    chance = random.Random(7)
    base = 0x0A0B0000
    starts = sorted({base, *(base + chance.randrange(0x800) for _ in range(900))})
    rows = [
        (first, after - 1, chance.randrange(len(RECORDS)))
        for first, after in zip(starts, [*starts[1:], base + 0x700], strict=True)
        if first < after and chance.random() < 0.8
    ]
    path = write_snapshot(tmp_path / "a.ipq", rows, [], RECORDS)
    numbers = np.arange(base - 300, base + 0x900, dtype=np.uint32)
    with Snapshot(path) as snapshot:
        wanted = [snapshot.answer_number(4, number) or NO_RECORD for number in numbers.tolist()]
        assert snapshot.find_many(numbers).numbers.tolist() == wanted


def test_more_than_a_batch(sample: Path) -> None:
    chance = np.random.default_rng(3)
    numbers = chance.integers(0, 2**32, 150_000, np.uint32)
    with Snapshot(sample) as snapshot:
        wanted = [snapshot.answer_number(4, number) or NO_RECORD for number in numbers.tolist()]
        assert snapshot.find_many(numbers).numbers.tolist() == wanted
        texts = [to_text(4, number) for number in numbers.tolist()]
        assert snapshot.find_many(texts).numbers.tolist() == wanted
        assert snapshot.find_many(pyarrow.array(texts)).numbers.tolist() == wanted


def test_null_is_no_address(sample: Path) -> None:
    packed = (0x2400 << 112).to_bytes(16, "big")
    with Snapshot(sample) as snapshot:
        for column in (
            ["1.2.3.4", None],
            pyarrow.array(["1.2.3.4", None]),
            pyarrow.array([0x01020304, None], pyarrow.uint32()),
            pyarrow.array([packed, None], pyarrow.binary(16)),
        ):
            found = snapshot.find_many(column)
            assert found.invalid.tolist() == [False, True]
        assert snapshot.find_many(pyarrow.nulls(2)).numbers.tolist() == [NOT_AN_ADDRESS] * 2


def test_numbers_are_addresses_as_ipaddress_has_them(sample: Path) -> None:
    numbers = [-1, 0x7B000000, 2**32 - 1, 2**32, 0x2500 << 112, 2**128, 2**200, True]
    with Snapshot(sample) as snapshot:
        found = snapshot.find_many(numbers).numbers.tolist()
        assert found[1:5] == [
            _expected(snapshot, str(ipaddress.ip_address(number))) for number in numbers[1:5]
        ]
        assert [found[0], *found[5:]] == [NOT_AN_ADDRESS] * 4
        signed = np.array([-1, 0x7B000000, 2**32], np.int64)
        assert snapshot.find_many(signed).numbers.tolist() == [NOT_AN_ADDRESS, found[1], found[3]]


@pytest.mark.parametrize(
    "column",
    [
        "1.2.3.4",
        b"1.2.3.4",
        5,
        np.array([1.5]),
        np.array([b"1.2.3.4"]),
        np.array([[1, 2]]),
        np.array(["2020-01-01"], "M8[D]"),
        pyarrow.array([1.5]),
        pyarrow.array([b"1"]),
    ],
)
def test_what_holds_no_addresses_is_refused(sample: Path, column: Any) -> None:
    with Snapshot(sample) as snapshot, pytest.raises(TypeError, match="address"):
        snapshot.find_many(column)


@pytest.mark.parametrize("fields", [[], ["colour"], ["city", ""]])
def test_other_fields_are_refused(sample: Path, fields: Sequence[str]) -> None:
    with Snapshot(sample) as snapshot, pytest.raises(DataError, match="there are country, "):
        snapshot.find_many(["1.2.3.4"]).table(fields)


def test_a_snapshot_can_be_closed_while_what_was_found_is_in_use(sample: Path) -> None:
    snapshot = Snapshot(sample)
    found = snapshot.find_many(["1.2.3.4"])
    snapshot.close()
    assert len(found.numbers) == 1
    with pytest.raises(ValueError, match="closed"):
        snapshot.find_many(["1.2.3.4"])


@given(st.lists(st.sampled_from("0123456789.: a\n٣"), max_size=18).map("".join))
def test_any_text_is_read_as_one_by_one(text: str) -> None:
    data = text.encode()
    numbers, valid = read_v4(Texts.of(data, np.array([0, len(data)])))
    try:
        wanted = int(ipaddress.IPv4Address(text))
    except ValueError:
        assert not valid[0]
    else:
        assert (valid[0], numbers[0]) == (True, wanted)


_v6_texts = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
    st.lists(st.sampled_from("0123abcdefFg.: %z٣\0"), max_size=45).map("".join),
)


@given(st.lists(_v6_texts, max_size=8))
def test_any_ipv6_text_is_read_as_one_by_one(texts: list[str]) -> None:
    def wanted(text: str) -> tuple[int, int] | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address):
            # One with a zone (RFC 4007) isn't an address to find() either.
            if address.scope_id is not None:
                return None
            address = address.ipv4_mapped or address
        return address.version, int(address)

    # As texts of their own, and cut out of one buffer.
    cut = Texts.of("".join(texts).encode(), np.cumsum([0, *(len(t.encode()) for t in texts)]))
    for batch in (*batches(texts), *([read(cut)] if texts else [])):
        found: list[tuple[int, int] | None] = [None] * batch.count
        v4_at = range(batch.count) if batch.v4_at is None else batch.v4_at.tolist()
        for at, number in zip(v4_at, batch.v4.tolist(), strict=True):
            found[at] = 4, number
        halves = zip(batch.high.tolist(), batch.low.tolist(), strict=True)
        for at, (high, low) in zip(batch.v6_at.tolist(), halves, strict=True):
            found[at] = 6, high << 64 | low
        assert found == [*map(wanted, texts)]


def test_every_number_of_three_digits_is_read() -> None:
    texts = [
        ".".join(number if at == place else "7" for at in range(4))
        for number in (*map(str, range(1000)), *(f"{k:02}" for k in range(100)), "000", "001")
        for place in range(4)
    ]
    data = "".join(texts).encode()
    ends = np.cumsum([0, *map(len, texts)])
    numbers, valid = read_v4(Texts.of(data, ends))
    for text, number, is_valid in zip(texts, numbers.tolist(), valid.tolist(), strict=True):
        try:
            wanted = int(ipaddress.IPv4Address(text))
        except ValueError:
            assert not is_valid, text
        else:
            assert (is_valid, number) == (True, wanted)


def test_serving_loads_no_numpy() -> None:
    code = "import sys, ipquery.serve.service; assert not {'numpy', 'pyarrow'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.soak
def test_a_million_addresses_of_the_default_database(tmp_path: Path) -> None:
    """Random ones, and the first and the last of every range, beside one by one."""
    path = build.ensure_snapshot(default_sources(), build.default_cache(), lambda *_: None)
    chance = random.Random(9)
    with Snapshot(path) as snapshot:
        for version, bits in ((4, 32), (6, 128)):
            ends = {0, 2**bits - 1}
            for first, last, _ in snapshot.ranges(version):
                ends |= {first, last}
            some = chance.sample(sorted(ends), min(len(ends), 4_000_000))
            random_ = [chance.randrange(2**bits) for _ in range(1_000_000)]
            if version == 6:  # hardly any address of the whole space is anybody's
                random_ = [end ^ chance.randrange(2**80) for end in chance.choices(some, k=10**6)]
            for numbers in (some, random_):
                found = snapshot.find_many(_column(version, numbers)).numbers
                wanted = [snapshot.answer_number(*_unmapped(version, one)) for one in numbers]
                assert np.array_equal(found, [one or NO_RECORD for one in wanted])
                texts = [to_text(version, one) for one in numbers[:1_000_000]]
                again = snapshot.find_many(texts).numbers
                assert np.array_equal(again, found[: len(texts)])
                for text, number in zip(texts[:100_000], found.tolist(), strict=False):
                    record = snapshot.find(text)
                    assert record == (snapshot.record(number) if number > 0 else None)


def _unmapped(version: int, number: int) -> tuple[int, int]:
    return (4, number - MAPPED) if version == 6 and number >> 32 == 0xFFFF else (version, number)


def _column(version: int, numbers: list[int]) -> Any:
    if version == 4:
        return np.array(numbers, np.uint32)
    return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), "S16")
