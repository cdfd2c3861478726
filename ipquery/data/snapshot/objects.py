"""Texts of addresses: what is said of them, made of pieces that many share, on the hot path.

The object of ``/v1/ip/{ip}`` is one such text, and the largest::

    {"ip":"1.2.3.4","kind":"public","network":"1.2.3.0/24","range":{…}
    ,"country":"…" to "as_org":null
    ,"sources":{…},"snapshot":"…"}

The first line depends on the address, the second on its answer, and the third on what sources
that comes from. A template says what of it is told and where; the pieces of the answers asked
for last are kept, as those of 1.2 million answers would take 500 MB.

An address with a special purpose is nowhere, and nobody's: what a database has there is a word
for the purpose, as ip2region has it for the city, and isn't told.
"""

import itertools
import struct
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from socket import AF_INET, inet_pton
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import attrs

from ipquery.address import parse, to_text, unpack_number
from ipquery.data.record import DataError
from ipquery.data.snapshot.finder import Steps, network_text
from ipquery.special import PUBLIC, is_special, kind_of, same_kind

Find = Callable[[bytes], bytes | None]
"""From the bytes of an address to what is said of it; ``None`` if it was given no address, or if
there is nothing to say."""

ENTRY_BYTES = 180
"""What Python takes for something that is kept, beside its bytes."""

# What isn't known here, is no address, or contradicts itself comes to.
_NOTHING_FOUND = (ValueError, IndexError, OverflowError, struct.error, DataError)


class Around(NamedTuple):
    """What kind of address it is, and for how far around it its answer holds: as text."""

    kind: str
    network: str
    first: str
    last: str


def around(version: int, number: int, first: int, last: int) -> Around:
    """What is around an address.

    :param first: the first and
    :param last: the last address of the range that has its answer.
    """
    return Around(
        kind_of(version, number),
        network_text(version, number, first, last),
        to_text(version, first),
        to_text(version, last),
    )


OF_ADDRESS = ("ip", *Around._fields)
"""What depends on the address, in the order of a template's first places."""

# An IPv4 address as two halves, see _halves, and the length of a network apart: the forms of
# those places, and how many values each takes.
_V4_FORMS = (b"%b", b"%b", b"%b.%b/%b", b"%b.%b", b"%b.%b")
_V4_WIDTHS = (1, 1, 3, 2, 2)


def _pick(order: Sequence[int], of_address: int) -> Callable[[tuple[bytes, ...]], Any]:
    """
    :param of_address: how many values there are before the pieces, each of which is told.
    """
    # What is in order already, as of whole objects, is passed on as it is.
    is_all = len(order) >= of_address and [*order] == [*range(len(order))]
    return tuple if is_all else itemgetter(*order)


@attrs.frozen(eq=False)
class Template:
    """What texts of one form have in common, and what is filled in.

    ``text`` has a ``%b`` for each place in ``order``: first those of :data:`OF_ADDRESS`, by
    number, and after them the pieces of the answer.
    """

    text: bytes
    order: tuple[int, ...]
    _pick: Callable[[tuple[bytes, ...]], Any] = attrs.field(init=False)

    @_pick.default
    def _make_pick(self) -> Callable[[tuple[bytes, ...]], Any]:
        return _pick(self.order, len(OF_ADDRESS))

    @property
    def needs_address(self) -> bool:
        """Whether anything depends on the address."""
        return any(place < len(OF_ADDRESS) for place in self.order)

    @property
    def needs_around(self) -> bool:
        """Whether more than the address itself does."""
        return any(0 < place < len(OF_ADDRESS) for place in self.order)

    def fill(self, ip: bytes, around: Around | None, pieces: Sequence[bytes]) -> bytes:
        """A text.

        :param ip: an address in its usual spelling.
        :param around: may be ``None`` if it isn't needed.
        :param pieces: of its answer.
        """
        given = [text.encode() for text in around] if around else _NOTHING
        filled: bytes = self.text % self._pick((ip, *given, *pieces))
        return filled

    def cut(self) -> tuple["Template", bytes, int]:
        """Cut where nothing more depends on the address.

        :returns: what comes before, the text behind, and how many pieces that takes, the last
            ones of an answer.
        """
        is_piece = [place >= len(OF_ADDRESS) for place in self.order]
        count = len([*itertools.takewhile(bool, reversed(is_piece))])
        at = len(self.order) - count
        literals = self.text.split(b"%b")
        start = Template(b"%b".join(literals[: at + 1]), self.order[:at])
        return start, b"%b".join([b"", *literals[at + 1 :]]), count

    def for_v4(self) -> tuple[bytes, Callable[[tuple[bytes, ...]], Any]]:
        """The same to be filled with halves of IPv4 addresses: the text, and what puts in order
        the address, its kind, the network's halves and length, those of the range's ends, and
        the pieces."""
        literals = self.text.split(b"%b")
        parts, order = [literals[0]], list[int]()
        for place, literal in zip(self.order, literals[1:], strict=True):
            is_piece = place >= len(OF_ADDRESS)
            parts += [b"%b" if is_piece else _V4_FORMS[place], literal]
            begin = sum(_V4_WIDTHS[:place]) + max(place - len(OF_ADDRESS), 0)
            order += range(begin, begin + (1 if is_piece else _V4_WIDTHS[place]))
        return b"".join(parts), _pick(order, sum(_V4_WIDTHS))


