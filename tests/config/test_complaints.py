"""The configuration file: every way to get it wrong is said in one line."""

from pathlib import Path

import pytest

from ipquery.config import ConfigError, load
from tests.config.files import complaint_about


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
        ("[guard]\nallow = ['10.0.0.1/8']", "guard.allow: 10.0.0.1/8: not an address, a network"),
        ("[guard]\ndeny = []", "unknown key guard.deny; keys: allow, keys, subjects, limit"),
        ("[guard]\nsubjects = ['billing']", "guard.subjects: billing: not a subject as RFC 4514"),
        ("[guard]\nsubjects = ['CN=x']", "guard.subjects needs clients to show certificates"),
        ("[guard.limit]", "guard.limit needs a `requests_per_second`"),
        ("[guard.limit]\nrate = 1", "unknown key guard.limit.rate; "),
        (
            "[guard.limit]\nrequests_per_second = 1\nipv4_prefix = 33",
            "guard.limit.ipv4_prefix must be from 1 to 32",
        ),
        ("[guard]\nkeys = 'x'", "x: can't read these API keys: No such file"),
        ("[guard]\nkeys = 'ipquery.toml'", "ipquery.toml: no file of API keys as ipquery key"),
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
        ("[cache]\nca_file = 'ipquery.toml'", "ipquery.toml: no certificates in PEM"),
        (
            "[[fallback]]\nurl = 'https://a/{ip}'\nca_file = 'ipquery.toml'",
            "ipquery.toml: no certificates in PEM",
        ),
        ("[client]\ntrusted_proxies = '::1'", "client.trusted_proxies must be a list"),
        ("[client]\ntrusted_proxies = ['a']", "client.trusted_proxies: a: not an address, a"),
        ("[client]\ntrusted_proxies = ['10.0.0.1/8']", "10.0.0.1/8 has host bits set"),
        ("[client]\nforwarded = 'both'", "forwarded must be one of x-forwarded-for, forwarded"),
        ("access_log = 1", "access_log must be a table"),
        ("[access_log]\nformat = 'json'", "access_log needs a `path`"),
        ("[access_log]\npath = 1", "access_log.path must be a text"),
        ("[access_log]\npath = 'a'\nsample = 0", "access_log.sample must be more than 0"),
        (
            "[access_log]\npath = 'a'\nformat = 'xml'",
            "format must be one of combined, combined_with_ids, json",
        ),
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
        ("[[update]]\nevery = '1d'", "update.recipe: : no such recipe; give a name from"),
        ("[[update]]\nrecipe = 'x'", "update.recipe: x: no such recipe; give a name from"),
        ("[[update]]\nrecipe = 'npm:a'", "update.recipe: npm:a: not a file in a package"),
        ("[[update]]\nrecipe = 1", "update.recipe must be a text"),
        ("[[update]]\nrecipe = 'asn-2026'\nevery = 1", "update.every must be a text"),
        ("[[update]]\nrecipe = 'asn-2026'\nevery = '1 d'", "update.every: 1 d is no duration"),
        ("[[update]]\nrecipe = 'asn-2026'\nevery = '59s'", "update.every must be 1m or more"),
        ("[[update]]\nrecipe = 'asn-2026'\njitter = '-1h'", "update.jitter: -1h is no duration"),
        ("[[update]]\nrecipe = 'asn-2026'\n" * 2, "update.recipe: asn-2026 is named twice"),
        ("[[update]]\nrecipes = 'a'", "unknown key update.recipes; did you mean update.recipe?"),
        ("[max_change]\ncountries = 5", "unknown key max_change.countries; did you mean"),
        ("[max_change]\ncountry = '5'", "max_change.country must be a number"),
        ("[max_change]\ncountry = true", "max_change.country must be a number"),
        ("[max_change]\ncity = -1", "max_change.city must be from 0 to 100"),
        ("[max_change]\ncoverage = nan", "max_change.coverage must be from 0 to 100"),
        ("[[expect]]\ncountry = 'x'", "an [[expect]] needs an `ip`: not an IP address: ''"),
        ("[[expect]]\nip = '1.2.3'\ncountry = 'x'", "not an IP address: '1.2.3'"),
        ("[[expect]]\nip = '1.2.3.4'", "[[expect]] 1.2.3.4: say what is expected"),
        ("[[expect]]\nip = '1.2.3.4'\ntown = 'x'", "unknown key expect.town"),
        ("[[expect]]\nip = '1.2.3.4'\ncity = 1", "expect.city must be a text"),
        ("[[expect]]\nip = '1.2.3.4'\nasn = 'AS1'", "expect.asn must be a number"),
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
    assert complaint in complaint_about(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read this configuration: No such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="can't read this configuration: Is a directory"):
        load(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "x")
