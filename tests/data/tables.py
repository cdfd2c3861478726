"""Random tables of ranges, and the search by hand that others are held against."""

from hypothesis import strategies as st

from ipquery import Record

LAST = {4: 2**32 - 1, 6: 2**128 - 1}

Rows = list[tuple[int, int, int]]
"""First address, last address, record number; in order."""


def _near(number: int, version: int) -> list[int]:
    return [n for n in (number - 1, number, number + 1) if 0 <= n <= LAST[version]]


@st.composite
def rows_of(draw: st.DrawFn, version: int, records: int = 10) -> Rows:
    """Ranges in order: single addresses, touching ones, gaps, both ends of the space."""
    bits = 32 if version == 4 else 128
    anchors = st.integers(0, LAST[version]) | st.builds(
        # Where indexes and halves of numbers change
        lambda high, shift: (high << shift) % 2**bits,
        st.integers(0, 2**16),
        st.sampled_from((0, 8, 16, bits - 16, bits // 2)),
    )
    near: st.SearchStrategy[int] = anchors.flatmap(lambda n: st.sampled_from(_near(n, version)))
    points: set[int] = draw(st.sets(near, max_size=24))
    if draw(st.booleans()):
        points |= {0, LAST[version]}
    ordered = sorted(points)
    rows: Rows = []
    while ordered:
        first = ordered.pop(0)
        single: bool = not ordered or draw(st.booleans())
        last = first if single else ordered.pop(0)
        touching: bool = draw(st.booleans())
        if ordered and touching:
            last = max(last, ordered[0] - 1)  # touch the next one
        rows.append((first, last, draw(st.integers(0, records - 1))))
    return rows


def search(rows: Rows, number: int) -> int | None:
    """The record of an address, by looking at every range."""
    for first, last, record in rows:
        if first <= number <= last:
            return record
    return None


def addresses_of_interest(version: int, *tables: Rows) -> set[int]:
    """Both ends of every range and of the space, and their neighbours."""
    ends = {0, LAST[version]}
    for rows in tables:
        ends.update(end for first, last, _ in rows for end in (first, last))
    return {near for end in ends for near in _near(end, version)}


# Without codes of their own, so that what goes in comes out.
RECORDS = [Record(isp=f"isp {k}", city="城" * k) for k in range(10)]
