"""API keys: what is kept of them in a file, and how a request's is checked.

A key is 256 random bits, so one hash, SHA-256, is enough: nobody can try them all, as with
passwords. It is looked for by its hash, and how long that takes says nothing of the keys that
there are.
"""

import hashlib
import json
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ipquery.errors import ConfigError
from ipquery.serve.http.repeat import Passage

# By this a key that lies around can be told for what it is.
_PREFIX = "ipq_"
_KEY_BYTES = 32

# Of values that were admitted, a worker keeps so many of each field, 1 MB at most.
_MOST_KEPT, _LONGEST_KEPT = 4096, 128

_VERSION = 1
_MOST_KEYS = 100_000

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""What a key may be called."""

_SHA256 = re.compile("[0-9a-f]{64}")
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

# RFC 6750 section 2.1; RFC 9110 section 11.1: the scheme's name is case-insensitive.
_BEARER = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")

KEY_FIELDS = frozenset((b"authorization", b"x-api-key"))
"""The header fields in which a key comes, in lower case."""


@attrs.frozen
class Key:
    """What is kept of a key."""

    name: str
    sha256: str
    """In hexadecimal digits."""
    created: str
    """In UTC, as in ``2026-11-29T08:00:00Z``."""


def make_key() -> str:
    """A new key."""
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def hash_of(key: bytes) -> bytes:
    """What is kept of a key, and looked for."""
    return hashlib.sha256(key).digest()


def to_text(keys: Iterable[Key]) -> str:
    """The content of a file of keys."""
    told = [attrs.asdict(key) for key in keys]
    return json.dumps({"version": _VERSION, "keys": told}, indent=1) + "\n"


def read_text(path: Path) -> str:
    """The content of a file of keys, which is whole.

    :raises ConfigError: it can't be read, or is damaged.
    """
    try:
        if path.stat().st_mode & stat.S_IWOTH:
            raise ConfigError(f"{path}: everybody may write these API keys; chmod o-w {path}")
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: no file of API keys: not a text") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't read these API keys: {error.strerror}") from None
    try:
        parse_keys(text)
    except ValueError as error:
        raise ConfigError(
            f"{path}: no file of API keys as ipquery key writes it: {error}"
        ) from None
    return text


def parse_keys(text: str) -> tuple[Key, ...]:
    """The keys of which a file's content tells.

    :raises ValueError: it isn't whole.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON; it may have been cut off") from None
    if not isinstance(given, dict) or given.get("version") != _VERSION:
        raise ValueError("another version, or none")
    if given.keys() != {"version", "keys"} or not isinstance(given["keys"], list):
        raise ValueError("a list of keys is all that may be in it")
    if len(given["keys"]) > _MOST_KEYS:
        raise ValueError(f"more than {_MOST_KEYS} keys")
    keys = tuple(_keys(given["keys"]))
    for what, told in (("name", [key.name for key in keys]), ("key", [key.sha256 for key in keys])):
        if len(set(told)) < len(told):
            raise ValueError(f"the same {what} twice")
    return keys


def _keys(given: Sequence[Any]) -> Iterator[Key]:
    for number, one in enumerate(given, 1):
        is_key = isinstance(one, dict) and one.keys() == {"name", "sha256", "created"}
        if not is_key or not all(
            isinstance(one[member], str) and form.fullmatch(one[member])
            for member, form in (("name", NAME), ("sha256", _SHA256), ("created", _CREATED))
        ):
            raise ValueError(f"entry {number} is no key")
        yield Key(**one)


class Keys:
    """The keys by which requests are answered."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._hashes = frozenset(bytes.fromhex(key.sha256) for key in keys)
        self._admitted: dict[bytes, set[bytes]] = {field: set() for field in KEY_FIELDS}

    def admit(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether a request has one of the keys.

        :param fields: its header fields, names in lower case.
        """
        found = self._admitting(fields)
        for field in found:
            self._keep(fields[field], self._admitted[field])
        return bool(found)

    def _admitting(self, fields: Mapping[bytes, bytes]) -> list[bytes]:
        """The fields that have a key by which requests are answered."""
        return [field for field, key in _given(fields) if hash_of(key) in self._hashes]

    def _keep(self, value: bytes, values: set[bytes]) -> None:
        if len(value) <= _LONGEST_KEPT:
            if len(values) >= _MOST_KEPT:
                values.clear()
            values.add(value)

    def passage(self, fields: Mapping[bytes, bytes]) -> Passage | None:
        """In which field the key of a request comes, and values that were admitted in it.

        To look for one of these in a set is faster than to hash it by SHA-256, and is no
        comparison either that takes longer the more of a key is right: a set looks for a hash
        (SipHash, with a secret of the process), and compares values where all of its 64 bits are
        the same.

        :param fields: its header fields, names in lower case.
        :returns: ``None`` if it has no key, or several, of which one would be compared as text.
        """
        found = self._admitting(fields)
        return Passage(found[0], self._admitted[found[0]]) if len(found) == 1 else None


def _given(fields: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The fields that may have a key, and what would be it."""
    # Where a proxy wants an Authorization of its own, the key comes in the other one.
    bearer = _BEARER.fullmatch(fields.get(b"authorization", b""))
    if bearer is not None:
        yield b"authorization", bearer[1]
    if b"x-api-key" in fields:
        yield b"x-api-key", fields[b"x-api-key"]
