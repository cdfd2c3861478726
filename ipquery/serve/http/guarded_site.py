"""GuardedSite: a site that doesn't answer everybody.

It answers what comes first on a connection in its own way, so that this costs nothing where
there is no guard.
"""

from ipquery.serve.http.client import host_of
from ipquery.serve.http.counts import ONE_OF_REPEATS
from ipquery.serve.http.guard import GuardedWay
from ipquery.serve.http.site import ApiSite


class GuardedSite(ApiSite):
    """See above."""

    def answer_first(self, data: bytes, peer: object) -> tuple[bytes, bool] | None:
        """See :meth:`ApiSite.answer_first`."""
        host, guard = host_of(peer), self.guard
        assert guard is not None
        if self.fast_way is None or self.draining or self._is_full or guard.needs_transport:
            return None
        gate = guard.gate(host, self.forwarding_of(host))
        if gate is None:
            return super().answer_first(data, peer)
        if self._answered_first % ONE_OF_REPEATS:
            found = self._repeat(data)
        else:
            found = self._look_at_repeat(data)
        # What it was learnt from has passed, perhaps on another connection.
        told = None if found is None else gate.admit(data)
        if found is None or told is None:
            return self._answer_first_whole(data, peer, GuardedWay(self, self.fast_way, gate))
        self._answered_first += 1
        self._repeat_tally.answered += 1
        if self.access_log is not None:
            self.note_repeated(host, None, data, found, self._log_ending)
        return self.fast_way.head + told + found, self._repeat_is_last
