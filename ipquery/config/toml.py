"""Reads ``ipquery.toml``. Every key is explained in ``conf/ipquery.toml``."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from ipquery.address import parse
from ipquery.config.model import LOG_FORMATS, LOG_LEVELS, NODE, Config, Update, parse_workers
from ipquery.config.table import Table, keys_of
from ipquery.data.blend.policy import FORMS, LANGUAGES, METHODS, Policy
from ipquery.data.build import Elsewhere, Limits, ListPaths
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
from ipquery.data.update.guard import Expectation, MaxChange
from ipquery.data.update.recipes import parse_recipe
from ipquery.errors import ConfigError
from ipquery.net.sockets import BindError, parse_bind
from ipquery.net.tls import TlsFiles, TlsSettings, read_authorities, read_tls
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.settings import Settings


def load(path: Path) -> Config:
    """Read a configuration file.

    Relative paths in it are relative to its folder.

    :raises ConfigError: it can't be read, isn't TOML, or has an unknown key or
        a value of the wrong kind.
    """
    tables = _read(path)
    try:
        return _config(tables, path.parent)
    except (ConfigError, BindError, DataError) as error:
        raise ConfigError(f"{path}: {error}") from None


def keys_path(path: Path) -> Path:
    """The file of API keys that a configuration file names. It may not be there yet.

    :raises ConfigError: it names none, or can't be read.
    """
    tables = _read(path)
    try:
        top = Table("", tables, tuple(tables), path.parent)
        found = top.table("guard", keys_of(GuardSettings)).path("keys")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if found is None:
        raise ConfigError(f"{path}: no file of API keys is named: set `keys` under [guard]")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't read this configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


# Keys at the top of the file, beside those of Settings.
_KEYS = (
    "bind",
    "workers",
    "cache_dir",
    "database",
    "blend",
    "max_change",
    "expect",
    "update",
    "codes",
    "build",
    "log_format",
    "log_level",
    "tls",
)


_LIMITS = ("memory_limit_mb", "time_limit", "unpacked_limit_mb")


def _config(tables: Mapping[str, Any], folder: Path) -> Config:
    top = Table("", _as_today(tables), (*_KEYS, *keys_of(Settings)), folder)
    codes = top.table("codes", ("countries", "provinces", "cities", "only_lists"))
    build = top.table("build", (*_LIMITS, "snapshot_from", "snapshot_ca"))
    defaults = Config()
    binds = tuple(parse_bind(text) for text in top.texts("bind"))
    tls = _tls(top) if "tls" in top.given else None
    settings = top.settings(Settings)
    if settings.guard.subjects and (tls is None or tls.client_certificates == "none"):
        raise ConfigError(
            "guard.subjects needs clients to show certificates: set `client_certificates` and "
            "`client_ca` under [tls]"
        )
    databases = top.tables("database", _DATABASE_KEYS)
    return Config(
        binds=binds or defaults.binds,
        databases=tuple(source for table in databases for source in _databases(table, folder)),
        named=tuple(json.dumps(dict(table.given), sort_keys=True) for table in databases),
        workers=_workers(tables.get("workers", "auto")),
        cache_dir=top.path("cache_dir") or defaults.cache_dir,
        codes=ListPaths(
            countries=codes.path("countries"),
            provinces=codes.path("provinces"),
            cities=codes.path("cities"),
            only=codes.get("only_lists", bool, False),
        ),
        build_limits=Limits(
            memory=build.number("memory_limit_mb", defaults.build_limits.memory >> 20) << 20,
            seconds=build.number("time_limit", defaults.build_limits.seconds),
            unpacked=build.number("unpacked_limit_mb", defaults.build_limits.unpacked >> 20) << 20,
        ),
        blend=_policy(top.table("blend", ("policy", "language", "hk_mo_tw"))),
        elsewhere=_elsewhere(build),
        max_change=_max_change(top) if "max_change" in top.given else None,
        expect=tuple(_expectation(table) for table in top.tables("expect", ("ip", *FIELDS))),
        updates=_updates(top, "snapshot_from" in build.given),
        log_format=top.choice("log_format", LOG_FORMATS) or defaults.log_format,
        log_level=top.choice("log_level", LOG_LEVELS) or defaults.log_level,
        tls=tls,
        settings=settings,
    )


def _as_today(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the access log as a table, where it is the path alone as in older files."""
    path = tables.get("access_log")
    return {**tables, "access_log": {"path": path}} if isinstance(path, str) else tables


def _tls(top: Table) -> TlsSettings:
    return read_tls(top.table("tls", keys_of(TlsFiles)).settings(TlsFiles))


def _policy(table: Table) -> Policy:
    return Policy(
        table.choice("policy", METHODS) or Policy().method,
        table.choice("language", LANGUAGES),
        table.choice("hk_mo_tw", FORMS),
    )


