"""Results kept for the next caller in this process."""

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from ipquery.serve.lookup.resolver import Cached
from ipquery.serve.lookup.upstreams import CacheSettings


class LocalCache:
    """The results used last, in this process."""

    state = "closed"

    def __init__(self, settings: CacheSettings, seconds: Callable[[], float]) -> None:
        self._settings = settings
        self._seconds = seconds
        self._kept: OrderedDict[str, tuple[float, Cached]] = OrderedDict()

    def get(self, key: str) -> Deferred[Cached | None]:
        """What is kept, ``None`` if nothing is."""
        return succeed(self._get(key))

    def _get(self, key: str) -> Cached | None:
        until, result = self._kept.get(key, (0.0, None))
        if result is None:
            return None
        if until <= self._seconds():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return result

    def put(self, key: str, result: Cached) -> None:
        """Keep a result, in place of the one that was used longest ago."""
        self._kept[key] = (self._seconds() + life_time(self._settings, result), result)
        self._kept.move_to_end(key)
        if len(self._kept) > self._settings.entries:
            self._kept.popitem(last=False)

    def stop(self) -> Deferred[None]:
        """There is nothing to close."""
        return succeed(None)


def life_time(settings: CacheSettings, result: Cached) -> int:
    """Seconds that a result is kept."""
    return settings.unknown_seconds if result.answer is None else settings.found_seconds
