"""What the operator sets, from ``ipquery.toml`` and flags."""

from ipquery.config.model import Config, parse_workers
from ipquery.config.secrets import expand
from ipquery.config.toml import load
from ipquery.errors import ConfigError

__all__ = ["Config", "ConfigError", "expand", "load", "parse_workers"]
