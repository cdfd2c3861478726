"""MaxMind DB ``.mmdb``: a tree of address bits over records of any shape.

Layout from the MaxMind DB file format specification, version 2.0::

    tree      nodes of two numbers of 24, 28 or 32 bits, for bit 0 and bit 1: below the
              count of nodes the next node, the count itself "no data", above it the
              place of a record: count + 16 + its offset in the data
    16 zero bytes
    data      records: maps, arrays, texts, numbers, and pointers to them
    marker    \\xab\\xcd\\xefMaxMind.com in the last 128 KiB, then a map that describes all

The tree is read all nodes of one depth at a time, and each record is decoded once:
maxminddb's own iteration decodes anew at each of 11.6 million networks of DB-IP City Lite
of 2023-04, where 493,440 records are different, and takes 87 s. This takes 11.

IPv4 lies at ``::/96`` of an IPv6 tree, which is where every reader looks for it. Trees
repeat it at ``::ffff:0:0/96``, ``2002::/16`` (6to4) and ``2001::/32`` (Teredo) by leading
there to the same node, and by that they are told: such a network is left out. One that
leads anywhere else holds data of its own and is read like the rest. If nothing at all is
at ``::/96``, what is at ``::ffff:0:0/96`` is the IPv4 part.

Names of fields are those of GeoIP2 and GeoLite2 (dev.maxmind.com, "City binary database
fields", "ISP binary database fields"), which DB-IP keeps to (db-ip.com, "MMDB format"), or
those of flat records: ip-location-db (README of its packages) and IPinfo (IPinfo Lite).
"""

import datetime
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ipquery.address import shorten, to_text
from ipquery.data.formats.mmdb_data import BadValue, Decoder
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.texts import NUMBER_FIELDS, iso_3166_2, to_number
from ipquery.data.ranges import Column, Ranges, RangeTable
from ipquery.data.record import FIELDS, DataError, Record
from ipquery.data.terms import Terms, terms_of_type

NAME = "mmdb"

_MARKER = b"\xab\xcd\xefMaxMind.com"
_MARKER_WITHIN = 1 << 17
_SEPARATOR = 16
_NODE_BYTES = {24: 6, 28: 7, 32: 8}
_DEEPEST = 128
_V4_DEPTH = 96

# Where trees repeat their IPv4 part: depth, and the upper and lower half of the address.
_V4_MAPPED = (96, 0, 0xFFFF << 32)
_ALIASES = (_V4_MAPPED, (16, 0x2002 << 48, 0), (32, 0x20010000 << 32, 0))

# Which bits of the upper and lower half are free below a node, by its depth.
_FREE_HIGH = np.array([2 ** max(64 - depth, 0) - 1 for depth in range(129)], np.uint64)
_FREE_LOW = np.array([2 ** min(128 - depth, 64) - 1 for depth in range(129)], np.uint64)


def sniff(head: bytes, tail: bytes, size: int) -> bool:
    """The marker near the end, and behind it a map: its control byte has type 7 on top."""
    at = tail.rfind(_MARKER)
    control = tail[at + len(_MARKER) :][:1]
    return at >= 0 and control >= b"\xe0"


def read(path: Path, options: ReadOptions = ReadOptions()) -> RangeTable:
    """Read an ``.mmdb`` file.

    Names are taken in ``options.language`` (``zh`` is ``zh-CN``), else in English,
    else in any language there is.

    :raises DataError: the file is damaged or not of this format.
    :raises OSError: it can't be read.
    """
    data = path.read_bytes()
    about, terms = _describe(path, data)
    tree = _read_tree(path, data, about)
    section = data[tree.data_at : tree.data_at + tree.data_bytes]
    del data
    leaves = _merge(*_in_order(_walk(tree)))
    del tree
    pointers, number = _different(leaves.pointer, len(section))
    decode, make = Decoder(section).decode, _Maker(path, options.language)
    records: dict[Record, int] = {}
    numbers = []
    for pointer in pointers.tolist():
        try:
            value = decode(pointer)
        except BadValue:
            raise _damaged(path, f"the record at byte {pointer} of its data is none") from None
        numbers.append(records.setdefault(make(value), len(records)))
    record = np.array(numbers, np.int64)[number]
    v4, v6 = _split(leaves, record)
    date = _date(about.build_epoch)
    return RangeTable(list(records), v4.merged(), v6.merged(), date, terms)


