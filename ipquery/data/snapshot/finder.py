"""The hot path: from an address to the step that holds it, and to its answer."""

import itertools
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from socket import AF_INET, AF_INET6, inet_pton

import attrs

from ipquery.address import V4_LAST, V6_LAST, parse, to_text, unpack_number
from ipquery.data.snapshot.layout import WINDOW

_V6_LOW = 2**64 - 1
# About 4 MB of responses in each serving process, which then has 45 MB of its own. Of the default
# database, 65,000 random addresses have so many different answers.
_KEPT_ANSWERS = 18_000
# Of 0.2 KB each.
_KEPT_SPANS = 16384

_unpack_halves = struct.Struct(">QQ").unpack


@attrs.frozen(eq=False)
class Steps:
    """Where the answer changes in both address spaces; columns as the layout has them."""

    v4_slots: memoryview
    v4_first: memoryview
    v4_answer: memoryview
    v6_high: memoryview
    v6_low: memoryview
    v6_answer: memoryview
    shift: int = attrs.field(init=False)  # how far an address has to be, to be its slot
    window: int = attrs.field(init=False)

    @shift.default
    def _shift(self) -> int:
        return 33 - len(self.v4_slots).bit_length()

    @window.default
    def _window(self) -> int:
        return min(WINDOW, len(self.v4_first))

    def place(self, version: int, number: int) -> int:
        """Where the answer for an address stands in the column of answers, from 1."""
        if version == 4:
            place = self.v4_slots[number >> self.shift]
            return place if place < len(self.v4_answer) else self.place_inside(place, number)
        high = number >> 64
        end = bisect_right(self.v6_high, high)
        if self.v6_high[end - 1] != high:
            return end
        # Steps with the same upper half are told apart by the lower one.
        begin = bisect_left(self.v6_high, high, 0, end)
        return bisect_right(self.v6_low, number & _V6_LOW, begin, end)

    def answer(self, version: int, number: int) -> int:
        """The number of the answer for an address, 0 where there is no record."""
        answers = self.v4_answer if version == 4 else self.v6_answer
        return answers[self.place(version, number)]

    def place_inside(self, slot: int, number: int) -> int:
        """The place for an IPv4 address in whose slot steps begin.

        :param slot: what is at the slot.
        """
        begin = slot - len(self.v4_answer)
        end = begin + self.window
        place = bisect_right(self.v4_first, number, begin, end)
        if place < end:
            return place
        # No more steps begin in a slot than it has addresses.
        last = min(end + (1 << self.shift), len(self.v4_first))
        return bisect_right(self.v4_first, number, end, last)

    def locate(self, version: int, number: int) -> tuple[int, int, int]:
        """The number of an address's answer, and the first and last address of the range
        around it that has this answer."""
        place = self.place(version, number)
        answers = self.v4_answer if version == 4 else self.v6_answer
        return answers[place], *self.ends(version, place)

    def ends(self, version: int, place: int) -> tuple[int, int]:
        """The first and the last address of the range whose answer stands at a place."""
        if version == 4:
            starts = self.v4_first
            last = starts[place] - 1 if place < len(starts) else V4_LAST
            return starts[place - 1], last
        last = self._v6_first(place) - 1 if place < len(self.v6_low) else V6_LAST
        return self._v6_first(place - 1), last

    def _v6_first(self, step: int) -> int:
        return self.v6_high[step] << 64 | self.v6_low[step]

    def ranges(self, version: int) -> Iterator[tuple[int, int, int]]:
        """All of an address space in order: first and last address, answer number."""
        starts: Iterator[int]
        if version == 4:
            starts, answers, end = iter(self.v4_first), self.v4_answer, V4_LAST + 1
        else:
            halves = zip(self.v6_high, self.v6_low, strict=True)
            starts, answers, end = (h << 64 | low for h, low in halves), self.v6_answer, V6_LAST + 1
        first = next(starts)
        for after, number in zip(itertools.chain(starts, [end]), answers[1:], strict=True):
            yield first, after - 1, number
            first = after


def network_length(version: int, number: int, first: int, last: int) -> int:
    """The length of the largest prefix that holds an address and lies inside a range.

    A block of 2**k addresses around the address begins inside the range if the address
    and the one before the range differ in bit k or above; likewise at its end.
    """
    bits = 32 if version == 4 else 128
    # Before the first address of the space stands a number that differs in every bit.
    before = (first - 1) & ((2 << bits) - 1)
    free = min((number ^ before).bit_length(), (number ^ (last + 1)).bit_length()) - 1
    return bits - free


