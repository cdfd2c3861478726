"""Objects: all that is known about an address, as ready JSON, for the hot path.

An object is made of pieces that many addresses share::

    {"ip":"1.2.3.4"
    ,"kind":"public","network":"1.2.3.0/24","range":{"first":"1.2.3.0","last":"1.2.3.255"}
    ,"country":"…" to "as_org":null
    ,"sources":{…},"snapshot":"…"}

The second line is the same for all addresses of a network, the third depends on the answer,
and the fourth on what sources it comes from. Those asked for last are kept: 1.2 million
answers would take 500 MB.

An address with a special purpose is nowhere, and nobody's: what a database has there is a word
for the purpose, as ip2region has it for the city, and isn't told.
"""

import struct
from collections.abc import Callable
from socket import AF_INET, inet_ntop, inet_pton
from typing import NamedTuple

from ipquery.address import parse, to_text, unpack_number
from ipquery.data.record import DataError
from ipquery.data.snapshot.finder import Steps, network_length
from ipquery.special import PUBLIC, is_special, kind_of, same_kind

# Some 4 MB of networks, and this much of answers: a worker that has answered 200,000 different
# addresses is 17 MB larger than one that has answered none.
_KEPT_NETWORKS = 16_000
_KEPT_BYTES = 12 << 20

# What Python takes for an answer beside its bytes.
_ENTRY_BYTES = 180

_pack = struct.Struct(">I").pack

# What isn't known here, is no address, or contradicts itself comes to.
_NOTHING_FOUND = (ValueError, IndexError, OverflowError, struct.error, DataError)


class Around(NamedTuple):
    """What kind of address it is, and for how far around it its answer holds: as text."""

    kind: str
    network: str
    first: str
    last: str


class Frame(NamedTuple):
    """What a finder puts around an object: what comes before and behind its length in bytes,
    which is written in decimal digits, and then the object."""

    before_length: bytes
    after_length: bytes


def around(version: int, number: int, first: int, last: int) -> Around:
    """What is around an address.

    :param first: the first and
    :param last: the last address of the range that has its answer.
    """
    length = network_length(version, number, first, last)
    free = (32 if version == 4 else 128) - length
    network = to_text(version, number >> free << free)
    return Around(
        kind_of(version, number),
        f"{network}/{length}",
        to_text(version, first),
        to_text(version, last),
    )


# Of the addresses of a /8, if all are of one kind.
_KINDS = [
    kind_of(4, octet << 24) if same_kind(4, octet << 24, (octet + 1 << 24) - 1) else None
    for octet in range(256)
]

# Whether some of them may have a special purpose.
_MIXED = bytes(kind != PUBLIC for kind in _KINDS)


class _Endings:
    """How objects end, by number of the answer: its members, and its sources with what
    follows them, of which a snapshot has some ten different ones."""

    def __init__(
        self, members: Callable[[int], bytes], sources: Callable[[int], bytes], closing: bytes
    ) -> None:
        self.kept: dict[int, tuple[bytes, bytes]] = {}
        self._members, self._sources, self._closing = members, sources, closing
        self._shared: dict[bytes, bytes] = {}
        self._bytes = 0

    def of(self, answer: int) -> tuple[bytes, bytes]:
        """Those of an answer, which are kept from now on."""
        found = self.kept.get(answer)
        if found is not None:
            return found
        end = b',"sources":{%b}%b' % (self._sources(answer), self._closing)
        if len(self._shared) > _KEPT_NETWORKS:
            self._shared.clear()
        found = b"," + self._members(answer), self._shared.setdefault(end, end)
        # All at once, as the array's finder does.
        self._bytes += len(found[0]) + _ENTRY_BYTES
        if self._bytes > _KEPT_BYTES:
            self.kept.clear()
            self._bytes = len(found[0]) + _ENTRY_BYTES
        self.kept[answer] = found
        return found