_NOTHING = (b"",) * len(Around._fields)


class Store(dict[Any, Any]):
    """Texts by the number of what they are of."""

    __slots__ = ("__weakref__",)


class Kept:
    """What look-ups keep, all of them together no more than so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        # As long as their look-ups are in use.
        self._stores: WeakValueDictionary[int, Store] = WeakValueDictionary()
        self._numbers = itertools.count()

    def store(self) -> Store:
        """Another store."""
        store = Store()
        self._stores[next(self._numbers)] = store
        return store

    def make_room(self, size: int) -> None:
        """Call it before something of so many bytes is stored, :data:`ENTRY_BYTES` among them."""
        # All at once, as the array's finder does.
        if self._used + size > self._most:
            self._clear()
        self._used += size

    def _clear(self) -> None:
        self._used = 0
        for store in self._stores.values():
            store.clear()


# To empty what is full at once would keep nothing of addresses that come round in turn, if they
# are a few too many. So what is there stays, until this many times as much has been offered.
_PATIENCE = 4


class Often(Kept):
    """The same of what may be asked for again, or never: not all of it is stored."""

    def has_room(self, size: int) -> bool:
        """Whether something of so many bytes is to be stored."""
        self._used += size
        if self._used <= self._most:
            return True
        if self._used > _PATIENCE * self._most:
            self._clear()
        return False


class Framing(NamedTuple):
    """What stands before texts, and where they are kept with it, by address as it was given."""

    head_of: Callable[[int], bytes]
    """From the size of a text in bytes to what stands before it."""
    often: Often


class Said:
    """What a template says of answers: shared by all look-ups that go by it."""

    def __init__(
        self, template: Template, pieces_of: Callable[[int], tuple[bytes, ...]], kept: Kept
    ) -> None:
        """
        :param pieces_of: the pieces of the answer with a number; 0 is none. As some of them are
            those of thousands of answers, it makes room for their bytes itself.
        :param kept: where those are kept.
        """
        self.start, self._rest, self._count = template.cut()
        """What makes of an address all that comes before the rest."""
        self.rests = kept.store()
        """By answer: the rest of the text, and pieces for the start."""
        self.kept = kept
        self._pieces_of = pieces_of

    def make(self, answer: int) -> tuple[bytes, tuple[bytes, ...]]:
        """What isn't there."""
        pieces = self._pieces_of(answer)
        at = len(pieces) - self._count
        rest = self._rest % pieces[at:]
        # In one piece: two would take longer to join, each time.
        self.kept.make_room(ENTRY_BYTES + sum(map(len, pieces[at + 1 :])))
        made = self.rests[answer] = rest, pieces[:at]
        return made


# Of the addresses of a /8: whether some of them may have a special purpose.
_MIXED = bytes(
    not same_kind(4, octet << 24, (octet + 1 << 24) - 1) or kind_of(4, octet << 24) != PUBLIC
    for octet in range(256)
)


@cache
def _halves() -> Sequence[bytes]:
    """All halves of IPv4 addresses as text: 4 MB. With them a network and both ends of its
    range take 1.2 us to write, with ``inet_ntop`` 2.8."""
    return [b"%d.%d" % divmod(half, 256) for half in range(1 << 16)]


_LENGTHS = [b"%d" % (32 - free) for free in range(33)]


