"""Whose a file is, where it tells, and on what terms that may be used."""

import zipfile
from pathlib import Path

import pytest

from ipquery import open_snapshot
from ipquery.data.build import ensure_snapshot
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import RangeTable
from ipquery.data.sources import Source
from ipquery.data.terms import DBIP_LITE, GEOLITE2, IP2LOCATION_LITE, Terms
from tests.data.mmdb_files import mmdb, networks_of

pytestmark = pytest.mark.usefixtures("builds_here")

CSV = b"0.0.1.0,0.0.1.255,NZ\n"


def _mmdb(database_type: object, first: int = 0) -> bytes:
    networks = networks_of(4, [(first, first + 255, 0)])
    return mmdb(networks, [{"country_code": "AU"}], 4, metadata={"database_type": database_type})


def _read(folder: Path, files: dict[str, bytes]) -> RangeTable:
    paths = []
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        paths.append(path)
    (folder / "unpacked").mkdir()
    return read_files(paths, None, ReadOptions(), folder / "unpacked", 1 << 20)[1]


@pytest.mark.parametrize(
    ("database_type", "terms"),
    [
        ("DBIP-City-Lite", DBIP_LITE),
        ("DBIP-Country-Lite", DBIP_LITE),
        ("DBIP-ASN-Lite (compat=GeoLite2-ASN)", DBIP_LITE),
        ("GeoLite2-City", GEOLITE2),
        ("GeoLite2-ASN", GEOLITE2),
        # Sold, or somebody else's.
        ("DBIP-Location-ISP (compat=Enterprise)", None),
        ("GeoIP2-City", None),
        ("my own, beside GeoLite2-City", None),
        ("city ipv4", None),
        ("", None),
        (5, None),
        (["GeoLite2-City"], None),
    ],
)
def test_an_mmdb_file_tells_whose_it_is(
    tmp_path: Path, database_type: object, terms: Terms | None
) -> None:
    assert _read(tmp_path, {"some.mmdb": _mmdb(database_type)}).terms == terms


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("IP2LOCATION-LITE-DB1.CSV", IP2LOCATION_LITE),
        ("dbip-country-lite-2026-06.csv", DBIP_LITE),
        ("GeoLite2-Country.csv", GEOLITE2),
        ("IP2LOCATION-DB1.CSV", None),
        ("dbip-country-2026-06.csv", None),
        ("better-than-GeoLite2-City.csv", None),
    ],
)
def test_other_files_are_told_by_the_name_that_their_publisher_gives(
    tmp_path: Path, name: str, terms: Terms | None
) -> None:
    assert _read(tmp_path, {name: CSV}).terms == terms


@pytest.mark.parametrize("folder", ["", "IP2LOCATION-LITE/"])
def test_a_file_in_an_archive_has_its_name_there(tmp_path: Path, folder: str) -> None:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr(f"{folder}IP2LOCATION-LITE-DB1.CSV", CSV)
    content = (tmp_path / "made.zip").read_bytes()
    assert _read(tmp_path, {"some.zip": content}).terms == IP2LOCATION_LITE


def test_what_an_mmdb_says_counts_before_its_name(tmp_path: Path) -> None:
    table = _read(tmp_path, {"GeoLite2-City.mmdb": _mmdb("DBIP-City-Lite")})
    assert table.terms == DBIP_LITE


@pytest.mark.parametrize(
    ("other", "terms"), [("DBIP-City-Lite", DBIP_LITE), ("GeoLite2-City", None), ("mine", None)]
)
def test_files_of_one_source_are_told_by_what_all_of_them_say(
    tmp_path: Path, other: str, terms: Terms | None
) -> None:
    files = {"a.mmdb": _mmdb("DBIP-City-Lite"), "b.mmdb": _mmdb(other, 1024)}
    assert _read(tmp_path, files).terms == terms


@pytest.mark.parametrize("own", [{}, {"licence": "as agreed"}, {"attribution": "our own words"}])
def test_what_the_operator_sets_counts_first(tmp_path: Path, own: dict[str, str]) -> None:
    path = tmp_path / "some.mmdb"
    path.write_bytes(_mmdb("GeoLite2-City"))
    source = Source(path, licence=own.get("licence", ""), attribution=own.get("attribution", ""))
    built = ensure_snapshot([source], tmp_path / "cache", lambda what, done: None)
    with open_snapshot(built) as db:
        (told,) = db.about["sources"]
    wanted = {"licence": GEOLITE2.licence, "attribution": GEOLITE2.attribution, **own}
    assert {name: told[name] for name in wanted} == wanted