# A host or an address in brackets, and a port; nothing else, as the path is ours.
_NODE = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")


def _elsewhere(table: Table) -> Elsewhere | None:
    url, ca_file = table.get("snapshot_from", str, None), table.path("snapshot_ca")
    if url is None:
        return None
    if not _NODE.fullmatch(url):
        raise ConfigError(
            f"build.snapshot_from: {url} is no node; give http:// or https://, a host and a port"
        )
    if ca_file is not None:
        try:
            read_authorities(ca_file)
        except OSError as error:
            raise ConfigError(f"{ca_file}: can't read this file: {error.strerror}") from None
    return Elsewhere(url, ca_file)


def _max_change(top: Table) -> MaxChange:
    table = top.table("max_change", keys_of(MaxChange))
    bounds = MaxChange()
    for key, value in table.given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"max_change.{key} must be a number")
        # nan fails this, too.
        if not 0 <= value <= 100:
            raise ConfigError(f"max_change.{key} must be from 0 to 100: it is in percent")
        bounds = attrs.evolve(bounds, **{key: float(value)})
    return bounds


_NUMBERS = ("latitude", "longitude", "accuracy_radius", "asn")


def _expectation(table: Table) -> Expectation:
    ip = table.get("ip", str, "")
    try:
        parse(ip)
    except ValueError as error:
        raise ConfigError(f"an [[expect]] needs an `ip`: {error}") from None
    fields = {key: value for key, value in table.given.items() if key != "ip"}
    if not fields:
        raise ConfigError(f'[[expect]] {ip}: say what is expected, as in country_code = "CN"')
    for key, value in fields.items():
        if key not in _NUMBERS:
            table.get(key, str, None)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"expect.{key} must be a number")
    return Expectation(ip, tuple(fields.items()))


_DURATION = re.compile("([0-9]{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
_LEAST_SECONDS = 60


def _updates(top: Table, has_node: bool) -> tuple[Update, ...]:
    updates = [_update(table) for table in top.tables("update", keys_of(Update))]
    names = [one.name for one in updates]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"update.recipe: {name} is named twice; leave one out")
    if NODE in names and not has_node:
        raise ConfigError(f"update.recipe: {NODE} needs a `snapshot_from` under [build]")
    return tuple(updates)


def _update(table: Table) -> Update:
    recipe = table.get("recipe", str, "")
    try:
        if recipe != NODE:
            parse_recipe(recipe)
    except DataError as error:
        raise ConfigError(f"update.recipe: {error}") from None
    defaults = Update(recipe)
    every = _seconds(table, "every", defaults.every)
    if every < _LEAST_SECONDS:
        raise ConfigError("update.every must be 1m or more: others answer for it each time")
    return Update(recipe, every, _seconds(table, "jitter", defaults.jitter))


def _seconds(table: Table, key: str, default: int) -> int:
    text = table.get(key, str, None)
    if text is None:
        return default
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"update.{key}: {text} is no duration; give a number with s, m, h, d or w, as in 12h"
        )
    return int(match[1]) * _UNITS[match[2]]


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


def _databases(table: Table, folder: Path) -> list[Source]:
    """The sources of a [[database]]: one, or those that ``default`` is."""
    if table.given.get("path") != DEFAULT:
        return [_database(table, folder)]
    for key in table.given:
        if key != "path":
            raise ConfigError(
                f'database.{key} can\'t be set with path = "{DEFAULT}", which is several '
                "databases; name one by its path, or by the recipe that fetched it"
            )
    return default_sources()


def _database(table: Table, folder: Path) -> Source:
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


def _fields(table: Table) -> tuple[str, ...] | None:
    fields = table.texts("fields")
    for field in fields:
        if field not in FIELDS:
            raise ConfigError(f"unknown field {field}; fields: {', '.join(FIELDS)}")
    return tuple(fields) or None


def _leads(table: Table, source: Source) -> tuple[str, ...]:
    if "leads" not in table.given:
        return source.leads
    codes = table.texts("leads")
    for code in codes:
        if not _ALPHA_2.fullmatch(code):
            raise ConfigError(
                f'database.leads: {code} is no country; give ISO 3166-1 codes, as in ["CN", "HK"]'
            )
    return tuple(codes)


def _weight(table: Table, source: Source) -> float:
    weight = table.given.get("weight", source.weight)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigError("database.weight must be a number")
    # nan fails this, too.
    if not 0.001 <= weight <= _MAX_WEIGHT:
        raise ConfigError(f"database.weight must be from 0.001 to {_MAX_WEIGHT}")
    return float(weight)


def _language(table: Table, source: Source) -> str | None:
    language: str | None = table.get("language", str, source.language)
    if language is not None and not _ISO_639.fullmatch(language):
        raise ConfigError(f"database.language: {language} is no ISO 639-1 code, as zh or en are")
    return language
