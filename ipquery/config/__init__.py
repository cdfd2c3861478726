"""What the operator sets, from ``ipquery.toml`` and flags."""

from ipquery.config.model import NODE, Config, Update, parse_workers
from ipquery.config.secrets import expand
from ipquery.config.toml import keys_path, load
from ipquery.errors import ConfigError

__all__ = [
    "NODE",
    "Config",
    "ConfigError",
    "Update",
    "expand",
    "keys_path",
    "load",
    "parse_workers",
]
