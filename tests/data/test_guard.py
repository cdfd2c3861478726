"""The guard: what it lets through, and by which figure it refuses the rest."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ipquery import DataError, Record
from ipquery.data.answers import Answers
from ipquery.data.blend.blend import blend, prepare
from ipquery.data.blend.coverage import coverage
from ipquery.data.blend.policy import Policy
from ipquery.data.codes import OperatorLists
from ipquery.data.ranges import Ranges, RangeTable
from ipquery.data.snapshot.encode import write_answers
from ipquery.data.sources import Source
from ipquery.data.update.guard import Expectation, Guard, MaxChange, objection
from tests.data.tables import Rows

V6 = 0x2400 << 112
CHINA, AMERICA, NOBODY = Record(country="中国"), Record(country="美国"), Record(isp="x")
HENAN = Record(country="中国", province="河南省", city="商丘市")
BEIJING = Record(country="中国", province="北京市", city="北京市")
BUILT = ("DB", "2026-01-01")


def _answers(path: Path, v4: Rows, v6: Rows, records: list[Record]) -> Answers:
    table = RangeTable(records, Ranges.of(4, v4), Ranges.of(6, v6))
    return blend(prepare([Source(path)], [table], Policy(), OperatorLists()))


def write(
    path: Path,
    parts: Sequence[Record | None],
    v6: Sequence[Record | None] = (),
    dates: tuple[tuple[str, str | None], ...] = (BUILT,),
) -> Path:
    """A snapshot of 1.0.0.0/24 on, a part of a hundred addresses each; likewise of IPv6."""
    records = [CHINA, AMERICA, NOBODY, HENAN, BEIJING]

    def rows(begin: int, given: Sequence[Record | None]) -> list[tuple[int, int, int]]:
        return [
            (begin + 100 * place, begin + 100 * place + 99, records.index(one))
            for place, one in enumerate(given)
            if one is not None
        ]

    answers = _answers(path, rows(1 << 24, parts), rows(V6, v6), records)
    sources = [{"name": name, "date": date} for name, date in dates]
    with path.open("w+b") as file:
        write_answers(file, answers, {"sources": sources, **coverage(answers)})
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A hundred ranges of a hundred addresses: Chinese ones, and others between them."""
    return write(tmp_path / "old.ipq", [HENAN, AMERICA] * 50, [HENAN, AMERICA] * 10)


def _objection(old: Path, new: Path, **bounds: float | None) -> str | None:
    return objection(old, new, Guard(MaxChange(**bounds)))


def test_the_same_again_passes(old: Path, tmp_path: Path) -> None:
    assert _objection(old, old) is None
    assert (
        _objection(old, write(tmp_path / "new", [HENAN, AMERICA] * 50, [HENAN, AMERICA] * 10))
        is None
    )


@pytest.mark.parametrize(("moved", "refused"), [(5, False), (6, True)])
def test_of_a_hundred_addresses_five_may_change_their_country(
    old: Path, tmp_path: Path, moved: int, refused: bool
) -> None:
    parts = [HENAN, AMERICA] * 50
    for place in range(1, 2 * moved, 2):
        parts[place] = HENAN
    said = _objection(old, write(tmp_path / "new.ipq", parts, [HENAN, AMERICA] * 10), coverage=None)
    if refused:
        assert said is not None
        assert said.startswith(
            "IPv4 has another country for 6.00 % of the addresses, and `country` under "
            "[max_change] allows 5 %. IPv4: "
        )
        assert "country 6.00 % changed" in said
        assert said.endswith("; IPv6: no change")
        assert "\n" not in said
    else:
        assert said is None


