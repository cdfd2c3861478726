"""How often a client may ask: a token bucket for each.

A bucket holds a number of tokens, a request takes one, and so many come back in a second until
it is full. All that is kept of one is when it will be full again: the generic cell rate algorithm
(ITU-T I.371), in whole nanoseconds, so that nothing is lost by rounding.

What is kept is bounded. A client that isn't there has a full bucket, so those that are full again
are let go, two for each new one, beginning with those that asked longest ago. Where all that there
is room for are in use, the one that asked longest ago is forgotten: it gets a full bucket, and
nobody is refused for what others do.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache

from ipquery.address import parse
from ipquery.serve.guard.settings import LimitSettings

_SECOND = 1_000_000_000

# Addresses whose bucket, and numbers whose header fields, needn't be worked out again: less than
# 200 bytes each.
_KNOWN = 4096


class Buckets:
    """The buckets of all clients of a worker."""

    def __init__(self, settings: LimitSettings, now: Callable[[], int] = time.monotonic_ns) -> None:
        """:param now: a clock, in nanoseconds."""
        self.forgotten = 0
        """How many clients were forgotten so far whose buckets weren't full."""
        self._now = now
        self._interval = _SECOND // settings.requests_per_second
        self._span = settings.burst * self._interval
        self._most = settings.clients
        self._shifts = {4: 32 - settings.ipv4_prefix, 6: 128 - settings.ipv6_prefix}
        self._full_at: OrderedDict[int, int] = OrderedDict()
        window = -(-self._span // _SECOND)
        self._policy = f'"default";q={settings.burst};w={window}'
        self.take = self._make_take()
        """Take a token from the bucket of a key: the header fields that tell what is left, as they
        are sent; ``None`` if there is no token."""
        self.key_of = lru_cache(_KNOWN)(self._key_of)
        """Whose bucket a client's requests take from; ``None`` for one on a UNIX socket, who may
        ask as often as it likes."""

    @property
    def kept(self) -> int:
        """Of how many clients there is something to be kept."""
        return len(self._full_at)

    def _key_of(self, client: str | None) -> int | None:
        if client is None:
            return None
        version, number = parse(client.partition("%")[0])
        prefix = number >> self._shifts[version]
        return prefix if version == 4 else ~prefix

    def wait(self, key: int | None) -> int:
        """Nanoseconds until there is a token in a bucket, 0 or less if there is one."""
        full_at = None if key is None else self._full_at.get(key)
        return 0 if full_at is None else full_at + self._interval - self._span - self._now()

    def _make_take(self) -> Callable[[int | None], bytes | None]:
        # Not a method, so that what it needs is looked up once.
        clock, interval, span, table = self._now, self._interval, self._span, self._full_at
        full_at_of, use_again, make_room = table.get, table.move_to_end, self._make_room
        lines = lru_cache(_KNOWN)(self._lines_of)
        lines_after_one = lines((span - interval) // interval)

        def take(key: int | None) -> bytes | None:
            if key is None:
                return b""
            now = clock()
            before = full_at_of(key)
            if before is None or before <= now:
                # It was full.
                table[key] = now + interval
                told = lines_after_one
            else:
                full_at = before + interval
                left = span - full_at + now
                if left < 0:
                    return None
                table[key] = full_at
                told = lines(left // interval)
            if before is None:
                make_room(now)
            else:
                use_again(key)
            return told

        return take

    def _limit(self, left: int) -> str:
        """What the field RateLimit tells.

        :param left: whole tokens.
        """
        until_full = -(-(self._span - left * self._interval) // _SECOND)
        return f'"default";r={left};t={until_full}'

    def _lines_of(self, left: int) -> bytes:
        text = f"RateLimit-Policy: {self._policy}\r\nRateLimit: {self._limit(left)}\r\n"
        return text.encode()

    def _make_room(self, now: int) -> None:
        """Let go of clients, as there is a new one."""
        table = self._full_at
        for _ in range(2):
            oldest = next(iter(table))
            is_full = table[oldest] <= now
            if not is_full and len(table) <= self._most:
                return
            del table[oldest]
            self.forgotten += not is_full

    def refused(self, wait: int) -> Mapping[str, str]:
        """The header fields of a refusal.

        :param wait: see :meth:`wait`.
        """
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": self._limit(0),
            # RFC 9110 section 10.2.3: whole seconds.
            "Retry-After": str(-(-wait // _SECOND)),
        }