def _make_network_of(starts: memoryview, kept: dict[int, bytes]) -> Callable[[int, int], bytes]:
    """What tells how the object of an IPv4 address goes on: what :func:`around` says, in a
    fifth of the time, as of addresses that are asked for at random hardly any is kept.

    :param starts: first addresses of the steps.
    :param kept: by the first 24 bits of an address.
    """
    steps = len(starts)

    def network_of(address: int, place: int) -> bytes:
        first = starts[place - 1]
        after = starts[place] if place < steps else 1 << 32
        before = first - 1 & 0x1FFFFFFFF
        free = min((address ^ before).bit_length(), (address ^ after).bit_length()) - 1
        kind = _KINDS[address >> 24]
        found = (
            f'","kind":"{kind or kind_of(4, address)}","network":"'
            f"{inet_ntop(AF_INET, _pack(address >> free << free))}/{32 - free}"
            f'","range":{{"first":"{inet_ntop(AF_INET, _pack(first))}'
            f'","last":"{inet_ntop(AF_INET, _pack(after - 1))}"}}'
        ).encode()
        if free >= 8 and kind is not None:
            if len(kept) >= _KEPT_NETWORKS:
                kept.clear()
            kept[address >> 8] = found
        return found

    return network_of


def _told(version: int, number: int, answer: int, finds_unknown: bool) -> int:
    """The number of the answer that is told of an address which has this one.

    :raises ValueError: it isn't known here.
    """
    if is_special(version, number):
        return 0
    if not answer and not finds_unknown:
        raise ValueError("not known here")
    return answer


def _v6_beginning(number: int, first: int, last: int) -> bytes:
    kind, network, begin, end = around(6, number, first, last)
    return (
        f'{to_text(6, number)}","kind":"{kind}","network":"{network}'
        f'","range":{{"first":"{begin}","last":"{end}"}}'
    ).encode()


def make_object_finder(
    steps: Steps,
    members: Callable[[int], bytes],
    sources: Callable[[int], bytes],
    snapshot: str,
    frame: Frame,
    finds_unknown: bool = True,
) -> Callable[[bytes], bytes | None]:
    """A look-up from the bytes of an address to its object, in a frame.

    :param members: all fields of the answer with a number, as members of a JSON object; those
        of 0 are all unknown.
    :param sources: likewise the members of ``sources``.
    :param snapshot: the object's member of this name.
    :param finds_unknown: whether public addresses without a record have an object here.
    :returns: a function that returns ``None`` if there is nothing to say, or it was given no
        address.
    """
    before, after = frame
    after += b'{"ip":"'
    skipped = len(b'{"ip":"')
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    endings = _Endings(members, sources, b',"snapshot":"%b"}' % snapshot.encode())
    ending_of, kept_endings = endings.of, endings.kept
    kept_networks: dict[int, bytes] = {}
    network_of = _make_network_of(steps.v4_first, kept_networks)

    # A file that contradicts itself finds nothing here; the routes say what is wrong.
    def find_other(ip: bytes) -> bytes | None:
        try:
            version, number = parse(ip.decode())
            if version == 4:
                return find(to_text(4, number).encode())
            answer, first, last = steps.locate(6, number)
            answer = _told(6, number, answer, finds_unknown)
            body = _v6_beginning(number, first, last) + b"".join(ending_of(answer))
        except _NOTHING_FOUND:
            return None
        return b"%b%d%b%b" % (before, skipped + len(body), after, body)

    # In one body for what is kept. What inet_pton takes for an IPv4 address is written in one
    # way only.
    def find(ip: bytes) -> bytes | None:
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
        except (OSError, ValueError):
            return find_other(ip)
        try:
            place = slots[address >> shift]
            if place >= places:
                place = place_inside(place, address)
            answer = answers[place]
            if not answer or _MIXED[address >> 24]:
                answer = _told(4, address, answer, finds_unknown)
            block = address >> 8
            network = kept_networks.get(block) or network_of(address, place)
            known, rest = kept_endings.get(answer) or ending_of(answer)
        except _NOTHING_FOUND:
            return None
        length = skipped + len(ip) + len(network) + len(known) + len(rest)
        return b"%b%d%b%b%b%b%b" % (before, length, after, ip, network, known, rest)

    return find
