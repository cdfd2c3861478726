"""Exported MaxMind DBs say what the snapshot does, to MaxMind's own readers and to ipquery's."""

import unicodedata
from pathlib import Path
from typing import Any

import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery import Snapshot, open_snapshot
from ipquery.address import to_text
from ipquery.data.export.mmdb_data import DataSection, Uint16, encode
from ipquery.data.formats import mmdb
from ipquery.data.formats.mmdb_data import Decoder
from ipquery.data.formats.options import ReadOptions
from ipquery.data.record import FIELDS, Record
from tests.data.builder import write_snapshot
from tests.data.exporting import (
    MAPPED,
    SIX_TO_FOUR,
    TEREDO,
    World,
    answer,
    export,
    full_records,
    known,
    said,
    texts,
    worlds,
)
from tests.data.tables import LAST
from tests.examples import many

EVERYWHERE = {4: [(0, LAST[4], 0)], 6: [(0, LAST[6], 0)]}
CHINA = Record(country="中国", country_code="CN")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


def wanted(snapshot: Snapshot, version: int, number: int) -> Record | None:
    """What readers of MaxMind DBs should find: IPv4 stands, and is repeated, where they know it."""
    if version == 6 and number <= LAST[4]:
        return answer(snapshot, 4, number)
    for first, bits, shift in ((TEREDO, 96, 64), (SIX_TO_FOUR, 112, 80)):
        if version == 6 and number >> bits == first >> bits and not _is_own(snapshot, first, bits):
            return answer(snapshot, 4, number >> shift & LAST[4])
    return answer(snapshot, version, number)


def _is_own(snapshot: Snapshot, first: int, bits: int) -> bool:
    """Whether the snapshot says something of a block."""
    last = first + (1 << bits) - 1
    return any(
        snapshot.record(number) != Record()
        for one, other, number in snapshot.ranges(6)
        if number and one <= last and other >= first
    )


def _is_elsewhere(number: int) -> bool:
    """Whether an IPv6 address isn't where IPv4 is repeated."""
    return not (
        number >> 32 == MAPPED >> 32
        or number >> 96 == TEREDO >> 96
        or number >> 112 == SIX_TO_FOUR >> 112
    )


def _read(snapshot: Snapshot, version: int, number: int) -> Record | None:
    """What ipquery's reader should find."""
    is_mapped = version == 6 and number >> 32 == MAPPED >> 32
    return None if is_mapped else answer(snapshot, version, number)


@given(worlds(full_records))
def test_all_readers_find_what_ipquery_answers(folder: Path, world: World) -> None:
    path = world.build(folder / "world.ipq")
    out = export(path, folder / "flat.mmdb", "mmdb", shape="flat")
    table = mmdb.read(out)
    with open_snapshot(path) as snapshot:
        has_one_answer = len({answer(snapshot, 4, first) for first, *_ in snapshot.ranges(4)}) == 1
        for mode in (maxminddb.MODE_MMAP_EXT, maxminddb.MODE_MEMORY):
            with maxminddb.open_database(out, mode) as reader:
                for version, number in world.addresses():
                    found = reader.get(to_text(version, number))
                    assert found == (known(wanted(snapshot, version, number)) or None)
        for version, number in world.addresses():
            # IPv4 is read once, and what repeats it isn't read: that can be told if it has a node.
            if version == 6 and number <= LAST[4]:
                assert said(table, version, number) is None
            elif version == 4 or not has_one_answer or _is_elsewhere(number):
                assert said(table, version, number) == _read(snapshot, version, number)


@given(worlds(full_records), st.sets(st.sampled_from(FIELDS), min_size=1))
def test_chosen_fields_are_told_and_no_others(folder: Path, world: World, fields: set[str]) -> None:
    path = world.build(folder / "chosen.ipq")
    out = export(path, folder / "chosen.mmdb", "mmdb", shape="flat", fields=[*fields])
    with open_snapshot(path) as snapshot, maxminddb.open_database(out) as reader:
        for version, number in world.addresses():
            if version == 4:
                everything = known(answer(snapshot, version, number))
                told = {name: value for name, value in everything.items() if name in fields}
                assert reader.get(to_text(version, number)) == (told or None)