def network_text(version: int, number: int, first: int, last: int) -> str:
    """The prefix of :func:`network_length`, as ``1.2.3.0/24``."""
    length = network_length(version, number, first, last)
    free = (32 if version == 4 else 128) - length
    return f"{to_text(version, number >> free << free)}/{length}"


def make_finder(
    steps: Steps, answer: Callable[[int], bytes], prepare: Callable[[bytes], bytes]
) -> Callable[[bytes], bytes | None]:
    """See :meth:`ipquery.data.snapshot.Snapshot.finder`."""
    slots, shift, answers = steps.v4_slots, steps.shift, steps.v4_answer
    places, place_inside = len(answers), steps.place_inside
    prepared, fill = _make_prepared(answer, prepare)

    find_other = _make_v6_find(steps, prepared, fill)

    # Locals, and no inner call for three addresses in four: 0.6 us instead of 1.1.
    def find(ip: bytes) -> bytes | None:
        # An IPv4 address has 15 characters at most, an IPv6 address that somebody has most
        # often more: to try it as IPv4 first would take a microsecond.
        if len(ip) > 15:
            return find_other(ip)
        try:
            (address,) = unpack_number(inet_pton(AF_INET, ip.decode()))
        except (OSError, ValueError):
            return find_other(ip)
        try:
            place = slots[address >> shift]
            if place >= places:
                place = place_inside(place, address)
            number = answers[place]
            return prepared[number]
        except KeyError:
            return fill(number)
        except IndexError:
            return None

    return find


def _make_v6_find(
    steps: Steps, prepared: dict[int, bytes | None], fill: Callable[[int], bytes]
) -> Callable[[bytes], bytes | None]:
    """The same for IPv6, and for what is no address.

    A file that contradicts itself finds nothing here; the routes say what is wrong.
    """
    highs, lows, v6_answers = steps.v6_high, steps.v6_low, steps.v6_answer
    spans, span_of = _make_spans(highs)

    def find(ip: bytes) -> bytes | None:
        try:
            high, low = _unpack_halves(inet_pton(AF_INET6, ip.decode()))
            if high:
                begin, end = spans.get(high >> 32) or span_of(high >> 32)
                place = bisect_right(highs, high, begin, end)
                if highs[place - 1] == high:
                    # Steps with the same upper half are told apart by the lower one.
                    place = bisect_right(lows, low, bisect_left(highs, high, begin, place), place)
                number = v6_answers[place]
            else:
                number = steps.answer(*parse(ip.decode()))  # it may carry an IPv4 address
            return prepared[number]
        except KeyError:
            return fill(number)
        except (OSError, ValueError, IndexError):
            return None

    return find


def _make_prepared(
    answer: Callable[[int], bytes], prepare: Callable[[bytes], bytes]
) -> tuple[dict[int, bytes | None], Callable[[int], bytes]]:
    """What look-ups return, by answer number, and what fills in one that isn't there."""
    # By answer number. A list with a place for each would save 20 ns, and take 10 MB in
    # every worker for the 1.2 million of a large blend, most of which nobody asks for.
    prepared: dict[int, bytes | None] = {0: None}

    def fill(number: int) -> bytes:
        # All at once: keeping the order of use would slow down every hit, and what
        # is asked for often is soon back.
        if len(prepared) > _KEPT_ANSWERS:
            prepared.clear()
            prepared[0] = None
        found = prepared[number] = prepare(answer(number))
        return found

    return prepared, fill


def _make_spans(
    highs: memoryview,
) -> tuple[dict[int, tuple[int, int]], Callable[[int], tuple[int, int]]]:
    """Where the IPv6 steps of a /32 begin and end, by its number, and what fills in one that
    isn't there.

    A /32 is what a provider has at least, and among its steps it takes a third of the bisection
    that it takes among millions.
    """
    spans: dict[int, tuple[int, int]] = {}

    def span_of(block: int) -> tuple[int, int]:
        if len(spans) >= _KEPT_SPANS:
            spans.clear()
        span = bisect_left(highs, block << 32), bisect_left(highs, block + 1 << 32)
        spans[block] = span
        return span

    return spans, span_of