def make_text_finder(  # noqa: C901 # in one body, see below
    steps: Steps, said: Said, finds_unknown: bool = True, framing: Framing | None = None
) -> Find:
    """A look-up of the texts that a template makes of addresses.

    :param finds_unknown: whether there is something to say of public addresses without a record.
        Of those with a special purpose there always is.
    :param framing: for texts that have something before them.
    """
    slots, shift, answers, starts = steps.v4_slots, steps.shift, steps.v4_answer, steps.v4_first
    places, place_inside = len(answers), steps.place_inside
    halves, lengths, fill_in = _halves(), _LENGTHS, said.start.fill
    rests, make = said.rests, said.make
    text, pick = said.start.for_v4()
    public = PUBLIC.encode()
    often, put = (Store(), _put) if framing is None else _make_framed(framing, said.kept)

    def find_other(ip: bytes) -> bytes | None:
        try:
            version, number = parse(ip.decode())
            answer, first, last = steps.locate(version, number)
            if is_special(version, number):
                answer = 0
            elif not answer and not finds_unknown:
                return None
            of_range = around(version, number, first, last)
            rest, others = rests.get(answer) or make(answer)
            return put(ip, fill_in(to_text(version, number).encode(), of_range, others), rest)
        # A file that contradicts itself finds nothing here; the routes say what is wrong.
        except _NOTHING_FOUND:
            return None

    # All in one body, as calls would add to every look-up. What inet_pton takes for an
    # IPv4 address is written in one way only.
    def find(ip: bytes) -> bytes | None:
        known = often.get(ip)
        if known is not None:
            return b"".join(known)
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
        except (OSError, ValueError):
            return find_other(ip)
        kind = public
        try:
            place = slots[address >> shift]
            if place >= places:
                place = place_inside(place, address)
            answer = answers[place]
            if not answer or _MIXED[address >> 24]:
                if is_special(4, address):
                    answer, kind = 0, kind_of(4, address).encode()
                elif not answer and not finds_unknown:
                    return None
            first, after = starts[place - 1], starts[place]
            rest, others = rests.get(answer) or make(answer)
            # As network_length has it.
            below = (address ^ first - 1 & 0x1FFFFFFFF).bit_length()
            above = (address ^ after).bit_length()
            free = (below if below < above else above) - 1
            network, last = address >> free << free, after - 1
            values = (
                ip,
                kind,
                halves[network >> 16],
                halves[network & 0xFFFF],
                lengths[free],
                halves[first >> 16],
                halves[first & 0xFFFF],
                halves[last >> 16],
                halves[last & 0xFFFF],
            )
            return put(ip, text % pick(values + others), rest)
        except IndexError:
            return find_other(ip)  # of the last range, which nothing comes after
        except _NOTHING_FOUND:
            return None

    return find


def _put(ip: bytes, start: bytes, rest: bytes) -> bytes:
    return start + rest


def _make_framed(framing: Framing, kept: Kept) -> tuple[Store, Callable[..., bytes]]:
    """What is kept by address, and what puts a text together and keeps it."""
    head_of, often = framing
    known, has_room = often.store(), often.has_room
    # Texts have a few hundred different sizes.
    heads = kept.store()

    def make_head(size: int) -> bytes:
        head = head_of(size)
        kept.make_room(len(head) + ENTRY_BYTES)
        heads[size] = head
        return head

    def put(ip: bytes, start: bytes, rest: bytes) -> bytes:
        size = len(start) + len(rest)
        parts = heads.get(size) or make_head(size), start, rest
        if has_room(len(ip) + len(start) + ENTRY_BYTES):
            known[ip] = parts
        return b"".join(parts)

    return known, put


def make_part_finder(
    steps: Steps, say: Callable[[int], bytes], kept: Kept, finds_unknown: bool = True
) -> Find:
    """A look-up of texts that don't depend on the address, but for its answer.

    :param say: from the number of an answer to what is found; 0 is none. Never empty.
    :param kept: where that is kept.
    :param finds_unknown: see :func:`make_text_finder`.
    """
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    said = kept.store()

    def make(answer: int) -> bytes:
        found = say(answer)
        kept.make_room(len(found) + ENTRY_BYTES)
        said[answer] = found
        return found

    def find(ip: bytes) -> bytes | None:
        try:
            try:
                (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
            except (OSError, ValueError):
                version, address = parse(ip.decode())
                answer = steps.answer(version, address)
                is_mixed = version == 6 or _MIXED[address >> 24]
            else:
                version = 4
                place = slots[address >> shift]
                if place >= places:
                    place = place_inside(place, address)
                answer = answers[place]
                is_mixed = _MIXED[address >> 24]
            if not answer or is_mixed:
                if is_special(version, address):
                    answer = 0
                elif not answer and not finds_unknown:
                    return None
            found: bytes = said.get(answer) or make(answer)
            return found
        except _NOTHING_FOUND:
            return None

    return find
