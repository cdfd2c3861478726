"""Arithmetic on columns of addresses, against Python's own integers and ipaddress."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.export.halves import Addresses
from ipquery.data.export.steps import Prefixes, Steps
from ipquery.data.export.tree import NOTHING, grow, pack, record_size
from tests.data.exporting import ranges
from tests.data.mmdb_files import networks_of, node_bytes
from tests.data.tables import LAST, Rows

ADDRESSES = st.lists(
    st.integers(0, LAST[6])
    | st.integers(0, 128).map(lambda bits: (1 << bits) % (1 << 128))
    | st.integers(0, 128).map(lambda bits: (1 << bits) - 1),
    min_size=1,
)


def _numbers(addresses: Addresses) -> list[int]:
    return [
        high << 64 | low
        for high, low in zip(addresses.high.tolist(), addresses.low.tolist(), strict=True)
    ]


@given(ADDRESSES)
def test_addresses_are_numbers(numbers: list[int]) -> None:
    column = Addresses.of(*numbers)
    assert _numbers(column) == numbers
    assert column.bit_length().tolist() == [number.bit_length() for number in numbers]
    zeros = [(number & -number).bit_length() - 1 if number else 128 for number in numbers]
    assert column.trailing_zeros().tolist() == zeros
    assert _numbers(column.predecessors()) == [(number - 1) % 2**128 for number in numbers]
    assert column.packed() == b"".join(number.to_bytes(16, "big") for number in numbers)
    for exponent in (0, 1, 31, 63, 64, 65, 127, 128):
        moved = column.plus_power(np.full(len(numbers), exponent))
        assert _numbers(moved) == [(number + (1 << exponent)) % 2**128 for number in numbers]
        if exponent < 128:
            bits = column.bit(np.full(len(numbers), exponent)).tolist()
            assert bits == [bool(number >> (127 - exponent) & 1) for number in numbers]


@given(ADDRESSES, st.integers(0, LAST[6] + 1))
def test_what_is_below_a_number_is_counted(numbers: list[int], bound: int) -> None:
    in_order = sorted({*numbers})
    wanted = sum(number < bound for number in in_order)
    assert Addresses.of(*in_order).count_below(bound) == wanted


def _steps(version: int, rows: Rows) -> Steps:
    """Those of ranges; a record is its number and one."""
    values = {0: 0}
    for first, last, record in rows:
        values[first] = record + 1
        values.setdefault(last + 1, 0)
    starts = sorted(start for start in values if start <= LAST[version])
    found = [values[start] for start in starts]
    return Steps(version, Addresses.of(*starts), np.array(found)).merged()


ROWS = st.sampled_from((4, 6)).flatmap(lambda v: st.tuples(st.just(v), ranges(v, 3)))


def _merged(rows: Rows) -> Rows:
    found: Rows = []
    for first, last, record in rows:
        if found and found[-1][1] + 1 == first and found[-1][2] == record:
            found[-1] = found[-1][0], last, record
        else:
            found.append((first, last, record))
    return found


@given(ROWS)
def test_ranges_and_prefixes_are_those_of_ipaddress(given_: tuple[int, Rows]) -> None:
    version, rows = given_
    known = _steps(version, rows).known()
    last = _numbers(known.after.predecessors())
    told = zip(_numbers(known.first), last, (known.value - 1).tolist(), strict=True)
    assert [*told] == _merged(rows)
    prefixes: Prefixes = known.prefixes()
    found = zip(
        _numbers(prefixes.first), prefixes.length.tolist(), (prefixes.value - 1).tolist(),
        strict=True,
    )  # fmt: skip
    assert [*found] == networks_of(version, _merged(rows))


@given(ROWS, st.data())
def test_what_is_laid_over_holds_there_and_nowhere_else(
    given_: tuple[int, Rows], data: st.DataObject
) -> None:
    version, rows = given_
    points = {0, LAST[version] + 1, *(end for row in rows for end in (row[0], row[1] + 1))}
    points |= {data.draw(st.integers(0, LAST[version]))}
    first = data.draw(st.sampled_from(sorted(points)[:-1]))
    after = data.draw(st.sampled_from([point for point in sorted(points) if point > first]))
    steps = _steps(version, rows)
    laid = steps.overlaid(first, after, 7)
    assert (np.diff(laid.value) != 0).all()

    def at(one: Steps, number: int) -> int:
        return int(one.value[one.between(number, number + 1)][0])

    for point in points:
        for number in (point - 1, point, point + 1):
            if 0 <= number <= LAST[version]:
                wanted = 7 if first <= number < after else at(steps, number)
                assert at(laid, number) == wanted


@given(ranges(6, 3))
def test_the_tree_has_the_nodes_that_it_needs_and_no_more(rows: Rows) -> None:
    steps = _steps(6, rows)
    # Leaf numbers: that without data is none.
    values = np.where(steps.value == 0, NOTHING, steps.value)
    tree = grow(Steps(6, steps.start, values))
    starts = _numbers(steps.start)[1:]
    needed = {
        (depth, start >> (128 - depth))
        for start in starts
        for depth in range(128)
        if start & ((1 << 128 - depth) - 1)
    }
    assert len(tree) == max(len(needed), 1)
    children = [*tree.left.tolist(), *tree.right.tolist()]
    inner = [child for child in children if child < len(tree)]
    # Each but the root is one node's child, and comes behind it.
    assert sorted(inner) == [*range(1, len(tree))]
    assert all(child > at % len(tree) for at, child in enumerate(children))


@pytest.mark.parametrize("bits", [24, 28, 32])
def test_nodes_are_packed_as_the_specification_has_them(bits: int) -> None:
    pairs = [(0, 1), (2**bits - 1, 0), (0, 2**bits - 1), (0x123456, 0xABCDEF)]
    left, right = (np.array(column, np.uint32) for column in zip(*pairs, strict=True))
    assert pack(left, right, bits) == b"".join(node_bytes(*pair, bits) for pair in pairs)


def test_numbers_take_as_few_bits_as_there_are() -> None:
    sizes = [record_size(number) for number in (0, 2**24 - 1, 2**24, 2**28 - 1, 2**28, 2**32 - 1)]
    assert sizes == [24, 24, 28, 28, 32, 32]
    with pytest.raises(OverflowError):
        record_size(2**32)


def test_a_whole_space_is_one_prefix() -> None:
    for version in (4, 6):
        prefixes = _steps(version, [(0, LAST[version], 0)]).known().prefixes()
        assert prefixes.length.tolist() == [0]