def _different(pointer: Column, data_bytes: int) -> tuple[Column, Column]:
    """The different places of records, in order, and for each one its number among these.

    By a table of all places: sorting those of 6.5 million ranges takes a second longer.
    """
    used = np.zeros(data_bytes, bool)
    used[pointer] = True
    different = np.flatnonzero(used)
    number = np.empty(data_bytes, np.uint32)
    number[different] = np.arange(len(different))
    return different, number[pointer]


@attrs.frozen
class _About:
    """What the map at the end of the file says."""

    node_count: int
    record_size: int
    ip_version: int
    build_epoch: int


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}: the file is damaged; get it again")


def _describe(path: Path, data: bytes) -> tuple[_About, Terms | None]:
    """The description of the whole, and the terms on which its publisher gives it away."""
    at = data.rfind(_MARKER, max(len(data) - _MARKER_WITHIN, 0))
    try:
        found = Decoder(data[at + len(_MARKER) :]).decode(0) if at >= 0 else None
    except BadValue:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path}: not an {NAME} file: it has no description at its end; get it again, or name "
            "its true format"
        )
    numbers = [found.get(field.name, 0) for field in attrs.fields(_About)]
    if not all(type(number) is int for number in numbers):
        raise _damaged(path, "its description holds no numbers where they must be")
    return _About(*numbers), terms_of_type(found.get("database_type"))


# The tree


@attrs.frozen(eq=False)
class _Tree:
    path: Path
    branches: tuple[Column, Column]  # for bit 0 and bit 1, by number of the node
    data_at: int  # where the data begins in the file
    data_bytes: int
    root_depth: int  # 96 of an IPv4 tree: all of it lies at ::/96

    @property
    def count(self) -> int:
        return len(self.branches[0])


@attrs.frozen(eq=False)
class _Leaves:
    """Ranges with a record, as columns: first and last address in halves, and the place
    of the record in the data."""

    high: Column
    low: Column
    last_high: Column
    last_low: Column
    pointer: Column


_Networks = tuple[Column, Column, Column, Column]
"""Upper and lower half of first addresses, lengths of prefixes, and places of records."""


def _read_tree(path: Path, data: bytes, about: _About) -> _Tree:
    node_bytes = _NODE_BYTES.get(about.record_size)
    if node_bytes is None or about.ip_version not in (4, 6):
        raise DataError(
            f"{path}: tree records of {about.record_size} bits for IP version {about.ip_version} "
            f"are not of {NAME} 2.0: the file is damaged, or of a later edition"
        )
    data_at = about.node_count * node_bytes + _SEPARATOR
    data_bytes = data.rfind(_MARKER) - data_at
    if about.node_count < 1 or data_bytes < 0:
        raise _damaged(path, f"a tree of {about.node_count} nodes isn't in its {len(data)} bytes")
    nodes = np.frombuffer(data, np.uint8, data_at - _SEPARATOR).reshape(-1, node_bytes)
    root_depth = _V4_DEPTH if about.ip_version == 4 else 0
    return _Tree(path, _branches(nodes, about.record_size), data_at, data_bytes, root_depth)


def _branches(nodes: Column, bits: int) -> tuple[Column, Column]:
    """Both numbers of every node."""
    if bits == 32:
        pairs = nodes.reshape(-1).view(">u4").reshape(-1, 2).astype(np.uint32)
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    def number(a: int, b: int, c: int) -> Column:
        column: Column = nodes[:, a].astype(np.uint32) << 16
        column |= nodes[:, b].astype(np.uint32) << 8
        column |= nodes[:, c]
        return column

    if bits == 24:
        return number(0, 1, 2), number(3, 4, 5)
    # The middle byte holds the uppermost four bits of both, those of bit 0 first.
    middle = nodes[:, 3].astype(np.uint32)
    return (middle >> 4) << 24 | number(0, 1, 2), (middle & 15) << 24 | number(4, 5, 6)


