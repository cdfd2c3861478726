"""Reads ``ipquery.toml``. Every key is explained in ``conf/ipquery.toml``."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ipquery.config.model import Config, parse_workers
from ipquery.config.secrets import expand
from ipquery.data.blend.policy import FORMS, LANGUAGES, METHODS, Policy
from ipquery.data.build import Limits, ListPaths
from ipquery.data.record import FIELDS, DataError
from ipquery.data.sources import (
    DEFAULT,
    FORMAT_NAMES,
    RANGE_COLUMNS,
    Source,
    default_sources,
    parse_sources,
    source_of,
)
from ipquery.errors import ConfigError
from ipquery.net.sockets import BindError, parse_bind
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings, UpstreamError


def load(path: Path) -> Config:
    """Read a configuration file.

    Relative paths in it are relative to its folder.

    :raises ConfigError: it can't be read, isn't TOML, or has an unknown key or
        a value of the wrong kind.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't read this configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        return _config(tables, path.parent)
    except (ConfigError, BindError, DataError, UpstreamError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _config(tables: Mapping[str, Any], folder: Path) -> Config:
    top = _Table(
        "",
        tables,
        (
            "bind",
            "workers",
            "express",
            "cache_dir",
            "access_log",
            "database",
            "blend",
            "codes",
            "build",
            "http",
            "cache",
            "fallback",
        ),
    )
    codes = top.table("codes", ("countries", "provinces", "cities", "only_lists"))
    build = top.table("build", ("memory_limit_mb", "time_limit", "unpacked_limit_mb"))
    http = top.table("http", [field.name for field in attrs.fields(HttpLimits)])
    defaults = Config()
    binds = tuple(parse_bind(text) for text in top.texts("bind"))
    limits = {name: http.number(name) for name in http.given}
    return Config(
        binds=binds or defaults.binds,
        databases=tuple(
            source for table in top.tables("database") for source in _databases(table, folder)
        ),
        workers=_workers(tables.get("workers", "auto")),
        express=top.get("express", bool, defaults.express),
        cache_dir=top.path("cache_dir", folder) or defaults.cache_dir,
        access_log=top.path("access_log", folder),
        lists=ListPaths(
            countries=codes.path("countries", folder),
            provinces=codes.path("provinces", folder),
            cities=codes.path("cities", folder),
            only=codes.get("only_lists", bool, False),
        ),
        build=Limits(
            memory=build.number("memory_limit_mb", defaults.build.memory >> 20) << 20,
            seconds=build.number("time_limit", defaults.build.seconds),
            unpacked=build.number("unpacked_limit_mb", defaults.build.unpacked >> 20) << 20,
        ),
        blend=_policy(top.table("blend", ("policy", "language", "hk_mo_tw"))),
        http=HttpLimits(**limits),
        cache=_cache(tables.get("cache", {}), folder),
        fallback=tuple(_fallback(table, folder) for table in top.tables("fallback")),
    )


def _policy(table: "_Table") -> Policy:
    return Policy(
        table.choice("policy", METHODS) or Policy().method,
        table.choice("language", LANGUAGES),
        table.choice("hk_mo_tw", FORMS),
    )


def _cache(given: object, folder: Path) -> CacheSettings:
    table = _Table("cache", given, [field.name for field in attrs.fields(CacheSettings)])
    numbers: dict[str, Any] = {
        name: table.number(name) for name in table.given if name not in _CACHE_TEXTS
    }
    redis = table.get("redis", str, None)
    return CacheSettings(
        redis=None if redis is None else expand(redis, "cache.redis"),
        scope=table.get("scope", str, CacheSettings().scope),
        ca_file=_path_text(table, folder),
        **numbers,
    )


_CACHE_TEXTS = ("redis", "scope", "ca_file")


def _fallback(given: object, folder: Path) -> FallbackSettings:
    table = _Table("fallback", given, [field.name for field in attrs.fields(FallbackSettings)])
    url = table.get("url", str, "")
    if not url:
        raise ConfigError("a [[fallback]] needs a `url`")
    numbers = ("deadline_ms", "concurrent", "response_bytes")
    return FallbackSettings(
        url,
        headers=[(name, expand(text, url)) for name, text in table.pairs("headers")],
        fields=table.pairs("fields"),
        ca_file=_path_text(table, folder),
        **{name: table.number(name) for name in numbers if name in table.given},
    )


def _path_text(table: "_Table", folder: Path) -> str | None:
    """A file that is only opened later, by who may lack the rights now: better said here."""
    path = table.path("ca_file", folder)
    if path is None:
        return None
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{path}: can't read this ca_file: {error.strerror}") from None
    return str(path)


def _workers(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ConfigError('workers must be a whole number or "auto"')
    return parse_workers(str(given))


_DATABASE_KEYS = (
    "path",
    "format",
    "name",
    "columns",
    "licence",
    "attribution",
    "fields",
    "leads",
    "weight",
    "family",
    "language",
)
_ALPHA_2 = re.compile("[A-Z]{2}")
_ISO_639 = re.compile("[a-z]{2}")
_MAX_WEIGHT = 1000


def _databases(given: object, folder: Path) -> list[Source]:
    """The sources of a [[database]]: one, or those that ``default`` is."""
    table = _Table("database", given, _DATABASE_KEYS)
    if table.given.get("path") != DEFAULT:
        return [_database(table, folder)]
    for key in table.given:
        if key != "path":
            raise ConfigError(
                f'database.{key} can\'t be set with path = "{DEFAULT}", which is several '
                "databases; name one by its path, or by the recipe that fetched it"
            )
    return default_sources()


def _database(table: "_Table", folder: Path) -> Source:
    if isinstance(table.given.get("path"), list):
        paths = [folder / path for path in table.texts("path")]
        source = source_of(paths) if paths else None
    else:
        text = table.get("path", str, "")
        source = parse_sources([text], folder)[0] if text else None
    if source is None:
        raise ConfigError("a [[database]] needs a `path`")
    format_name = table.get("format", str, source.format)
    if format_name not in (None, *FORMAT_NAMES):
        raise ConfigError(f"unknown format {format_name}; formats: {', '.join(FORMAT_NAMES)}")
    columns = table.texts("columns")
    unknown = sorted({*columns} - {*FIELDS, *RANGE_COLUMNS, ""})
    if unknown:
        known = ", ".join((*FIELDS, *RANGE_COLUMNS))
        raise ConfigError(f'unknown column {unknown[0]}; columns: {known}, or ""')
    return attrs.evolve(
        source,
        format=format_name,
        name=table.get("name", str, source.name),
        columns=tuple(columns) or None,
        licence=table.get("licence", str, source.licence),
        attribution=table.get("attribution", str, source.attribution),
        fields=_fields(table),
        leads=_leads(table, source),
        weight=_weight(table, source),
        family=table.get("family", str, source.family) or None,
        language=_language(table, source),
    )


def _fields(table: "_Table") -> tuple[str, ...] | None:
    fields = table.texts("fields")
    for field in fields:
        if field not in FIELDS:
            raise ConfigError(f"unknown field {field}; fields: {', '.join(FIELDS)}")
    return tuple(fields) or None


def _leads(table: "_Table", source: Source) -> tuple[str, ...]:
    if "leads" not in table.given:
        return source.leads
    codes = table.texts("leads")
    for code in codes:
        if not _ALPHA_2.fullmatch(code):
            raise ConfigError(
                f'database.leads: {code} is no country; give ISO 3166-1 codes, as in ["CN", "HK"]'
            )
    return tuple(codes)


def _weight(table: "_Table", source: Source) -> float:
    weight = table.given.get("weight", source.weight)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigError("database.weight must be a number")
    # What isn't a number (nan) is in no interval.
    if not 0.001 <= weight <= _MAX_WEIGHT:
        raise ConfigError(f"database.weight must be from 0.001 to {_MAX_WEIGHT}")
    return float(weight)


def _language(table: "_Table", source: Source) -> str | None:
    language: str | None = table.get("language", str, source.language)
    if language is not None and not _ISO_639.fullmatch(language):
        raise ConfigError(f"database.language: {language} is no ISO 639-1 code, as zh or en are")
    return language


_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "a table",
}


class _Table:
    """One table of the file, whose keys are known."""

    def __init__(self, name: str, given: object, keys: Sequence[str]) -> None:
        self._prefix = f"{name}." if name else ""
        if not isinstance(given, dict):
            raise ConfigError(f"{name} must be a table")
        for key in given:
            if key not in keys:
                raise ConfigError(_unknown_key(self._prefix, key, keys))
        self.given: Mapping[str, Any] = given

    def get(self, key: str, kind: type, default: Any) -> Any:
        value = self.given.get(key, default)
        # bool is a kind of int, but `workers = true` is a mistake
        if value is not default and type(value) is not kind:
            raise ConfigError(f"{self._prefix}{key} must be {_KINDS[kind]}")
        return value

    def number(self, key: str, default: int = 0) -> int:
        value: int = self.get(key, int, default)
        if value <= 0:
            raise ConfigError(f"{self._prefix}{key} must be more than 0")
        return value

    def choice(self, key: str, values: Sequence[str]) -> str | None:
        """One of some texts, or ``None`` if it isn't given."""
        value: str | None = self.get(key, str, None)
        if value is not None and value not in values:
            raise ConfigError(f"{self._prefix}{key} must be one of {', '.join(values)}")
        return value

    def texts(self, key: str) -> list[str]:
        values: list[str] = self.get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise ConfigError(f"{self._prefix}{key} must be a list of texts")
        return values

    def pairs(self, key: str) -> list[tuple[str, str]]:
        values: dict[str, Any] = self.get(key, dict, {})
        if not all(isinstance(value, str) for value in values.values()):
            raise ConfigError(f"{self._prefix}{key} must be a table of texts")
        return list(values.items())

    def path(self, key: str, folder: Path) -> Path | None:
        text = self.get(key, str, None)
        return None if text is None else folder / text

    def table(self, key: str, keys: Sequence[str]) -> "_Table":
        return _Table(key, self.given.get(key, {}), keys)

    def tables(self, key: str) -> list[Any]:
        tables: list[Any] = self.get(key, list, [])
        return tables


def _unknown_key(prefix: str, key: str, keys: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, keys, 1)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"keys: {', '.join(keys)}"
    return f"unknown key {prefix}{key}; {hint}"