def _as_city(record: Record, names: Any) -> dict[str, Any]:
    """A record as GeoIP2 has it, part by part."""

    def named(text: str | None, *codes: str | None) -> dict[str, Any]:
        if text is None:
            return {}
        is_chinese = any("IDEOGRAPH-" in unicodedata.name(one, "") for one in text)
        theirs = names("en" if is_chinese else "zh")
        found = next((theirs[code] for code in codes if code in theirs), None)
        pair = (text, found) if is_chinese else (found, text)
        return {"names": some(**dict(zip(("zh-CN", "en"), pair, strict=True)))}

    def some(**parts: Any) -> dict[str, Any]:
        return {name: part for name, part in parts.items() if part not in (None, {}, [])}

    code = record.subdivision_code
    first = {
        **some(iso_code=code and code.removeprefix(f"{record.country_code}-")),
        **named(record.province, code, record.province_code),
    }
    second = named(record.district)
    return some(
        continent=some(code=record.continent_code),
        country={
            **some(iso_code=record.country_code),
            **named(record.country, record.country_code),
        },
        subdivisions=[first, second] if second else [first] if first else [],
        city=named(record.city, record.city_code),
        location=some(
            accuracy_radius=record.accuracy_radius,
            latitude=record.latitude,
            longitude=record.longitude,
            time_zone=record.time_zone,
        ),
        postal=some(code=record.postal_code),
        traits=some(
            autonomous_system_number=record.asn,
            autonomous_system_organization=record.as_org,
            isp=record.isp,
            organization=record.org,
        ),
    )


@given(worlds(full_records))
def test_the_shape_of_geoip2(folder: Path, world: World) -> None:
    path = world.build(folder / "city.ipq")
    out = export(path, folder / "city.mmdb", "mmdb")
    with open_snapshot(path) as snapshot, maxminddb.open_database(out) as reader:
        for version, number in world.addresses():
            record = wanted(snapshot, version, number)
            shown = _as_city(record, snapshot.names) if record else {}
            assert reader.get(to_text(version, number)) == (shown or None)


def test_names_are_in_both_languages_and_read_back(tmp_path: Path) -> None:
    record = Record(
        country="中国", province="河南省", city="商丘市", isp="联通", org="China Unicom"
    )
    path = write_snapshot(tmp_path / "one.ipq", EVERYWHERE[4], [], [record])
    out = export(path, tmp_path / "one.mmdb", "mmdb")
    with maxminddb.open_database(out) as reader:
        found = reader.get("1.2.3.4")
        assert reader.metadata().languages == ["en", "zh-CN"]
    assert found == {
        "country": {"iso_code": "CN", "names": {"en": "China", "zh-CN": "中国"}},
        "subdivisions": [{"iso_code": "HA", "names": {"en": "Henan", "zh-CN": "河南省"}}],
        "city": {"names": {"en": "Shangqiu", "zh-CN": "商丘市"}},
        "traits": {"isp": "联通", "organization": "China Unicom"},
    }
    read = mmdb.read(out, ReadOptions(language="zh")).records[0]
    assert (read.country, read.province, read.city) == ("中国", "河南省", "商丘市")
    assert (read.country_code, read.subdivision_code) == ("CN", "CN-HA")


@pytest.mark.parametrize("rows", [{4: [], 6: []}, EVERYWHERE, {4: EVERYWHERE[4], 6: []}])
def test_spaces_of_one_piece(tmp_path: Path, rows: dict[int, Any]) -> None:
    path = write_snapshot(tmp_path / "one.ipq", rows[4], rows[6], [CHINA])
    out = export(path, tmp_path / "one.mmdb", "mmdb", fields=["country_code"])
    told = {"country": {"iso_code": "CN"}}
    with maxminddb.open_database(out) as reader:
        assert reader.get("1.2.3.4") == (told if rows[4] else None)
        assert reader.get("2002:102:304::") == (told if rows[4] else None)
        assert reader.get("2400::") == (told if rows[6] else None)


