"""Addresses to ask for: as many different ones as wanted, the same ones for the same seed."""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from socket import AF_INET6, inet_ntop

import numpy as np

from ipquery import DataError, Snapshot, open_snapshot
from ipquery.address import parse, to_text
from loadgen.send.plan import Plan, PlanError

Draw = Callable[[int], list[bytes]]
"""Gives so many addresses, as text."""

Random = np.random.Generator

# 1.0.0.0 to 223.255.255.255: where hosts are.
_V4_FIRST, _V4_END = 0x01000000, 0xE0000000
# 2000::/3: all that is given out (RFC 4291 section 2.4).
_V6_FIRST, _V6_END = 0x20 << 120, 0x40 << 120

# Different addresses of a Zipf distribution: what a node sees in an hour, and more than its
# caches hold, as with real callers.
ZIPF_POPULATION = 100_000
# Studies of requests for web pages found exponents from 0.6 to 1.2.
_ZIPF_EXPONENT = 1.0

NOTATION = "uniform, zipf[:EXPONENT], country:CODE[,CODE]... or file:PATH"


def random_of(seed: int, *more: int) -> Random:
    """A source of chance that nothing but these numbers decide."""
    return np.random.default_rng([seed, *more])


def drawing(plan: Plan) -> Draw:
    """What a process of a run asks for.

    :raises PlanError: the plan's ``addresses`` can't be read, or there are none.
    """
    kind, _, detail = plan.addresses.partition(":")
    chance = random_of(plan.seed, plan.number)
    if kind == "file" and detail:
        return of_file(Path(detail), plan.seed, plan.number)
    if kind == "country" and detail:
        v4, v6 = _of_country(plan, detail, chance)
    elif plan.addresses == "uniform" or kind == "zipf":
        v4, v6 = uniform_v4(chance), uniform_v6(chance)
    else:
        raise PlanError(f"{plan.addresses}: not a choice of addresses; give {NOTATION}")
    if kind != "zipf":
        return mixed(chance, plan.ipv6_share, v4, v6)
    # The popular addresses are the same for all processes.
    shared = random_of(plan.seed)
    population = mixed(shared, plan.ipv6_share, uniform_v4(shared), uniform_v6(shared))
    return zipf(chance, _exponent(detail), population(ZIPF_POPULATION))


def _exponent(detail: str) -> float:
    try:
        exponent = float(detail or _ZIPF_EXPONENT)
    except ValueError:
        exponent = -1
    if not 0 <= exponent <= 10:
        raise PlanError(f"zipf:{detail}: the exponent is a number from 0 to 10, as in zipf:1.1")
    return exponent


_OCTETS = [b"%d" % octet for octet in range(256)]
_DOTTED = [octet + b"." for octet in _OCTETS]