def _walk(tree: _Tree) -> list[_Networks]:
    """Every network with a record, by length of prefix.

    :raises DataError: the tree leads out of itself, or back into itself.
    """
    aliased = _v4_root(tree)
    node = np.zeros(1, np.uint32)
    high, low = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    found: list[_Networks] = []
    visited = 0
    for depth in range(tree.root_depth, _DEEPEST):
        visited += len(node)
        # Each node once, and once more in a tree that shares what is equal. What goes
        # beyond leads back into itself, where nodes double at every step.
        if visited > 2 * tree.count + 1000:
            raise _damaged(tree.path, "its tree leads back into itself")
        child = np.stack([branch[node] for branch in tree.branches], axis=1).reshape(-1)
        high, low = _descend(depth, high), _descend(depth - 64, low)
        known = child != tree.count
        for alias_depth, alias_high, alias_low in _ALIASES:
            if depth + 1 == alias_depth and aliased is not None:
                known &= (high != alias_high) | (low != alias_low) | (child != aliased)
        leaf = known & (child > tree.count)
        if leaf.any():
            found.append(_leaves_at(tree, depth + 1, high[leaf], low[leaf], child[leaf]))
        inner = known & (child < tree.count)
        node, high, low = child[inner], high[inner], low[inner]
        if not len(node):
            break
    else:
        raise _damaged(tree.path, "its tree is deeper than an address has bits")
    return found


def _in_order(found: list[_Networks]) -> _Networks:
    """The networks of all lengths in address order. Empties ``found``, to save memory."""
    high, low, length, pointer = (
        np.concatenate([empty, *parts])
        for empty, parts in zip(
            (np.empty(0, kind) for kind in (np.uint64, np.uint64, np.uint8, np.uint32)),
            zip(*found, strict=True) if found else [[]] * 4,
            strict=True,
        )
    )
    found.clear()
    order = np.lexsort((low, high)).astype(np.uint32)
    return high[order], low[order], length[order], pointer[order]


def _v4_root(tree: _Tree) -> int | None:
    """The node at ``::/96``, if there is one."""
    node = 0
    for _ in range(tree.root_depth, _V4_DEPTH):
        node = int(tree.branches[0][node])
        if node >= tree.count:
            return None
    return node


def _descend(bit: int, half: Column) -> Column:
    """This half of the addresses of both children, in address order.

    So what each depth adds is sorted already, and sorting the whole merges runs.

    :param bit: which bit of the half they differ in, from the uppermost.
    """
    one = np.uint64(1 << (63 - bit) if 0 <= bit < 64 else 0)
    return np.stack((half, half | one), axis=1).reshape(-1)


def _leaves_at(tree: _Tree, depth: int, high: Column, low: Column, value: Column) -> _Networks:
    pointer = value.astype(np.int64) - tree.count - _SEPARATOR
    outside = (pointer < 0) | (pointer >= tree.data_bytes)
    if outside.any():
        place = int(np.argmax(outside))
        network = _network_text(int(high[place]) << 64 | int(low[place]), depth)
        raise _damaged(
            tree.path,
            f"the record of {network} lies outside the data ({int(pointer[place])} of "
            f"{tree.data_bytes} bytes)",
        )
    return high, low, np.full(len(high), depth, np.uint8), pointer.astype(np.uint32)


def _network_text(number: int, length: int) -> str:
    if number < 2**32 and length >= _V4_DEPTH:
        return f"{to_text(4, number)}/{length - _V4_DEPTH}"
    return f"{to_text(6, number)}/{length}"


def _merge(high: Column, low: Column, length: Column, pointer: Column) -> _Leaves:
    """Networks as ranges, neighbours with the same record as one.

    Of DB-IP City Lite four in ten go.
    """
    if not len(pointer):
        return _Leaves(high, low, high, low, pointer)
    last_high, last_low = high | _FREE_HIGH[length], low | _FREE_LOW[length]
    next_low = last_low[:-1] + np.uint64(1)
    touches = (low[1:] == next_low) & (high[1:] == last_high[:-1] + (next_low == 0))
    begins = np.append(True, ~touches | (pointer[1:] != pointer[:-1]))
    ends = np.append(begins[1:], True)
    return _Leaves(high[begins], low[begins], last_high[ends], last_low[ends], pointer[begins])


def _split(leaves: _Leaves, record: Column) -> tuple[Ranges, Ranges]:
    """The IPv4 part and the rest.

    A range that begins in ``::/96`` and goes beyond it is cut there.
    """
    top = np.uint64(2**32 - 1)
    inside = (leaves.high == 0) & (leaves.low <= top)
    if not inside.any():
        return _split_mapped(leaves, record)
    beyond = (leaves.last_high > 0) | (leaves.last_low > top)
    v4 = Ranges(
        4,
        leaves.low[inside],
        np.where(beyond, top, leaves.last_low)[inside],
        record[inside],
    )
    low = np.where(inside, top + np.uint64(1), leaves.low)
    return v4, Ranges(
        6,
        _keys(leaves.high[beyond], low[beyond]),
        _keys(leaves.last_high[beyond], leaves.last_low[beyond]),
        record[beyond],
    )


