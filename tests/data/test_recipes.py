"""Recipes as users write them, and the ages of databases."""

import datetime
import re
from pathlib import Path
from typing import Any

import pytest

from ipquery.data.record import DataError
from ipquery.data.sources import FORMAT_NAMES
from ipquery.data.update.age import OLD_DAYS, dated, outdated
from ipquery.data.update.folder import default_data
from ipquery.data.update.publishers import CURRENT
from ipquery.data.update.recipe import PackageFile, WebFile
from ipquery.data.update.recipes import RECIPES, parse_recipe

TODAY = datetime.date(2026, 11, 25)


@pytest.mark.parametrize(
    ("text", "folder", "file"),
    [
        (
            "pypi:Some.Package_1==1.0.2:a/b.xdb",
            "pypi-Some.Package_1",
            PackageFile("pypi", "Some.Package_1", "1.0.2", "a/b.xdb"),
        ),
        ("pypi:some:b.xdb", "pypi-some", PackageFile("pypi", "some", None, "b.xdb")),
        (
            "npm:@scope/some-package@2.3.0-rc.1:b.csv",
            "npm-scope-some-package",
            PackageFile("npm", "@scope/some-package", "2.3.0-rc.1", "b.csv"),
        ),
        ("npm:some:b.csv", "npm-some", PackageFile("npm", "some", None, "b.csv")),
    ],
)
def test_a_file_in_a_package(text: str, folder: str, file: PackageFile) -> None:
    recipe = parse_recipe(text)
    assert recipe.files == (file,)
    assert recipe.paths(Path("/data")) == (Path("/data") / folder / file.name,)
    assert f":{file.requirement}:" in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dbip", "no such recipe"),
        ("", "no such recipe"),
        ("cargo:a:b", "no such recipe"),
        ("pypi:some", "not a file in a package"),
        ("pypi:some:", "not a file in a package"),
        ("pypi:--index-url=x:b", "not a file in a package"),
        ("pypi:some>=1:b", "not a file in a package"),
        ("pypi:some==1.*:b", "not a file in a package"),
        ("pypi:./some:b", "not a file in a package"),
        ("npm:owner/repository:b", "not a file in a package"),
        ("npm:-x:b", "not a file in a package"),
        ("npm:some@./folder:x", "not a file in a package"),
        ("npm:some@^1.0:b", "not a file in a package"),
        ("npm:some:../b", "not a file in a package"),
        ("npm:some:/b", "not a file in a package"),
        ("npm:some:a//b", "not a file in a package"),
        ("npm:some:a\\b", "not a file in a package"),
        ("npm:some:b\n", "not a file in a package"),
        ("npm:some:a/.previous", "not a file in a package"),
        ("npm:some:b:c", None),
    ],
)
def test_what_is_none_is_refused_before_any_program_sees_it(
    text: str, complaint: str | None
) -> None:
    if complaint is None:
        assert parse_recipe(text).files == (PackageFile("npm", "some", None, "b:c"),)
        return
    with pytest.raises(DataError, match=complaint) as caught:
        parse_recipe(text)
    assert "ipquery fetch --list" in str(caught.value)


def test_recipes_with_names_are_pinned_to_the_byte() -> None:
    for name, recipe in RECIPES.items():
        assert name == recipe.name == parse_recipe(name).name
        assert recipe.title
        assert recipe.date
        assert recipe.licence
        assert recipe.attribution
        assert recipe.format in FORMAT_NAMES
        for file in recipe.files:
            assert isinstance(file, PackageFile)
            assert file.version
            assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "")


def test_recipes_of_what_is_current_say_whose_it_is() -> None:
    for name, recipe in CURRENT.items():
        assert name == recipe.name == parse_recipe(name).name
        assert recipe.title
        assert recipe.licence
        assert recipe.attribution
        assert recipe.format in FORMAT_NAMES
        for file in recipe.files:
            assert file.sha256 is None
            if isinstance(file, WebFile):
                assert file.base.startswith("https://")
                assert file.base.endswith("/")