def v4_texts(numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[bytes]:
    """IPv4 address numbers as texts.

    From four small tables: 0.2 us each, where inet_ntoa takes 0.6 and a table of
    all upper and lower halves, which no cache holds, 0.5.
    """
    dotted, octets = _DOTTED, _OCTETS
    quads = struct.iter_unpack("4B", numbers.astype(">u4").tobytes())
    return [dotted[a] + dotted[b] + dotted[c] + octets[d] for a, b, c, d in quads]


def uniform_v4(chance: Random) -> Draw:
    """Any host address, each as likely as the other."""
    return lambda count: v4_texts(chance.integers(_V4_FIRST, _V4_END, count))


def _below(chance: Random, end: int) -> int:
    """A number from 0 to before ``end``, which may be longer than a machine word."""
    # With 64 bits more than needed, the remainder favours no number by more than 2**-64.
    length = (end.bit_length() + 64 + 7) // 8
    return int.from_bytes(chance.bytes(length), "big") % end


def uniform_v6(chance: Random) -> Draw:
    """Any address of 2000::/3. Most are nobody's, so most have no record."""

    def draw(count: int) -> list[bytes]:
        numbers = (_V6_FIRST + _below(chance, _V6_END - _V6_FIRST) for _ in range(count))
        return [inet_ntop(AF_INET6, number.to_bytes(16, "big")).encode() for number in numbers]

    return draw


def mixed(chance: Random, ipv6_share: float, v4: Draw, v6: Draw) -> Draw:
    """IPv4 and IPv6 in a proportion."""
    if ipv6_share in (0, 1):
        return v6 if ipv6_share else v4

    def draw(count: int) -> list[bytes]:
        which = (chance.random(count) < ipv6_share).tolist()
        sixes = iter(v6(sum(which)))
        fours = iter(v4(count - sum(which)))
        return [next(sixes if six else fours) for six in which]

    return draw


def zipf(chance: Random, exponent: float, population: Sequence[bytes]) -> Draw:
    """A few often and many seldom: the one of rank k in proportion to k ** -exponent."""
    weights = np.arange(1, len(population) + 1, dtype=float) ** -exponent
    bounds = np.cumsum(weights) / weights.sum()
    last = len(population) - 1

    def draw(count: int) -> list[bytes]:
        ranks = np.minimum(np.searchsorted(bounds, chance.random(count), "right"), last)
        return [population[rank] for rank in ranks.tolist()]

    return draw


def _of_country(plan: Plan, codes: str, chance: Random) -> tuple[Draw, Draw]:
    path = plan.database or plan.expect
    if path is None:
        raise PlanError(f"country:{codes}: name the database with --db or --expect")
    wanted = set(codes.upper().split(","))
    try:
        with open_snapshot(path) as snapshot:
            v4 = list(ranges_of_countries(snapshot, wanted, 4)) if plan.ipv6_share < 1 else []
            v6 = list(ranges_of_countries(snapshot, wanted, 6)) if plan.ipv6_share > 0 else []
    except (OSError, DataError) as error:
        raise PlanError(f"{path}: {error}") from None
    for share, found, version in ((1 - plan.ipv6_share, v4, "IPv4"), (plan.ipv6_share, v6, "IPv6")):
        if share and not found:
            raise PlanError(f"country:{codes}: {path} has no {version} addresses of it")
    return of_ranges_v4(chance, v4), of_ranges_v6(chance, v6)


def ranges_of_countries(
    snapshot: Snapshot, codes: set[str], version: int
) -> Iterator[tuple[int, int]]:
    """First and last address of every range whose country code is one of these."""
    belongs = {0: False}
    for first, last, number in snapshot.ranges(version):
        if number not in belongs:
            belongs[number] = json.loads(snapshot.answer(number))[1] in codes
        if belongs[number]:
            yield first, last


def of_ranges_v4(chance: Random, ranges: list[tuple[int, int]]) -> Draw:
    """Any address of these ranges, each as likely as the other."""
    firsts = np.array([first for first, _ in ranges], dtype=np.int64)
    ends = np.cumsum([last - first + 1 for first, last in ranges], dtype=np.int64)
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])

    def draw(count: int) -> list[bytes]:
        places = chance.integers(0, ends[-1], count)
        found = np.searchsorted(ends, places, "right")
        return v4_texts(firsts[found] + places - begins[found])

    return draw


def of_ranges_v6(chance: Random, ranges: list[tuple[int, int]]) -> Draw:
    """Any of these ranges, each as likely as the other, and any address in it.

    Were each address as likely as the other, only the few largest ranges would be drawn:
    they hold nearly all addresses.
    """

    def draw(count: int) -> list[bytes]:
        picked = (ranges[place] for place in chance.integers(0, len(ranges), count).tolist())
        return [to_text(6, a + _below(chance, b - a + 1)).encode() for a, b in picked]

    return draw


def of_file(path: Path, seed: int = 1, number: int = 0) -> Draw:
    """The addresses of a file, one a line, in an order that the seed decides, again and again.

    Every process has an order of its own, so that all go through all of it.

    :raises PlanError: it can't be read, a line is no address, or there is none.
    """
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError as error:
        raise PlanError(f"{path}: can't read these addresses: {error.strerror}") from None
    texts = []
    for place, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            parse(text)
        except ValueError as error:
            raise PlanError(f"{path}, line {place}: {error}") from None
        texts.append(text.encode())
    if not texts:
        raise PlanError(f"{path}: no addresses in it")
    chance = random_of(seed, number)

    def forever() -> Iterator[bytes]:
        while True:
            for place in chance.permutation(len(texts)).tolist():
                yield texts[place]

    one_by_one = forever()
    return lambda count: list(islice(one_by_one, count))
