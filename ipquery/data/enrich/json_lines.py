"""JSON, an object a line (NDJSON), with the address at a path in it."""

import io
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from ipquery.data.enrich.located import Block, Change, Located, last_line_end, lines_of
from ipquery.data.enrich.options import STATUS, Options
from ipquery.data.enrich.prefixes import prefix_of
from ipquery.data.ranges import Column

_OPENS, _CLOSES = ord("{"), ord("}")
_BLANKS = b" \t\r\n"
_BEFORE_NOTHING = np.frombuffer(b"{" + _BLANKS, np.uint8)


@attrs.frozen
class JsonFormat:
    """``path`` are the keys that lead to the address, ``names`` the keys of what is added, in an
    object called ``nested`` if there is one."""

    path: tuple[str, ...]
    names: tuple[str, ...]
    nested: str | None
    anonymise: bool

    def record_end(self, data: bytes) -> int:
        return last_line_end(data)

    def locate(self, block: Block) -> Located:
        begin, end = lines_of(block, block.newlines())
        if not len(begin):
            return Located(begin, begin, begin)
        are_objects = (block.column[begin] == _OPENS) & (block.column[end - 1] == _CLOSES)
        if are_objects.all() and not self.anonymise:
            found = self._by_arrow(block, len(begin), "string")
            if found is not None:
                changes = dict.fromkeys(_empty(block, begin, end), _first)
                return Located(end - 1, begin, end - begin, addresses=found, changes=changes)
        return self._one_by_one(block, begin, end)

    def values(self, block: Block, located: Located) -> Sequence[Any]:
        """What is at the path in each row: a text, a number, or ``None``.

        :param located: the rows, which any path has located if nothing is anonymised.
        """
        count = len(located.insert)
        if count and not isinstance(located.addresses, list):
            for kind in ("string", "float64"):
                found = self._by_arrow(block, count, kind)
                if found is not None:
                    values: list[Any] = found.to_pylist()
                    return values
        lines = zip(located.start.tolist(), (located.insert + 1).tolist(), strict=True)
        said = (self._at_path(_read(block.data[first:after])) for first, after in lines)
        return [
            one if isinstance(one, str | int | float) and not isinstance(one, bool) else None
            for one in said
        ]

    def _by_arrow(self, block: Block, count: int, type_: str) -> Any:
        """What is at the path as pyarrow reads it; ``None`` where it isn't installed, or lines
        aren't what it reads."""
        try:
            import pyarrow
            import pyarrow.compute
            import pyarrow.json
        except ImportError:
            return None
        kind = pyarrow.type_for_alias(type_)
        for key in reversed(self.path[1:]):
            kind = pyarrow.struct([(key, kind)])
        try:
            table = pyarrow.json.read_json(
                io.BytesIO(block.data),
                # One block of it, and not by others' cores.
                pyarrow.json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
                pyarrow.json.ParseOptions(
                    explicit_schema=pyarrow.schema([(self.path[0], kind)]),
                    unexpected_field_behavior="ignore",
                ),
            )
        except pyarrow.ArrowException:
            return None
        if len(table) != count:
            return None
        column = table.column(0)
        return pyarrow.compute.struct_field(column, [*self.path[1:]]) if self.path[1:] else column

    def _one_by_one(self, block: Block, begin: Column, end: Column) -> Located:
        rows: list[tuple[int, int, int]] = []
        addresses: list[str | None] = []
        changes: dict[int, Change] = {}
        rewritten: dict[int, bytes] = {}
        odd = 0
        for first, after in zip(begin.tolist(), end.tolist(), strict=True):
            line = block.data[first:after]
            said = _read(line)
            row = len(rows)
            if said is None:
                odd += 1
                if self.anonymise:  # nobody knows what it tells
                    rows.append((after, first, after - first))
                    addresses.append(None)
                    rewritten[row], changes[row] = b"", _whole
                continue
            value = self._at_path(said)
            address = value if isinstance(value, str) else None
            insert = first + len(line.rstrip(_BLANKS)) - 1
            start, length = first, insert - first
            if self.anonymise:
                span = self._span(line, address)
                if span is None:
                    rewritten[row] = self._without(said)[:-1]
                else:
                    start, length = first + span[0], span[1] - span[0]
            rows.append((insert, start, length))
            addresses.append(address)
            if not said:
                changes[row] = _first
        inserts, starts, lengths = np.array(rows, np.int64).reshape(-1, 3).T
        return Located(inserts, starts, lengths, addresses, changes, rewritten, odd)

    def _at_path(self, said: Any) -> Any:
        for key in self.path:
            said = said.get(key) if isinstance(said, dict) else None
        return said

    def _span(self, line: bytes, address: str | None) -> tuple[int, int] | None:
        """Where in a line the address is, if there can be no doubt."""
        if address is None or b"\\" in line:
            return None
        members = _member(self.path[-1]).finditer(line)
        wanted = address.encode()
        found = [one.span(1) for one in members if one[1] == wanted]
        return found[0] if len(found) == 1 else None

    def _without(self, said: Any) -> bytes:
        """An object without the address in it, if there is one."""
        inner = said
        for key in self.path[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and self.path[-1] in inner:
            value = inner[self.path[-1]]
            inner[self.path[-1]] = prefix_of(value if isinstance(value, str) else "")
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )

    def piece(self, number: int, value: Any) -> bytes:
        return f",{_dumped(self.names[number])}:{_dumped(value)}".encode()

    def addition(self, pieces: bytes) -> bytes:
        if self.nested is None:
            return pieces
        return b",%b:{%b}" % (_dumped(self.nested).encode(), pieces[1:])


@lru_cache(1)
def _member(key: str) -> re.Pattern[bytes]:
    """A member of an object whose value is a text."""
    quoted = re.escape(json.dumps(key, ensure_ascii=False))
    return re.compile(rf'{quoted}[ \t\r]*:[ \t\r]*"([^"]*)"'.encode())


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _empty(block: Block, begin: Column, end: Column) -> list[int]:
    """The rows of objects without members, of which little is looked at closely."""
    might_be = np.isin(block.column[end - 2], _BEFORE_NOTHING)
    return [
        row
        for row in np.flatnonzero(might_be).tolist()
        if not block.data[begin[row] + 1 : end[row] - 1].strip(_BLANKS)
    ]


def _read(line: bytes) -> Any:
    """An object; ``None`` if it isn't one."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _first(addition: bytes) -> bytes:
    """Members of an object that has no others."""
    return addition[1:]


def _whole(addition: bytes) -> bytes:
    return b"{%b}" % addition[1:]


def format_of(options: Options) -> JsonFormat:
    path = tuple((options.column or "ip").split("."))
    if options.nested is None:
        return JsonFormat(path, options.names, None, options.anonymise)
    names = (*options.fields, STATUS)
    return JsonFormat(path, names, options.nested, options.anonymise)