def _split_mapped(leaves: _Leaves, record: Column) -> tuple[Ranges, Ranges]:
    """The same for a tree with nothing at ``::/96``: IPv4 is what ``::ffff:0:0/96`` has."""
    _, high, low = _V4_MAPPED
    first, last = np.uint64(low), np.uint64(low + 2**32 - 1)
    # Ranges that touch it from outside stay as they are: IPv6 has them, too.
    inside = (leaves.high == high) & (leaves.low >= first) & (leaves.low <= last)
    inside &= (leaves.last_high == high) & (leaves.last_low <= last)
    v4 = Ranges(4, leaves.low[inside] - first, leaves.last_low[inside] - first, record[inside])
    return v4, Ranges(
        6,
        _keys(leaves.high[~inside], leaves.low[~inside]),
        _keys(leaves.last_high[~inside], leaves.last_low[~inside]),
        record[~inside],
    )


def _keys(high: Column, low: Column) -> Column:
    pairs = np.stack((high, low), axis=1).astype(">u8")
    return pairs.view("S16").reshape(-1)


# Records


class _Maker:
    """Makes records of decoded maps."""

    def __init__(self, path: Path, language: str | None) -> None:
        self._path = path
        self._language = language or "en"
        # By key and identity of a part, which is kept with what it says: a city's map, or a
        # country's, is one object in all records that point at it.
        self._said: dict[tuple[str, int], tuple[object, dict[str, Any]]] = {}

    def __call__(self, value: object) -> Record:
        """:raises DataError: it isn't a map, or a field of it is of a wrong type."""
        if not isinstance(value, dict):
            raise DataError(
                f"{self._path}: its records are of type {type(value).__name__}, not maps of "
                "fields; ipquery can't tell what they say"
            )
        fields: dict[str, Any] = {}
        for key, given in value.items():
            kind = type(given)
            if kind is dict or kind is list:
                if key in _SHARED:
                    fields |= self._shared(key, given)
                elif key in _NESTED:
                    fields |= self._values(_NESTED[key](self, given))
            elif key in _FLAT:
                name = _FLAT[key]
                # Most fields of most files are texts.
                is_text = kind is str and name not in NUMBER_FIELDS
                fields[name] = given if is_text else self._value(name, given)
        if "country" in value or "continent" in value:
            _sort_names_from_codes(value, fields)
        if "subdivision_code" in fields:
            code, country = fields["subdivision_code"], fields.get("country_code")
            fields["subdivision_code"] = iso_3166_2(code or "", country)
        return Record(**fields)

    def _shared(self, key: str, part: object) -> dict[str, Any]:
        """What a part says that many records have."""
        found = self._said.get((key, id(part)))
        if found is not None and found[0] is part:
            return found[1]
        if len(self._said) >= _KEPT_PARTS:
            self._said.clear()
        fields = self._values(_NESTED[key](self, part))
        self._said[key, id(part)] = part, fields
        return fields

    def _values(self, given: Iterable[tuple[str, object]]) -> dict[str, Any]:
        return {name: self._value(name, value) for name, value in given}

    def _country(self, part: Any) -> Iterator[tuple[str, object]]:
        yield "country_code", _get(part, "iso_code")
        yield "country", self._name(part)

    def _continent(self, part: Any) -> Iterator[tuple[str, object]]:
        yield "continent_code", _get(part, "code")

    def _subdivisions(self, part: Any) -> Iterator[tuple[str, object]]:
        if not isinstance(part, list):
            return
        for level, field in zip(part, ("province", "district"), strict=False):
            yield field, self._name(level)
        if part:
            yield "subdivision_code", _get(part[0], "iso_code")

    def _city(self, part: Any) -> Iterator[tuple[str, object]]:
        yield "city", self._name(part)

    def _location(self, part: Any) -> Iterator[tuple[str, object]]:
        if not isinstance(part, dict):
            return
        # Nearly each record has a location of its own, with two of these.
        for name in ("latitude", "longitude", "accuracy_radius", "time_zone"):
            if name in part:
                yield name, part[name]

    def _postal(self, part: Any) -> Iterator[tuple[str, object]]:
        yield "postal_code", _get(part, "code")

    def _traits(self, part: Any) -> Iterator[tuple[str, object]]:
        yield "isp", _get(part, "isp")
        yield "org", _get(part, "organization")
        yield "asn", _get(part, "autonomous_system_number")
        yield "as_org", _get(part, "autonomous_system_organization")

    def _name(self, part: object) -> object:
        """The name of a place in the language asked for, or the best there is."""
        names = _get(part, "names")
        if not isinstance(names, dict):
            return None
        for language in (self._language, "en"):
            if language in names:
                return names[language]
            for known, name in names.items():
                if isinstance(known, str) and known.startswith(f"{language}-"):
                    return name
        return next(iter(names.values()), None)

    def _value(self, name: str, given: object) -> object:
        if given is None or given == "":
            return None
        if name in _DEGREES and type(given) is float:
            given = _as_written(given)
            # What is out of bounds is refused below.
            if -_DEGREES[name] <= given <= _DEGREES[name]:
                return given
        if name in NUMBER_FIELDS:
            if isinstance(given, float):
                given = _as_written(given)
            if isinstance(given, str | int | float) and not isinstance(given, bool):
                return to_number(self._path, name, given)
        elif isinstance(given, str):
            return given
        elif isinstance(given, int) and not isinstance(given, bool):
            return str(given)
        raise DataError(
            f"{self._path}: a {name.replace('_', ' ')} is {shorten(repr(given))}, which is no "
            f"{'number' if name in NUMBER_FIELDS else 'text'}: the file is damaged, or of a shape "
            "that ipquery doesn't know"
        )


