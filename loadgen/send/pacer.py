"""When the requests of an open loop are due: a kernel timer, as a loop's own go by milliseconds."""

import ctypes
import os
import struct
from collections.abc import Callable

# timerfd_create(2); Python has it from 3.13 on.
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC

# Nanoseconds between two times that requests are due, at least: waking up 5,000 times a
# second takes 3 % of a core. At higher rates, several are due each time.
_SHORTEST = 200_000

_libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """A descriptor that becomes readable at regular times."""

    def __init__(self, begin: int, period: int) -> None:
        """
        :param begin: of the monotonic clock, in nanoseconds: one period before the first time.
        :param period: nanoseconds.
        """
        self._descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        first = begin + period
        # struct itimerspec: interval and first time, each in seconds and nanoseconds
        times = struct.pack("@4l", *divmod(period, 10**9), *divmod(first, 10**9))
        if _libc.timerfd_settime(self._descriptor, _ABSOLUTE, times, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._descriptor)

    def passed(self) -> int:
        """How many times have passed since this was asked last."""
        try:
            return int.from_bytes(os.read(self._descriptor, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """No more times."""
        os.close(self._descriptor)


class Schedule:
    """A constant rate in steps: so many requests at each."""

    def __init__(
        self, rate: float, seconds: float, begin: int, due: Callable[[int, int], None]
    ) -> None:
        """
        :param rate: requests a second.
        :param seconds: for how long; nothing is due later.
        :param begin: of the monotonic clock, in nanoseconds.
        :param due: called with a time and how many requests are due then.
        """
        self._rate = rate
        self._begin = begin
        self._due = due
        self.period = max(_SHORTEST, round(1e9 / rate))
        self._steps = 0
        self._last = round(seconds * 1e9) // self.period
        self._asked = 0

    def advance(self, steps: int) -> int:
        """Go on by so many steps.

        :returns: when the first of them was to be.
        """
        first = self._begin + (self._steps + 1) * self.period
        for _ in range(min(steps, self._last - self._steps)):
            self._steps += 1
            since = self._steps * self.period
            # Counted from the beginning each time, so that roundings don't add up: at one
            # and a half requests a period, periods have one and two in turn.
            total = int(since * self._rate / 1e9 + 1e-6)
            if total > self._asked:
                self._due(self._begin + since, total - self._asked)
                self._asked = total
        return first