def test_ipv6_is_looked_at_by_itself(old: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.ipq", [HENAN, AMERICA] * 50, [AMERICA, HENAN] * 10)
    said = _objection(old, new)
    assert said is not None
    assert said.startswith("IPv6 has another country for 100.00 % of the addresses")


@pytest.mark.parametrize(("missing", "refused"), [(2, False), (3, True)])
def test_two_of_a_hundred_may_be_lost(
    old: Path, tmp_path: Path, missing: int, refused: bool
) -> None:
    parts: list[Record | None] = [HENAN, AMERICA] * 50
    parts[:missing] = [None] * missing
    said = _objection(old, write(tmp_path / "new.ipq", parts, [HENAN, AMERICA] * 10))
    assert (said is not None) == refused
    if said:
        assert "IPv4 has any record for 3.00 % fewer addresses, and `coverage` under" in said


def test_a_country_that_is_lost_counts_though_there_is_a_record(old: Path, tmp_path: Path) -> None:
    parts = [HENAN, AMERICA] * 50
    parts[:3] = [NOBODY] * 3
    said = _objection(old, write(tmp_path / "new.ipq", parts, [HENAN, AMERICA] * 10))
    assert said is not None
    assert said.startswith("IPv4 has a country for 3.00 % fewer addresses")


def test_what_is_gained_elsewhere_makes_up_for_it(old: Path, tmp_path: Path) -> None:
    parts: list[Record | None] = [None] * 3 + ([HENAN, AMERICA] * 50)[3:] + [HENAN, AMERICA, HENAN]
    assert _objection(old, write(tmp_path / "new.ipq", parts, [HENAN, AMERICA] * 10)) is None


def test_provinces_and_cities_are_bounded_where_it_is_said(old: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.ipq", [BEIJING, AMERICA] * 50, [HENAN, AMERICA] * 10)
    assert _objection(old, new) is None
    for level in ("province", "city"):
        said = _objection(old, new, **{level: 99.0})
        assert said is not None
        assert said.startswith(f"IPv4 has another {level} for 100.00 % of the addresses")
    lost = write(tmp_path / "lost.ipq", [CHINA, AMERICA] * 50, [HENAN, AMERICA] * 10)
    assert _objection(old, lost) is None
    said = _objection(old, lost, city=99.0)
    assert said is not None
    assert said.startswith("IPv4 has a city for 100.00 % fewer addresses")


def test_fewer_than_half_the_ranges_are_refused_whatever_the_addresses(tmp_path: Path) -> None:
    many = write(tmp_path / "many.ipq", [CHINA, AMERICA] * 50)
    half = write(tmp_path / "half.ipq", [CHINA, AMERICA] * 25)
    assert _objection(many, half, coverage=None) is None
    few = write(tmp_path / "few.ipq", [CHINA, AMERICA] * 24)
    said = _objection(many, few, coverage=None)
    assert said is not None
    assert said.startswith("IPv4 has 48 ranges, less than half of 100")


def test_an_older_edition_of_a_database_is_refused(tmp_path: Path) -> None:
    had = (("A", "2026-02-01"), ("B", None), ("C", "2026-01-01"))
    old = write(tmp_path / "old.ipq", [CHINA], dates=had)
    for dates in (had, (("A", None), ("B", "2020-01-01"), ("D", "2019-01-01"))):
        assert _objection(old, write(tmp_path / "new.ipq", [CHINA], dates=dates)) is None
    older = (("A", "2026-01-31"), ("C", "2026-01-02"))
    said = _objection(old, write(tmp_path / "new.ipq", [CHINA], dates=older))
    assert said is not None
    assert said.startswith("A is of 2026-01-31, older than that of 2026-02-01. IPv4: ")


def test_what_is_expected_must_hold(old: Path) -> None:
    def said(ip: str, **fields: str | int) -> str | None:
        return objection(old, old, Guard(expect=(Expectation(ip, tuple(fields.items())),)))

    assert said("1.0.0.1", country_code="CN", city="商丘市") is None
    assert said("2400::1", country_code="CN") is None
    wrong = said("1.0.0.1", country_code="US", city="商丘市")
    assert wrong is not None
    assert wrong.startswith("country_code of 1.0.0.1 is CN, [[expect]] says US. IPv4: no change")
    for unknown in (said("9.9.9.9", country_code="US"), said("1.0.0.1", asn=1)):
        assert unknown is not None
        assert " is unknown, [[expect]] says " in unknown


def test_all_that_is_against_it_is_said(old: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.ipq", [AMERICA] * 10, dates=(("DB", "2025-01-01"),))
    said = objection(old, new, Guard(expect=(Expectation("1.0.0.1", (("country_code", "CN"),)),)))
    assert said is not None
    for part in ("[[expect]] says CN", "less than half", "older than", "country", "coverage"):
        assert part in said


def test_if_the_old_one_cannot_be_read_only_what_is_expected_counts(
    old: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.ipq"
    assert _objection(gone, old) is None
    said = objection(gone, old, Guard(expect=(Expectation("1.0.0.1", (("city", "x"),)),)))
    assert said == "city of 1.0.0.1 is 商丘市, [[expect]] says x"


def test_a_new_one_that_cannot_be_read_is_an_error(old: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't read this snapshot: No such file"):
        _objection(old, tmp_path / "gone.ipq")
