"""Reading configuration files with a text of the test's."""

from pathlib import Path

import attrs
import pytest

from ipquery.config import Config, ConfigError, load
from ipquery.net.tls import TlsFiles
from ipquery.serve.api.settings import ApiSettings
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.settings import AccessLogSettings, ClientSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings

SETTINGS: dict[str, type[attrs.AttrsInstance]] = {
    "http": HttpLimits,
    "client": ClientSettings,
    "guard": GuardSettings,
    "api": ApiSettings,
    "access_log": AccessLogSettings,
    "cache": CacheSettings,
    "fallback": FallbackSettings,
    "tls": TlsFiles,
}
EXAMPLE = Path(__file__).parents[2] / "conf/ipquery.toml"


def read(tmp_path: Path, text: str) -> Config:
    """Read a file with this text."""
    path = tmp_path / "ipquery.toml"
    path.write_text(text, "utf-8")
    return load(path)


def complaint_about(tmp_path: Path, text: str) -> str:
    """The message by which a file with this text is refused."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/ipquery.toml: ")
    assert "\n" not in message
    return message