def _sort_names_from_codes(value: dict[str, object], fields: dict[str, object]) -> None:
    """What `country` and `continent` hold in flat records.

    In IPinfo Lite the name, beside `country_code`; in IPinfo's older files the code, two
    capitals, beside `country_name` or alone.
    """
    for key in ("country", "continent"):
        given = value.get(key)
        if not isinstance(given, str):
            continue
        is_code = _CODE.fullmatch(given) and f"{key}_code" not in value
        if is_code or f"{key}_name" in value:
            fields[f"{key}_code"] = given
        elif key == "country":
            fields[key] = given


_CODE = re.compile("[A-Z]{2}")


def _get(part: object, key: str) -> object:
    return part.get(key) if isinstance(part, dict) else None


_NESTED: dict[str, Callable[[_Maker, Any], Iterator[tuple[str, object]]]] = {
    "country": _Maker._country,
    "continent": _Maker._continent,
    "subdivisions": _Maker._subdivisions,
    "city": _Maker._city,
    "location": _Maker._location,
    "postal": _Maker._postal,
    "traits": _Maker._traits,
}
"""Parts of GeoIP2's records."""

_SHARED = frozenset({"country", "continent", "subdivisions", "city"})
"""Those that many records point at. Places are as many as records."""

# DB-IP City Lite of 2023-04 has 250,000 of them.
_KEPT_PARTS = 1 << 18

_DEGREES = {"latitude": 90.0, "longitude": 180.0}

_FLAT = {
    "country_code": "country_code",
    "country_name": "country",
    "continent_code": "continent_code",
    "state1": "province",
    "region": "province",
    "region_code": "subdivision_code",
    "state2": "district",
    "city": "city",
    "postcode": "postal_code",
    "postal_code": "postal_code",
    "latitude": "latitude",
    "lat": "latitude",
    "longitude": "longitude",
    "lng": "longitude",
    "timezone": "time_zone",
    "isp": "isp",
    "organization": "org",
    "autonomous_system_number": "asn",
    "asn": "asn",
    "autonomous_system_organization": "as_org",
    "as_name": "as_org",
    # Those of `ipquery export`, if they aren't above; `country`, see _sort_names_from_codes.
    **{name: name for name in FIELDS if name not in ("country", "city", "isp", "asn")},
}
"""Keys at the top of a record: of ASN and ISP files, and of flat ones."""


def _as_written(number: float) -> float:
    """A number as it was before it was stored with 24 bits of precision, if it was.

    ip-location-db stores 101.727 so that it reads as 101.72699737548828.
    """
    try:
        packed = _float.pack(number)
    except OverflowError:
        return number
    if _float.unpack(packed)[0] != number:
        return number
    for digits in (4, 5, 6):
        rounded = round(number, digits)
        if _float.pack(rounded) == packed:
            return rounded
    return number


_float = struct.Struct("<f")


def _date(epoch: int) -> datetime.date | None:
    """The day of ``build_epoch``, seconds since 1970. Its first day is none: libmaxminddb takes no
    0, so that writers who don't know it write 1."""
    if not 86400 <= epoch < 2**40:
        return None
    try:
        return datetime.datetime.fromtimestamp(epoch, datetime.UTC).date()
    except (ValueError, OverflowError):
        return None
