"""Look-ups as they are counted: by outcome and country."""

import re

from ipquery.address import parse
from ipquery.data.record import DataError
from ipquery.metrics import LOOKUPS
from ipquery.serve.api.v1 import V1
from ipquery.serve.http.counts import ONE_OF, Counts, Labels, Tally
from ipquery.special import is_special

FOUND, UNKNOWN, SPECIAL, NO_ADDRESS = "found", "unknown", "special", "no address"
"""The database has a record; it has none; the address is a private or another special-purpose
one; what was given is no address."""
ELSEWHERE = "elsewhere"
"""A remote source, or the cache, has the record."""

# A database may have anything where the code should be. ISO 3166-1 has 250 of these.
_CODE = re.compile("[A-Z]{2}")


class Lookups:
    """Counts them."""

    def __init__(self, v1: V1, counts: Counts) -> None:
        """:param v1: has the snapshot that is current."""
        self._v1 = v1
        self._counts = counts
        self._tallies: dict[tuple[bytes, str, str], Tally] = {}
        self._batches = Tally()
        self._portions = 0
        counts.before_taking(lambda: self._batches.take(counts))

    def tally(self, method: bytes, route: str, status: str) -> Tally:
        """Where answers on the fast way are counted."""
        key = method, route, status
        found = self._tallies.get(key)
        if found is None:
            found = self._tallies[key] = self._counts.tally(*key)
        return found

    def count(self, method: bytes, route: str, status: str, ip: bytes) -> Tally:
        """Count an answer on the fast way that isn't a repeat.

        :param ip: the text of the address, which may be escaped.
        :returns: where it is counted.
        """
        tally = self.tally(method, route, status)
        tally.answered += 1
        # Those of which the time is taken, too.
        if tally.answered % ONE_OF == 1:
            tally.see(self.whence(ip), ONE_OF)
        return tally

    def count_in_batch(self, count: int, ip: bytes) -> None:
        """Count some addresses of a batch.

        :param ip: one of them.
        """
        self._batches.answered += count
        # They come 25 at a time: one of 200.
        if not self._portions % 8:
            self._batches.see(self.whence(ip), count)
        self._portions += 1

    def note(self, ip: str) -> None:
        """Count one that the routes answer from the snapshot."""
        self._counts.add(LOOKUPS, self.whence(ip.encode(errors="replace")))

    def note_elsewhere(self, found: bool) -> None:
        """Count one that the snapshot doesn't know, or isn't asked for first.

        :param found: whether somebody else knows it.
        """
        self._counts.add(LOOKUPS, (ELSEWHERE if found else UNKNOWN, ""))

    def whence(self, ip: bytes) -> Labels:
        """Outcome and country of an address, as the snapshot has it."""
        snapshot = self._v1.snapshot
        try:
            version, number = parse(ip.replace(b"%3A", b":").replace(b"%3a", b":").decode())
            if is_special(version, number):
                return SPECIAL, ""
            answer = snapshot.answer_number(version, number)
            code = snapshot.country_code(answer) if answer else None
        except (ValueError, DataError):
            return NO_ADDRESS, ""
        if not answer:
            return UNKNOWN, ""
        return FOUND, code if code is not None and _CODE.fullmatch(code) else ""
