"""The configuration file: what every key does."""

from pathlib import Path

import pytest

from ipquery.config import Config, Update
from ipquery.data.blend.policy import Policy
from ipquery.data.build import Elsewhere, Limits, ListPaths
from ipquery.data.sources import Source, ip2region_source
from ipquery.data.update.guard import Expectation, MaxChange
from ipquery.net.sockets import Bind
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.guard.keys import to_text
from ipquery.serve.guard.settings import GuardSettings, LimitSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings, ClientSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings
from ipquery.serve.settings import Settings
from tests.certificates import self_signed
from tests.config.files import complaint_about, read


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Config()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(to_text([]))
    config = read(
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
        [guard]
        allow = ["10.0.0.0/8", "unix"]
        keys = "keys.json"
        [guard.limit]
        requests_per_second = 1
        burst = 2
        ipv4_prefix = 3
        ipv6_prefix = 4
        clients = 5
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
        [max_change]
        country = 1
        coverage = 2.5
        province = 0
        city = 100
        [[expect]]
        ip = "2001:db8::1"
        country_code = "CN"
        asn = 4134
        [[expect]]
        ip = "1.2.3.4"
        city = "x"
        [[update]]
        recipe = "dbip-city-2026"
        every = "90s"
        jitter = "0s"
        [[update]]
        recipe = "node"
        jitter = "3m"
        [[update]]
        recipe = "pypi:some:file.mmdb"
        every = "2w"
        [codes]
        countries = "a"
        provinces = "/b"
        cities = "c"
        only_lists = true
        [build]
        memory_limit_mb = 10
        time_limit = 20
        unpacked_limit_mb = 30
        snapshot_from = "http://[::1]:80/"
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
        snapshot = true
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
        max_change=MaxChange(1, 2.5, 0, 100),
        expect=(
            Expectation("2001:db8::1", (("country_code", "CN"), ("asn", 4134))),
            Expectation("1.2.3.4", (("city", "x"),)),
        ),
        updates=(
            Update("dbip-city-2026", 90, 0),
            Update("node", 86400, 180),
            Update("pypi:some:file.mmdb", 14 * 86400, 7200),
        ),
        workers=3,
        cache_dir=tmp_path / "cache",
        codes=ListPaths(tmp_path / "a", Path("/b"), tmp_path / "c", only=True),
        build_limits=Limits(10 << 20, 20, 30 << 20),
        elsewhere=Elsewhere("http://[::1]:80/"),
        blend=Policy("vote", "en", "regions"),
        settings=Settings(
            http=HttpLimits(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10),
            express=False,
            page=False,
            client=ClientSettings(("10.0.0.0/8", "unix"), "forwarded"),
            guard=GuardSettings(
                ("10.0.0.0/8", "unix"), to_text([]), (), LimitSettings(1, 2, 3, 4, 5)
            ),
            api=ApiSettings(0, ("https://a", "*"), 12, True),
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


def test_databases_are_the_same_as_long_as_they_are_named_alike(tmp_path: Path) -> None:
    text = "[[database]]\npath = 'default'\n[[database]]\npath = 'x.dat'\nweight = 2\n"
    config = read(tmp_path, text)
    assert config.line == read(tmp_path, f"workers = 2\n{text}").line
    for old, new in (("x.dat", "y.dat"), ("= 2", "= 3"), ("weight = 2", "")):
        assert config.line != read(tmp_path, text.replace(old, new)).line


@pytest.mark.parametrize(
    ("bounds", "expect", "guarded"),
    [
        ("", "", False),
        ("[max_change]\n", "", True),
        ("[max_change]\ncountry = 1\n", "", True),
        ("", "[[expect]]\nip = '::1'\ncity = 'x'\n", True),
        ("", "[[update]]\nrecipe = 'asn-2026'\n", True),
    ],
)
def test_reloads_are_guarded_where_something_is_set(
    tmp_path: Path, bounds: str, expect: str, guarded: bool
) -> None:
    assert (read(tmp_path, bounds + expect).guard is not None) == guarded


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
    assert read(tmp_path, text).settings.access_log == settings


def test_the_default_database_has_settings_of_its_own(tmp_path: Path) -> None:
    config = read(tmp_path, "[[database]]\npath = 'default'\n[[database]]\npath = 'x.dat'\n")
    assert config.databases == (ip2region_source(), Source(tmp_path / "x.dat"))
    complaint = complaint_about(tmp_path, "[[database]]\npath = 'default'\nweight = 2.0\n")
    assert 'database.weight can\'t be set with path = "default"' in complaint


def test_clients_certificates_need_somebody_to_trust(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    text = (
        f"[tls]\ncertificates = [{{ chain = '{certificate.name}', key = '{key.name}' }}]\n"
        "client_certificates = 'required'\n"
    )
    assert "tls.client_certificates needs a `client_ca`" in complaint_about(tmp_path, text)
    config = read(tmp_path, f"{text}client_ca = '{certificate.name}'")
    assert config.tls
    assert config.tls.client_ca == certificate.read_text()
