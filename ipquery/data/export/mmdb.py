"""MaxMind DB files, for whatever reads GeoIP2's or GeoLite2's.

mmdb_writer 0.2.7 isn't used: it takes values that compare equal for one, so that ``True``, ``1``
and ``1.0`` read back as one of them, raises on ``::/0``, and adds networks one at a time.

IPv4 is at ``::/96``. It is repeated at ``::ffff:0:0/96``, ``2001::/32`` (Teredo) and ``2002::/16``
(6to4), as in MaxMind's own files, unless the snapshot says something of its own there.
"""

import datetime
from collections.abc import Iterable
from typing import BinaryIO

import attrs
import numpy as np

from ipquery.data.export.content import Content
from ipquery.data.export.mmdb_data import DataSection, Uint16, Uint64, encode, encode_map
from ipquery.data.export.mmdb_shapes import City, Member, flat
from ipquery.data.export.options import Options, Report
from ipquery.data.export.steps import Steps, chunks
from ipquery.data.export.tree import NOTHING, V4_ALIAS, Tree, grow, pack, record_size
from ipquery.data.ranges import Column

_SEPARATOR = bytes(16)
_MARKER = b"\xab\xcd\xefMaxMind.com"

_FIRST_DAY = datetime.date(1970, 1, 1)

_V4 = 0, 1 << 32
_MAPPED = 0xFFFF << 32, 0x10000 << 32
_TEREDO = 0x20010000 << 96, 0x20010001 << 96
_SIX_TO_FOUR = 0x2002 << 112, 0x2003 << 112


def write(file: BinaryIO, content: Content, options: Options, report: Report) -> None:
    """
    :raises OverflowError: more than the format holds: 2**32 nodes and bytes of data.
    """
    report("encoding records", 0.2)
    data = DataSection()
    city = City(options.fields, content.names) if options.shape == "city" else None
    places = _places(content, city.members() if city else flat(options.fields), data)
    report("growing the tree", 0.5)
    leaves = steps_of_all(content, np.where(places < 0, NOTHING, places + len(_SEPARATOR) - 1))
    tree = grow(leaves)
    bits = record_size(len(tree) + len(_SEPARATOR) + len(data))
    report("writing", 0.8)
    for part in chunks(len(tree)):
        file.write(pack(tree.left[part], tree.right[part], bits))
    file.write(_SEPARATOR)
    file.write(bytes(data))
    file.write(_MARKER)
    file.write(encode(_about(content, options, tree, bits, city)))


def _places(content: Content, members: Iterable[Member], data: DataSection) -> Column:
    """Where the data of each record stand; -1 of those that say nothing."""
    columns = [_encoded(content, member, data) for member in members]
    places = []
    known: dict[bytes, int] = {b"": -1}
    for parts in zip(*columns, strict=True):
        members_of = b"".join(parts)
        place = known.get(members_of)
        if place is None:
            size = len(parts) - parts.count(b"")
            place = known[members_of] = data.add(encode_map(size, members_of))
        places.append(place)
    return np.array(places, np.int64)


def _encoded(content: Content, member: Member, data: DataSection) -> Iterable[bytes]:
    """A member's key and value for each record, nothing where there is none."""
    number, combinations = content.combinations(member.fields)
    encoded = []
    for values in combinations:
        value = member.make(*values)
        if value is None or value == {} or value == []:
            encoded.append(b"")
            continue
        part = data.shared(value) if member.is_shared else data.encode(value)
        encoded.append(data.encode(member.key) + part)
    return map(encoded.__getitem__, number.tolist())


def steps_of_all(content: Content, values: Column) -> Steps:
    """The IPv6 space with all of IPv4 in it.

    :param values: of steps, by number of the record.
    """
    v4, v6 = content.v4.with_values(values), content.v6.with_values(values)
    for first, after in (_TEREDO, _SIX_TO_FOUR):
        if (v6.value[v6.between(first, after)] == NOTHING).all():
            v6 = v6.overlaid(first, after, V4_ALIAS)
    v6 = v6.overlaid(*_MAPPED, V4_ALIAS)
    # As one step up to the end of the IPv4 part: those of IPv4 take its place.
    v6 = v6.overlaid(*_V4, V4_ALIAS)
    start = v4.start.then(v6.start[1:])
    return attrs.evolve(v6, start=start, value=np.append(v4.value, v6.value[1:])).merged()


def _about(
    content: Content, options: Options, tree: Tree, bits: int, city: City | None
) -> dict[str, object]:
    """What the map at the end of the file says, by the specification."""
    kind = "ipquery-City" if city else "ipquery"
    date = content.date or _FIRST_DAY
    epoch = (date - _FIRST_DAY).total_seconds()
    return {
        "binary_format_major_version": Uint16(2),
        "binary_format_minor_version": Uint16(0),
        # Not that of the export: the same input gives the same bytes. libmaxminddb refuses 0.
        "build_epoch": Uint64(max(epoch, 1)),
        "database_type": options.database_type or kind,
        "description": {"en": " | ".join(content.sources) or "Exported by ipquery"},
        "ip_version": Uint16(6),
        "languages": sorted(city.languages) if city else [],
        "node_count": len(tree),
        "record_size": Uint16(bits),
    }
