"""One table of a configuration file: known keys, of known kinds.

A class of settings is read as it is declared: its fields are the keys, and their types tell
what may be given.

| type of the field                            | in the file                                  |
|----------------------------------------------|----------------------------------------------|
| ``int``                                      | a whole number, more than 0                  |
| :data:`~ipquery.kinds.Natural`               | a whole number, 0 or more                    |
| ``bool``, ``str``                            | true or false, a text                        |
| ``Literal["a", "b"]``                        | one of these texts                           |
| ``Path``                                     | a path, relative to the file's folder        |
| :data:`~ipquery.kinds.InputFile`             | the same, of a file that can be read now     |
| :data:`~ipquery.kinds.AuthoritiesFile`       | the same, of certificates in PEM             |
| :data:`~ipquery.kinds.KeysFile`              | the same, of API keys; what is in it is read |
| :data:`~ipquery.kinds.OutputFile`            | a path of a file to write, or ``-``          |
| :data:`~ipquery.kinds.Secret`                | a text, in which secrets are put             |
| ``tuple[str, ...]``                          | a list of texts                              |
| ``tuple[tuple[str, str], ...]``              | a table of texts                             |
| a class of settings                          | a table                                      |
| ``tuple`` of a class of settings             | a table for each, ``[[key]]``                |

What may be ``None`` isn't in the file then. A field without a default must be given.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from ipquery.config.secrets import expand
from ipquery.errors import ConfigError
from ipquery.kinds import STANDARD_OUTPUT, Kind
from ipquery.net.tls import read_authorities
from ipquery.serve.guard.keys import read_text

_T = TypeVar("_T", bound=attrs.AttrsInstance)

_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "a table",
}


def keys_of(settings: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    """The keys of a class of settings."""
    return tuple(field.name for field in attrs.fields(settings))


class Table:
    """One table of the file, whose keys are known."""

    def __init__(self, name: str, given: object, keys: Sequence[str], folder: Path) -> None:
        """
        :param name: how messages call it, empty for the file itself.
        :param folder: what paths are relative to.
        :raises ConfigError: it is no table, or has another key.
        """
        self._prefix = f"{name}." if name else ""
        self._folder = folder
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

    def natural(self, key: str) -> int:
        value: int = self.get(key, int, 0)
        if value < 0:
            raise ConfigError(f"{self._prefix}{key} must be 0 or more")
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

    def path(self, key: str) -> Path | None:
        text = self.get(key, str, None)
        return None if text is None else self._folder / text

    def table(self, key: str, keys: Sequence[str]) -> "Table":
        return Table(self._prefix + key, self.given.get(key, {}), keys, self._folder)

    def tables(self, key: str, keys: Sequence[str]) -> list["Table"]:
        given: list[Any] = self.get(key, list, [])
        return [Table(self._prefix + key, one, keys, self._folder) for one in given]

    def settings(self, kind: type[_T]) -> _T:
        """The value of a class of settings, see the table at the top.

        :raises ConfigError: something is missing, or of another kind.
        """
        types = get_type_hints(kind, include_extras=True)
        values = {}
        for field in attrs.fields(kind):
            if field.name in self.given:
                values[field.name] = self._value(field.name, types[field.name])
            elif field.default is attrs.NOTHING:
                raise ConfigError(f"{self._prefix.rstrip('.')} needs a `{field.name}`")
        return kind(**values)

    def _value(self, key: str, given_type: Any) -> Any:
        kind, mark = _taken_apart(given_type)
        if attrs.has(kind):
            return self.table(key, keys_of(kind)).settings(kind)
        if get_origin(kind) is tuple:
            return tuple(self._several(key, get_args(kind)[0]))
        if get_origin(kind) is Literal:
            return self.choice(key, get_args(kind))
        if kind is int:
            return self.natural(key) if mark is Kind.NATURAL else self.number(key)
        if kind is bool:
            return self.get(key, bool, None)
        return self._text(key, self.get(key, str, None), kind, mark)

    def _several(self, key: str, kind: Any) -> Sequence[Any]:
        if attrs.has(kind):
            return [table.settings(kind) for table in self.tables(key, keys_of(kind))]
        if get_origin(kind) is tuple:
            kind, mark = _taken_apart(get_args(kind)[1])
            return [(name, self._text(key, text, kind, mark)) for name, text in self.pairs(key)]
        kind, mark = _taken_apart(kind)
        return [self._text(key, text, kind, mark) for text in self.texts(key)]

    def _text(self, key: str, text: str, kind: Any, mark: Kind | None) -> Path | str:
        if mark is Kind.SECRET:
            return expand(text, self._prefix + key)
        if mark is Kind.OUTPUT:
            return text if text == STANDARD_OUTPUT else str(self._folder / text)
        if mark is Kind.KEYS:
            return read_text(self._folder / text)
        if kind is not Path:
            return text
        path = self._folder / text
        if mark is Kind.INPUT or mark is Kind.AUTHORITIES:
            # Workers open it later: what is wrong with it is said now, before anything changes.
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigError(f"{path}: can't read this {key}: {error.strerror}") from None
        if mark is Kind.AUTHORITIES:
            # Of an empty file nobody would be trusted, and a damaged one ends each worker.
            read_authorities(path)
        return path


def _taken_apart(given: Any) -> tuple[Any, Kind | None]:
    """A type without ``None`` and annotation, and its annotation."""
    if get_origin(given) in (Union, UnionType):
        (given,) = (one for one in get_args(given) if one is not NoneType)
    if get_origin(given) is Annotated:
        kind, mark = get_args(given)
        return kind, mark
    return given, None


def _unknown_key(prefix: str, key: str, keys: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, keys, 1)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"keys: {', '.join(keys)}"
    return f"unknown key {prefix}{key}; {hint}"
