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


class Objects:
    """What all object finders of a snapshot make their objects of."""

    def __init__(
        self,
        steps: Steps,
        members: Callable[[int], bytes],
        sources: Callable[[int], bytes],
        snapshot: str,
    ) -> None:
        """
        :param members: all fields of the answer with a number, as members of a JSON object;
            those of 0 are all unknown.
        :param sources: likewise the members of ``sources``.
        :param snapshot: the object's member of this name.
        """
        self.endings = _Endings(members, sources, b',"snapshot":"%b"}' % snapshot.encode())
        self.kept_networks: dict[int, bytes] = {}
        self.network_of = _make_network_of(steps.v4_first, self.kept_networks)


def _slowly(steps: Steps, objects: Objects, ip: bytes, finds_unknown: bool) -> bytes | None:
    """What follows ``{"ip":"`` in the object of an address that isn't IPv4 in its usual text."""
    try:
        version, number = parse(ip.decode())
        if version == 6:
            answer, first, last = steps.locate(6, number)
            beginning = _v6_beginning(number, first, last)
        else:
            place = steps.place(4, number)
            answer = steps.v4_answer[place]
            beginning = to_text(4, number).encode() + objects.network_of(number, place)
        answer = _told(version, number, answer, finds_unknown)
        return beginning + b"".join(objects.endings.of(answer))
    # A file that contradicts itself finds nothing here; the routes say what is wrong.
    except _NOTHING_FOUND:
        return None


def make_object_finder(
    steps: Steps, objects: Objects, frame: Frame, finds_unknown: bool = True
) -> Callable[[bytes], bytes | None]:
    """A look-up from the bytes of an address to its object, in a frame.

    :param finds_unknown: whether public addresses without a record have an object here.
    :returns: a function that returns ``None`` if there is nothing to say, or it was given no
        address.
    """
    before, after = frame
    after += b'{"ip":"'
    skipped = len(b'{"ip":"')
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    ending_of, kept_endings = objects.endings.of, objects.endings.kept
    kept_networks, network_of = objects.kept_networks, objects.network_of

    # In one body for what is kept. What inet_pton takes for an IPv4 address is written in one
    # way only.
    def find(ip: bytes) -> bytes | None:
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
        except (OSError, ValueError):
            body = _slowly(steps, objects, ip, finds_unknown)
            if body is None:
                return None
            return b"%b%d%b%b" % (before, skipped + len(body), after, body)
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


def make_bare_object_finder(steps: Steps, objects: Objects) -> Callable[[bytes], bytes | None]:
    """The same of the object alone, whether there is a record or not.

    In one body as above, for batches: a call more would be an eighth of what it takes.
    """
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    ending_of, kept_endings = objects.endings.of, objects.endings.kept
    kept_networks, network_of = objects.kept_networks, objects.network_of

    def find(ip: bytes) -> bytes | None:
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
        except (OSError, ValueError):
            body = _slowly(steps, objects, ip, finds_unknown=True)
            return None if body is None else b'{"ip":"' + body
        try:
            place = slots[address >> shift]
            if place >= places:
                place = place_inside(place, address)
            answer = answers[place]
            if _MIXED[address >> 24]:
                answer = _told(4, address, answer, finds_unknown=True)
            network = kept_networks.get(address >> 8) or network_of(address, place)
            known, rest = kept_endings.get(answer) or ending_of(answer)
        except _NOTHING_FOUND:
            return None
        return b'{"ip":"%b%b%b%b' % (ip, network, known, rest)

    return find


class Kept:
    """What look-ups keep by number of the answer, all of them together no more than so many
    bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._stores: list[dict[int, bytes]] = []

    def store(self) -> dict[int, bytes]:
        """Another store."""
        store: dict[int, bytes] = {}
        self._stores.append(store)
        return store

    def make_room(self, answer: bytes) -> None:
        """Call it before an answer is stored."""
        size = len(answer) + _ENTRY_BYTES
        # All at once, as the array's finder does.
        if self._used + size > self._most:
            self._used = 0
            for store in self._stores:
                store.clear()
        self._used += size


def make_part_finder(
    steps: Steps, say: Callable[[int], bytes], kept: Kept
) -> Callable[[bytes], bytes | None]:
    """A look-up of parts of objects that don't depend on the address, but for its answer.

    :param say: from the number of an answer to what is found; 0 is none.
    :param kept: where that is kept.
    :returns: a function that returns ``None`` if it was given no address.
    """
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    said = kept.store()

    def fill(answer: int) -> bytes:
        found = say(answer)
        kept.make_room(found)
        said[answer] = found
        return found

    def find_other(ip: bytes) -> bytes | None:
        try:
            version, number = parse(ip.decode())
            answer = _told(version, number, steps.answer(version, number), finds_unknown=True)
        except _NOTHING_FOUND:
            return None
        return said.get(answer) or fill(answer)

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
            if _MIXED[address >> 24]:
                answer = _told(4, address, answer, finds_unknown=True)
        except _NOTHING_FOUND:
            return None
        return said.get(answer) or fill(answer)

    return find
