"""Every key is documented, and every key that is named is there."""

import ast
import inspect
import itertools
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ipquery.config import Config, Update, load
from ipquery.config.table import keys_of
from ipquery.data.blend.policy import Policy
from ipquery.data.build import Elsewhere, Limits
from ipquery.data.sources import RANGE_COLUMNS, ip2region_source
from ipquery.data.update.guard import Expectation, MaxChange
from ipquery.net.tls import TlsSettings, read_certificate
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.guard.keys import to_text
from ipquery.serve.guard.settings import GuardSettings, LimitSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings
from ipquery.serve.settings import Settings
from tests.certificates import self_signed
from tests.config.files import EXAMPLE, SETTINGS, complaint_about, read


def test_the_example_says_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(EXAMPLE)
    assert config == Config(databases=(ip2region_source(),))


def test_the_example_explains_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every commented-out key switched on, it is still valid, and nothing is missing."""
    monkeypatch.setenv("GEO_TOKEN", "secret")
    certificate, key = self_signed(tmp_path, "localhost")
    shutil.copy(certificate, tmp_path / "ca.pem")
    text = re.sub(r"^# (\w+ = |\[)", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    text = text.replace("/etc/ipquery/ca.pem", "ca.pem")
    text = text.replace("/etc/ipquery/nodes.pem", "ca.pem")
    text = text.replace("/etc/ipquery/fullchain.pem", certificate.name)
    text = text.replace("/etc/ipquery/privkey.pem", key.name)
    text = text.replace("/etc/ipquery/clients.pem", certificate.name)
    text = text.replace("/etc/ipquery/keys.json", "keys.json")
    (tmp_path / "keys.json").write_text(to_text([]))
    # Clients without certificates can't be told by them.
    text = text.replace('client_certificates = "none"', 'client_certificates = "required"')
    config = read(tmp_path, text)
    assert config.cache_dir == Path("/var/cache/ipquery")
    assert config.settings.access_log == AccessLogSettings("/var/log/ipquery/access.log")
    assert config.codes.countries == tmp_path / "countries.txt"
    assert config.databases[-1].columns == ("country", "", "province", "city", "isp")
    assert config.databases[-1].leads == ("CN",)
    assert config.blend == Policy("fill", "zh", "provinces")
    assert config.max_change == MaxChange(province=20, city=30)
    assert config.expect == (Expectation("114.114.114.114", (("country_code", "CN"),)),)
    assert config.build_limits == Limits()
    assert config.elsewhere == Elsewhere("https://10.0.0.11:9443", tmp_path / "ca.pem")
    assert config.settings.http == HttpLimits()
    assert config.settings.guard == GuardSettings(
        keys=to_text([]), subjects=("CN=billing,O=Example",), limit=LimitSettings(50)
    )
    assert config.settings.api == ApiSettings(cors=("https://app.example.com",))
    assert config.settings.cache == CacheSettings(
        redis="redis://127.0.0.1:6379", ca_file=tmp_path / "ca.pem"
    )
    assert config.settings.proxy == ("10.0.0.0/8",)
    assert config.tls == TlsSettings(
        (read_certificate(certificate, key),), "required", certificate.read_text()
    )
    (source,) = config.settings.fallback
    assert source.headers == (("Authorization", "Bearer secret"),)
    assert {name for name, _ in source.fields} == {"country", "country_code", "province"}
    assert attrs.evolve(source, headers=(), fields=()) == FallbackSettings(
        source.url, ca_file=tmp_path / "ca.pem"
    )
    unknown = complaint_about(tmp_path, "x = 1")
    tables = tomllib.loads(text)
    assert set(unknown.split("keys: ")[1].split(", ")) == set(tables)
    for name, kind in SETTINGS.items():
        one = tables[name]
        assert set(one[-1] if isinstance(one, list) else one) == set(keys_of(kind)), name
    assert config.updates == (Update("npm:@ip-location-db/asn:asn-ipv4.csv"),)
    assert set(tables["update"][0]) == set(keys_of(Update))
    assert set(tables["max_change"]) == set(keys_of(MaxChange))
    assert set(tables["guard"]["limit"]) == set(keys_of(LimitSettings))


@pytest.mark.parametrize("kind", [Settings, *SETTINGS.values(), LimitSettings])
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