def test_equal_neighbours_are_one_network(tmp_path: Path) -> None:
    records = [Record(country_code="CN", city="a"), Record(country_code="CN", city="b")]
    rows = [(0x01000000, 0x0100007F, 0), (0x01000080, 0x010000FF, 1)]
    path = write_snapshot(tmp_path / "two.ipq", rows, [], records)
    for fields, length in ((["country_code"], 24), (["city"], 25)):
        out = export(path, tmp_path / "two.mmdb", "mmdb", fields=fields)
        with maxminddb.open_database(out) as reader:
            assert reader.get_with_prefix_len("1.0.0.1")[1] == length


def test_the_description(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path / "one.ipq", EVERYWHERE[4], [], [CHINA])
    with maxminddb.open_database(export(path, tmp_path / "a.mmdb", "mmdb")) as reader:
        about = reader.metadata()
        assert about.database_type == "ipquery-City"
        assert (about.ip_version, about.record_size) == (6, 24)
        assert about.description == {"en": "a"}
    out = export(path, tmp_path / "b.mmdb", "mmdb", shape="flat", database_type="GeoIP2-City")
    with maxminddb.open_database(out) as reader:
        assert reader.metadata().database_type == "GeoIP2-City"


VALUES: st.SearchStrategy[Any] = st.recursive(
    texts | st.integers(0, 2**32 - 1) | st.floats(allow_nan=False),
    lambda parts: st.lists(parts, max_size=40) | st.dictionaries(texts, parts, max_size=40),
)


def _exactly(value: Any) -> Any:
    """With types, as 1 and 1.0 are equal."""
    if isinstance(value, dict):
        return [(key, _exactly(part)) for key, part in value.items()]
    if isinstance(value, list):
        return [_exactly(part) for part in value]
    return type(value), value


@many(4)
@given(st.lists(VALUES, min_size=1))
def test_what_is_encoded_is_decoded_to_the_same(values: list[Any]) -> None:
    data = DataSection()
    places = [data.add(data.encode(value)) for value in values]
    pointers = [data.add(data.encode([data_value])) for data_value in values]
    decoder = Decoder(bytes(data))
    assert [_exactly(decoder.decode(place)) for place in places] == list(map(_exactly, values))
    assert [_exactly(decoder.decode(at)[0]) for at in pointers] == list(map(_exactly, values))
    for value in values:
        assert _exactly(Decoder(encode(value)).decode(0)) == _exactly(value)


@pytest.mark.parametrize("size", [28, 29, 284, 285, 65_820, 65_821, 200_000])
def test_long_texts(size: int) -> None:
    text = "x" * size
    assert Decoder(encode(text)).decode(0) == text


@pytest.mark.parametrize("before", [0, 2047, 2048, 526_335, 526_336, 1 << 27, (1 << 27) + 526_336])
def test_pointers_of_every_length(before: int) -> None:
    data = DataSection()
    data.add(bytes(before))
    pointer = data.shared({"k": Uint16(7)})
    place = data.add(pointer)
    # What stands before is never decoded.
    assert Decoder(bytes(data)).decode(place) == {"k": 7}


def test_equal_numbers_of_other_types_stay_apart() -> None:
    """mmdb_writer 0.2.7 takes them for one value."""
    data = DataSection()
    places = [data.add(data.shared({"k": value})) for value in (1, 1.0, Uint16(1))]
    kinds = [type(Decoder(bytes(data)).decode(place)["k"]) for place in places]
    assert kinds == [int, float, int]
    assert len({bytes(data)[place : place + 2] for place in places}) == 3
