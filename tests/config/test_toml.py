"""The configuration file: every key, and every way to get it wrong."""

import ast
import inspect
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ipquery.config import Config, ConfigError, load
from ipquery.config.table import keys_of
from ipquery.data.blend.policy import Policy
from ipquery.data.build import Limits, ListPaths
from ipquery.data.sources import RANGE_COLUMNS, Source, ip2region_source
from ipquery.net.sockets import Bind
from ipquery.net.tls import TlsFiles, TlsSettings, read_certificate
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings, ClientSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings
from ipquery.serve.settings import Settings
from tests.certificates import self_signed

SETTINGS: dict[str, type[attrs.AttrsInstance]] = {
    "http": HttpLimits,
    "client": ClientSettings,
    "api": ApiSettings,
    "access_log": AccessLogSettings,
    "cache": CacheSettings,
    "fallback": FallbackSettings,
    "tls": TlsFiles,
}
EXAMPLE = Path(__file__).parents[2] / "conf/ipquery.toml"


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "ipquery.toml"
    path.write_text(text, "utf-8")
    return load(path)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "") == Config()


def test_the_example_says_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(EXAMPLE)
    assert config == Config(databases=(ip2region_source(),))


def test_the_example_explains_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every commented-out key switched on, it is still valid, and nothing is missing."""
    monkeypatch.setenv("GEO_TOKEN", "secret")
    (tmp_path / "ca.pem").touch()
    certificate, key = self_signed(tmp_path, "localhost")
    text = re.sub(r"^# (\w+ = |\[)", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    text = text.replace("/etc/ipquery/ca.pem", "ca.pem")
    text = text.replace("/etc/ipquery/fullchain.pem", certificate.name)
    text = text.replace("/etc/ipquery/privkey.pem", key.name)
    text = text.replace("/etc/ipquery/clients.pem", certificate.name)
    config = _load(tmp_path, text)
    assert config.cache_dir == Path("/var/cache/ipquery")
    assert config.settings.access_log == AccessLogSettings("/var/log/ipquery/access.log")
    assert config.codes.countries == tmp_path / "countries.txt"
    assert config.databases[-1].columns == ("country", "", "province", "city", "isp")
    assert config.databases[-1].leads == ("CN",)
    assert config.blend == Policy("fill", "zh", "provinces")
    assert config.build_limits == Limits()
    assert config.settings.http == HttpLimits()
    assert config.settings.api == ApiSettings(cors=("https://app.example.com",))
    assert config.settings.cache == CacheSettings(
        redis="redis://127.0.0.1:6379", ca_file=tmp_path / "ca.pem"
    )
    assert config.settings.proxy == ("10.0.0.0/8",)
    assert config.tls == TlsSettings(
        (read_certificate(certificate, key),), "none", certificate.read_text()
    )
    (source,) = config.settings.fallback
    assert source.headers == (("Authorization", "Bearer secret"),)
    assert {name for name, _ in source.fields} == {"country", "country_code", "province"}
    assert attrs.evolve(source, headers=(), fields=()) == FallbackSettings(
        source.url, ca_file=tmp_path / "ca.pem"
    )
    unknown = _complaint(tmp_path, "x = 1")
    tables = tomllib.loads(text)
    assert set(unknown.split("keys: ")[1].split(", ")) == set(tables)
    for name, kind in SETTINGS.items():
        one = tables[name]
        assert set(one[-1] if isinstance(one, list) else one) == set(keys_of(kind)), name


def test_every_key_is_read(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        """
        bind = ["0.0.0.0:80", "[::]:80", "unix:/run/s", "tls:[::]:443"]
        proxy = ["10.0.0.0/8", "2001:db8::1", "unix"]
        workers = 3
        express = false
        page = false
        cache_dir = "cache"
        [client]
        trusted_proxies = ["10.0.0.0/8", "unix"]
        forwarded = "forwarded"
        [access_log]
        path = "/log"
        format = "json"
        sample = 100
        [[database]]
        path = "some.dat"
        [[database]]
        path = "ipip-dat:/other.dat"
        name = "other"
        columns = ["country", "", "isp"]
        licence = "CC0"
        attribution = "us"
        [[database]]
        path = "third"
        format = "xdb"
        language = "zh"
        [[database]]
        path = ["v4.csv", "/v6.csv.gz"]
        columns = ["first", "last", "city"]
        [[database]]
        path = "fourth"
        fields = ["country", "isp"]
        leads = ["CN", "HK"]
        weight = 2
        family = "x"
        language = "en"
        [blend]
        policy = "vote"
        language = "en"
        hk_mo_tw = "regions"
        [codes]
        countries = "a"
        provinces = "/b"
        cities = "c"
        only_lists = true
        [build]
        memory_limit_mb = 10
        time_limit = 20
        unpacked_limit_mb = 30
        [http]
        request_line_bytes = 1
        header_bytes = 2
        header_count = 3
        body_bytes = 4
        header_seconds = 5
        body_seconds = 6
        idle_seconds = 7
        requests_per_connection = 8
        connections = 9
        exchanges = 11
        drain_seconds = 10
        [api]
        max_age = 0
        cors = ["https://a", "*"]
        batch_addresses = 12
        [cache]
        redis = "rediss://h"
        scope = "all"
        found_seconds = 1
        unknown_seconds = 2
        deadline_ms = 3
        connections = 4
        commands = 5
        entries = 6
        [[fallback]]
        url = "http://a/{ip}"
        [[fallback]]
        url = "http://b/{ip}"
        headers = { A = "b", C = "d" }
        fields = { org = "x" }
        deadline_ms = 1
        concurrent = 2
        response_bytes = 3
        """,
    )
    assert config == Config(
        binds=(
            Bind("0.0.0.0", 80),
            Bind("::", 80),
            Bind(path="/run/s"),
            Bind("::", 443, tls=True),
        ),
        databases=(
            Source(tmp_path / "some.dat"),
            Source(Path("/other.dat"), "ipip-dat", "other", ("country", "", "isp"), "CC0", "us"),
            Source(tmp_path / "third", "xdb", language="zh"),
            Source(
                tmp_path / "v4.csv",
                columns=("first", "last", "city"),
                others=(Path("/v6.csv.gz"),),
            ),
            Source(
                tmp_path / "fourth",
                fields=("country", "isp"),
                leads=("CN", "HK"),
                weight=2.0,
                family="x",
                language="en",
            ),
        ),
        workers=3,
        cache_dir=tmp_path / "cache",
        codes=ListPaths(tmp_path / "a", Path("/b"), tmp_path / "c", only=True),
        build_limits=Limits(10 << 20, 20, 30 << 20),
        blend=Policy("vote", "en", "regions"),
        settings=Settings(
            http=HttpLimits(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10),
            express=False,
            page=False,
            client=ClientSettings(("10.0.0.0/8", "unix"), "forwarded"),
            api=ApiSettings(0, ("https://a", "*"), 12),
            access_log=AccessLogSettings("/log", "json", 100),
            proxy=("10.0.0.0/8", "2001:db8::1", "unix"),
            cache=CacheSettings("rediss://h", "all", 1, 2, 3, 4, 5, 6),
            fallback=(
                FallbackSettings("http://a/{ip}"),
                FallbackSettings(
                    "http://b/{ip}", (("A", "b"), ("C", "d")), (("org", "x"),), 1, 2, 3
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("access_log = '/var/log/a'", "/var/log/a"),
        ("access_log = 'a'", "{folder}/a"),
        ("[access_log]\npath = 'a'", "{folder}/a"),
        ("[access_log]\npath = '-'", "-"),
        ("access_log = '-'", "-"),
    ],
)
def test_the_access_log_is_a_table_or_its_path_alone(tmp_path: Path, text: str, path: str) -> None:
    settings = AccessLogSettings(path.format(folder=tmp_path))
    assert _load(tmp_path, text).settings.access_log == settings


def _complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/ipquery.toml: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bind", "not valid TOML: "),
        ("binds = []", "unknown key binds; did you mean bind?"),
        ("[http]\nbody_byte = 1", "unknown key http.body_byte; did you mean http.body_bytes?"),
        ("[https]", "unknown key https; did you mean http?"),
        ("[codes]\ncitys = 'x'", "unknown key codes.citys; did you mean codes.cities?"),
        ("[[database]]\nfile = 'x'", "unknown key database.file; "),
        ("zzz = 1", "unknown key zzz; keys: bind, workers"),
        ("bind = '127.0.0.1:80'", "bind must be a list"),
        ("bind = [80]", "bind must be a list of texts"),
        ("bind = ['80']", "80: not an address to listen on"),
        ("bind = ['tls:80']", "80: not an address to listen on"),
        ("proxy = '10.0.0.0/8'", "proxy must be a list"),
        ("proxy = ['10.0.0.1/8']", "proxy: 10.0.0.1/8: not an address, a network such as"),
        ("[tls]", "tls needs a `certificates`"),
        ("[tls]\ncertificates = []", "[tls] needs a certificate"),
        ("[tls]\ncertificates = [{ chain = 'x', key = 'x' }]", "x: can't read this chain: No such"),
        ("[tls]\ncertificates = [{ chain = 'ipquery.toml' }]", "tls.certificates needs a `key`"),
        (
            "[tls]\ncertificates = [{ chain = 'ipquery.toml', key = 'ipquery.toml' }]",
            "ipquery.toml: no certificate in PEM",
        ),
        (
            "[tls]\ncertificates = []\nclient_certificates = 'always'",
            "tls.client_certificates must be one of none, optional, required",
        ),
        ("workers = 0", "0: not a number of workers; give 1 or more, or auto"),
        ("workers = 'many'", "many: not a number of workers; give 1 or more, or auto"),
        ("workers = true", 'workers must be a whole number or "auto"'),
        ("workers = 1.5", 'workers must be a whole number or "auto"'),
        ("express = 1", "express must be true or false"),
        ("cache_dir = 1", "cache_dir must be a text"),
        ("[http]\nbody_bytes = 0", "http.body_bytes must be more than 0"),
        ("[http]\nbody_bytes = '1'", "http.body_bytes must be a whole number"),
        ("[http]\nbody_bytes = true", "http.body_bytes must be a whole number"),
        ("[http]\nbody_bytes = 1.5", "http.body_bytes must be a whole number"),
        ("[build]\ntime_limit = -1", "build.time_limit must be more than 0"),
        ("[codes]\nonly_lists = 1", "codes.only_lists must be true or false"),
        ("[blend]\npolicy = 'most'", "blend.policy must be one of first, fill, vote"),
        ("[blend]\nlanguage = 'de'", "blend.language must be one of zh, en"),
        ("[blend]\nhk_mo_tw = 'both'", "blend.hk_mo_tw must be one of regions, provinces"),
        ("[blend]\npolicy = 1", "blend.policy must be a text"),
        ("[[database]]\npath = 'x'\nfields = ['land']", "unknown field land; fields: country, "),
        ("[[database]]\npath = 'x'\nleads = ['China']", "database.leads: China is no country"),
        ("[[database]]\npath = 'x'\nleads = 'CN'", "database.leads must be a list"),
        ("[[database]]\npath = 'x'\nweight = 'a'", "database.weight must be a number"),
        ("[[database]]\npath = 'x'\nweight = nan", "database.weight must be from 0.001 to 1000"),
        ("[[database]]\npath = 'x'\nweight = 0", "database.weight must be from 0.001 to 1000"),
        ("[[database]]\npath = 'x'\nlanguage = 'Chinese'", "database.language: Chinese is no "),
        ("[cache]\nredis = 'http://x'", "http://x: not an address of Redis; give redis://"),
        ("[cache]\nredis = 'redis://:secret@'", "redis://...@: not an address of Redis"),
        ("[cache]\nredis = 'redis://h:x'", "redis://h:x: not an address of Redis"),
        ("[cache]\nredis = 'redis://h/x'", "not an address of Redis"),
        ("[cache]\nredis = 'redis+sentinel://h'", "not an address of Redis"),
        ("[cache]\nredis = 'unix:'", "not an address of Redis"),
        ("[cache]\nredis = 'unix:r?db=x&password=hid'", "unix:r?db=x&password=...: not an"),
        ("[cache]\nredis = 'redis://:${NOT_SET}@h'", "redis: NOT_SET isn't set in the environment"),
        ("[cache]\nredis = '${file:/missing}'", "redis: can't read /missing: No such file"),
        ("[cache]\nscope = 'some'", "cache.scope must be one of fallback, all"),
        ("[api]\nmax_age = -1", "api.max_age must be 0 or more"),
        ("[api]\nmax_age = true", "api.max_age must be a whole number"),
        ("[api]\ncors = ['a.example']", "api.cors: a.example is no origin; give ["),
        ("[api]\ncors = ['https://a.example/']", "api.cors: https://a.example/ is no origin"),
        ("[cache]\nentries = 0", "cache.entries must be more than 0"),
        ("[cache]\nca_file = '/missing'", "/missing: can't read this ca_file: No such file"),
        ("[client]\ntrusted_proxies = '::1'", "client.trusted_proxies must be a list"),
        ("[client]\ntrusted_proxies = ['a']", "client.trusted_proxies: a: not an address, a"),
        ("[client]\ntrusted_proxies = ['10.0.0.1/8']", "10.0.0.1/8 has host bits set"),
        ("[client]\nforwarded = 'both'", "forwarded must be one of x-forwarded-for, forwarded"),
        ("access_log = 1", "access_log must be a table"),
        ("[access_log]\nformat = 'json'", "access_log needs a `path`"),
        ("[access_log]\npath = 1", "access_log.path must be a text"),
        ("[access_log]\npath = 'a'\nsample = 0", "access_log.sample must be more than 0"),
        ("[access_log]\npath = 'a'\nformat = 'xml'", "format must be one of combined, json"),
        ("[[fallback]]\nfields = {}", "fallback needs a `url`"),
        ("[[fallback]]\nurl = 'http://a/{ip}'\nheaders = {A = '${NOT_SET}'}", "NOT_SET isn't"),
        ("[[fallback]]\nurl = 'ftp://a/{ip}'", "ftp://a/{ip}: not an http:// or https:// URL"),
        ("[[fallback]]\nurl = 'http://a/'", "http://a/: write {ip} where the address goes"),
        ("[[fallback]]\nurl = 'http://{ip}/'", "write {ip} where the address goes"),
        (
            "[[fallback]]\nurl = 'http://u:p@a/{ip}'",
            "http://a: name and password belong into headers",
        ),
        (
            "[[fallback]]\nurl = 'http://a/{ip}'\nheaders = {'a b' = 'c'}",
            "can't be sent as a header",
        ),
        (
            '[[fallback]]\nurl = "http://a/{ip}"\nheaders = {a = "b\\n"}',
            "can't be sent as a header",
        ),
        (
            "[[fallback]]\nurl = 'http://a/{ip}'\nheaders = {a = 1}",
            "headers must be a table of texts",
        ),
        (
            "[[fallback]]\nurl = 'http://a/{ip}'\nfields = {town = 'b'}",
            "unknown field town; fields: ",
        ),
        ("[[fallback]]\nuri = 'x'", "unknown key fallback.uri; did you mean fallback.url?"),
        ("http = 1", "http must be a table"),
        ("database = 1", "database must be a list"),
        ("database = [1]", "database must be a table"),
        ("[[database]]\nformat = 'xdb'", "a [[database]] needs a `path`"),
        ("[[database]]\npath = []", "a [[database]] needs a `path`"),
        ("[[database]]\npath = [1]", "database.path must be a list of texts"),
        ("[[database]]\npath = 1", "database.path must be a text"),
        ("[[database]]\npath = 'a'\nlanguage = 1", "database.language must be a text"),
        ("[[database]]\npath = 'a'\nformat = 'zip'", "unknown format zip; formats: ipip-dat"),
        ("[[database]]\npath = 'zip:a'", "unknown format zip; formats: ipip-dat"),
        ("[[database]]\npath = 'a'\ncolumns = ['town']", "unknown column town; columns: country"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in _complaint(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read this configuration: No such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="can't read this configuration: Is a directory"):
        load(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "x")


@pytest.mark.parametrize("kind", [Settings, *SETTINGS.values()])
def test_every_setting_is_documented_where_it_is_defined(kind: type[attrs.AttrsInstance]) -> None:
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    documented = [
        field.target.id
        for field, text in itertools.pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
    ]
    assert documented == list(keys_of(kind))


def _texts(path: Path) -> Iterator[str]:
    """Every text in a module that isn't a docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    lone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in lone:
            yield node.value


