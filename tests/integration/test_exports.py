"""What is exported, read by the programs that it is for: they say what ipquery does."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from ipquery import Snapshot, open_snapshot
from ipquery.address import V4_LAST, to_text
from ipquery.data.record import FIELDS, Record
from tests.data.exporting import export, known
from tests.integration.exported import haproxy, mmdblookup, nginx

TOLD = ("country_code", "province", "city", "isp")
_SEPARATOR = "|"


def _boundaries(snapshot: Snapshot, most: int, chance: random.Random) -> list[str]:
    """Ends of ranges, all or so many of each version."""
    found = []
    for version in (4, 6):
        ranges = [pair[:2] for pair in snapshot.ranges(version) if pair[0] >> 32 or version == 4]
        for ends in chance.sample(ranges, min(most, len(ranges))):
            found += [to_text(version, end) for end in ends]
    # nginx takes this one, as the C library's inet_addr does, for no address.
    return [text for text in found if text != "255.255.255.255"]


def _anywhere(count: int, chance: random.Random) -> Iterator[str]:
    """Random addresses of IPv4, IPv4-mapped, and of IPv6 where it is given out."""
    for _ in range(count // 8):
        yield from (to_text(4, chance.randrange(V4_LAST + 1)) for _ in range(4))
        yield f"::ffff:{to_text(4, chance.randrange(V4_LAST + 1))}"
        # Not 2001::/32 and 2002::/16, which repeat IPv4 in an mmdb and for HAProxy.
        for low, high in ((0x2003, 0x2D00), (0x2400, 0x2410), (0x2A00, 0x2A10)):
            first = chance.randrange(low, high)
            yield to_text(6, first << 112 | chance.randrange(1 << 112))


def _find(snapshot: Snapshot, address: str) -> Record:
    return snapshot.find(address) or Record()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _check_mmdb(path: Path, addresses: Sequence[str], folder: Path) -> None:
    """By maxminddb in Python and in C, by mmdblookup and by nginx's geoip2 module."""
    out = export(path, folder / "flat.mmdb", "mmdb", shape="flat")
    with open_snapshot(path) as snapshot:
        for mode in (maxminddb.MODE_MMAP_EXT, maxminddb.MODE_MMAP):
            with maxminddb.open_database(out, mode) as reader:
                for address in addresses:
                    assert (reader.get(address) or {}) == known(_find(snapshot, address)), address
        look_up = mmdblookup(out)
        for address in addresses[:: max(1, len(addresses) // 500)]:
            record = _find(snapshot, address)
            found = look_up(address)
            for field in FIELDS:
                value = getattr(record, field)
                wanted = f"{value:.6f}" if isinstance(value, float) else _text(value)
                assert found.get(field, "") == wanted, (address, field)
        variables = "".join(f"$geo_{field} source=$remote_addr {field};\n" for field in TOLD)
        settings = f"geoip2 {out} {{\n{variables}}}\n"
        value = _SEPARATOR.join(f"$geo_{field}" for field in TOLD)
        with nginx(folder / "geoip2", settings, value, geoip2=True) as asked:
            for address, said in zip(addresses, asked.ask(addresses), strict=True):
                record = _find(snapshot, address)
                wanted = _SEPARATOR.join(_text(getattr(record, field)) for field in TOLD)
                assert said == wanted, address


def _check_web_servers(path: Path, addresses: Sequence[str], folder: Path, field: str) -> None:
    """One field, by nginx's geo module and by HAProxy's maps."""
    conf = export(path, folder / f"{field}.conf", "nginx", fields=[field])
    map_ = export(path, folder / f"{field}.map", "haproxy", fields=[field])
    with open_snapshot(path) as snapshot:
        wanted = [_text(getattr(_find(snapshot, address), field)) for address in addresses]
    name = f"$ipquery_{field}"
    with nginx(folder / f"geo-{field}", f"include {conf};", name) as asked:
        _check_same(addresses, asked.ask(addresses), wanted)
    with haproxy(folder / f"haproxy-{field}", map_) as asked:
        # DB-IP has a city called " Taguig".
        _check_same(addresses, asked.ask(addresses), [text.strip(" ") for text in wanted])


def _check_same(addresses: Sequence[str], said: Sequence[str], wanted: Sequence[str]) -> None:
    for address, one, other in zip(addresses, said, wanted, strict=True):
        assert one == other, address


@pytest.fixture(scope="module")
def sample_addresses(sample: Path) -> list[str]:
    chance = random.Random(6)
    with open_snapshot(sample) as snapshot:
        return [*_boundaries(snapshot, 10_000, chance), *_anywhere(2000, chance)]


def test_readers_of_mmdb(sample: Path, sample_addresses: list[str], tmp_path: Path) -> None:
    _check_mmdb(sample, sample_addresses, tmp_path)


@pytest.mark.parametrize("field", ["country_code", "city", "asn"])
def test_web_servers(sample: Path, sample_addresses: list[str], tmp_path: Path, field: str) -> None:
    _check_web_servers(sample, sample_addresses, tmp_path, field)


def test_teredo_and_6to4_lead_to_ipv4(sample: Path, tmp_path: Path) -> None:
    out = export(sample, tmp_path / "flat.mmdb", "mmdb", shape="flat")
    chance = random.Random(7)
    with open_snapshot(sample) as snapshot, maxminddb.open_database(out) as reader:
        for _ in range(300):
            number = chance.randrange(V4_LAST + 1)
            wanted = known(_find(snapshot, to_text(4, number))) or None
            for prefix, shift in ((0x2002 << 112, 80), (0x20010000 << 96, 64)):
                assert reader.get(to_text(6, prefix | number << shift | 5)) == wanted


@pytest.fixture(scope="module")
def default_addresses(default_path: Path) -> list[str]:
    chance = random.Random(8)
    with open_snapshot(default_path) as snapshot:
        return [*_anywhere(1_000_000, chance), *_boundaries(snapshot, 50_000, chance)]


@pytest.mark.soak
def test_readers_of_the_default_s_mmdb(
    default_path: Path, default_addresses: list[str], tmp_path: Path
) -> None:
    _check_mmdb(default_path, default_addresses, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("field", ["country_code", "city"])
def test_web_servers_with_the_default(
    default_path: Path, default_addresses: list[str], tmp_path: Path, field: str
) -> None:
    _check_web_servers(default_path, default_addresses, tmp_path, field)