@pytest.mark.parametrize(
    ("text", "folder", "file"),
    [
        ("maxmind:GeoLite2-City", "maxmind-GeoLite2-City", "GeoLite2-City.mmdb"),
        ("maxmind:GeoIP2-City-CSV", "maxmind-GeoIP2-City-CSV", "GeoIP2-City-CSV.zip"),
        ("geoipupdate:GeoLite2-ASN", "geoipupdate-GeoLite2-ASN", "GeoLite2-ASN.mmdb"),
        ("ip2location:DB11LITEBIN", "ip2location-DB11LITEBIN", "DB11LITEBIN.zip"),
    ],
)
def test_a_publishers_product(text: str, folder: str, file: str) -> None:
    recipe = parse_recipe(text)
    assert recipe.paths(Path("/data")) == (Path("/data") / folder / file,)
    assert bool(recipe.attribution) == ("Lite" in text or "LITE" in text)


def test_a_url() -> None:
    text = "https://a.example:8443/b/c.mmdb?x={1}#sha256=" + "A" * 64
    (file,) = parse_recipe(text).files
    assert isinstance(file, WebFile)
    assert (file.base, file.name) == ("https://a.example:8443/", "c.mmdb")
    assert file.path.format() == "b/c.mmdb?x={1}"
    assert file.sha256 == "a" * 64
    one, other = (parse_recipe(f"https://a.example/{n}/c.mmdb") for n in (1, 2))
    assert one.name != other.name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("https://", "not a URL"),
        ("https:///a.mmdb", "not a URL"),
        ("https://a.example:99999/a.mmdb", "not a URL"),
        ("https://a.example:x/a.mmdb", "not a URL"),
        ("https://[/a.mmdb", "not a URL"),
        ("https://a.example/ä.mmdb", "not a URL"),
        ("https://a.example/a b.mmdb", "not a URL"),
        ("https://a.example", "must end in the name of a file"),
        ("https://a.example/", "must end in the name of a file"),
        ("https://a.example/..", "must end in the name of a file"),
        ("https://a.example/.fetched.json", "must end in the name of a file"),
        ("https://a.example/a%2fb", "must end in the name of a file"),
        ("https://u:secret@a.example/a.mmdb", "a password in a URL is shown"),
        ("https://a.example/a.mmdb?t=secret#md5=1", "only #sha256="),
        ("https://a.example/a.mmdb#sha256=12", "only #sha256="),
        ("http://a.example/a.mmdb?t=secret", "no such recipe"),
        ("maxmind:", "not the name of a product"),
        ("maxmind:../x", "not the name of a product"),
        ("maxmind:GeoLite2-City?x", "not the name of a product"),
        ("ip2location:DB1&token=x", "not the name of a product"),
        ("geoipupdate:{date}", "not the name of a product"),
    ],
)
def test_what_is_no_url_or_product_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        parse_recipe(text)
    assert "secret" not in str(caught.value)


def test_the_data_folder_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_data() == Path("/home/someone/.local/share/ipquery")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data() == Path("/somewhere/ipquery")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/ipquery:/other")
    assert default_data() == Path("/var/lib/ipquery")


# Ages


def test_the_age_of_a_database() -> None:
    assert dated("2026-11-24", TODAY) == "2026-11-24, 1 day old"
    assert dated("2022-06-22", TODAY) == "2022-06-22, 1,617 days old"
    assert dated("2026-12-24", TODAY) == "2026-12-24, 0 days old"
    assert dated(None, TODAY) == "date unknown"


def _source(name: str, days: int | None) -> dict[str, Any]:
    date = None if days is None else str(TODAY - datetime.timedelta(days))
    return {"name": name, "date": date}


def test_old_sources_are_warned_of() -> None:
    young = [_source("a.mmdb", OLD_DAYS), _source("b.csv", None), _source("c.xdb", -5)]
    assert list(outdated(young, TODAY)) == []
    assert list(outdated([*young, _source("d.xdb", OLD_DAYS + 1)], TODAY)) == [
        "d.xdb is of 2025-10-20, 401 days old: get a newer one from its publisher"
    ]


@pytest.mark.parametrize(
    ("title", "what"),
    [
        ("DB-IP City Lite", "get the newest with `ipquery fetch`"),
        ("DB-IP ASN Lite", "get the newest with `ipquery fetch`"),
        ("ip2region", "get the newest with `ipquery fetch ip2region`"),
        ("DB-IP Country Lite", "get the newest with `ipquery fetch dbip-country-lite`"),
        ("some.mmdb", "get a newer one from its publisher"),
    ],
)
def test_the_warning_names_the_command_that_gets_a_newer_one(title: str, what: str) -> None:
    (line,) = outdated([{"name": title, "date": "2023-04-01"}], TODAY)
    assert line == f"{title} is of 2023-04-01, 1,334 days old: {what}"