def test_the_default_database_has_settings_of_its_own(tmp_path: Path) -> None:
    config = _load(tmp_path, "[[database]]\npath = 'default'\n[[database]]\npath = 'x.dat'\n")
    assert config.databases == (ip2region_source(), Source(tmp_path / "x.dat"))
    complaint = _complaint(tmp_path, "[[database]]\npath = 'default'\nweight = 2.0\n")
    assert 'database.weight can\'t be set with path = "default"' in complaint


def test_every_key_that_a_message_names_is_there(tmp_path: Path) -> None:
    text = re.sub(r"^# (\w+ = |\[)", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    tables: dict[str, Any] = tomllib.loads(text)
    inner = [
        one for table in tables.values() for one in (table if type(table) is list else [table])
    ]
    keys = {*tables, *(key for table in inner if isinstance(table, dict) for key in table)}
    named = set()
    for path in (EXAMPLE.parents[1] / "ipquery").rglob("*.py"):
        for said in _texts(path):
            named |= set(re.findall(r"(?<!`)`([a-z]+(?:_[a-z]+)*)`(?!`)", said))
            for key, table in re.findall(r"`(\w+)` under \[(\w+)\]", said):
                assert key in tables[table], said
    assert {"time_limit", "cache_dir"} <= named
    # What may stand in `columns` beside the fields isn't a key.
    assert named <= {*keys, *RANGE_COLUMNS}


def test_clients_certificates_need_somebody_to_trust(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    text = (
        f"[tls]\ncertificates = [{{ chain = '{certificate.name}', key = '{key.name}' }}]\n"
        "client_certificates = 'required'\n"
    )
    assert "tls.client_certificates needs a `client_ca`" in _complaint(tmp_path, text)
    config = _load(tmp_path, f"{text}client_ca = '{certificate.name}'")
    assert config.tls
    assert config.tls.client_ca == certificate.read_text()
