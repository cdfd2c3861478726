"""GuardedSite: a site that doesn't answer everybody.

It answers what comes first on a connection in its own way, so that this costs nothing where
there is no guard.
"""

from ipquery.serve.http.client import host_of
from ipquery.serve.http.guard import Gate
from ipquery.serve.http.site import ApiSite


class GuardedSite(ApiSite):
    """See above."""

    def answer_first(
        self, data: bytes, peer: object, gate: Gate | None = None
    ) -> tuple[bytes, bool] | None:
        """See :meth:`ApiSite.answer_first`."""
        host, guard = host_of(peer), self.guard
        assert guard is not None
        # A full or draining worker has no time to make gates that nothing comes to.
        if guard.needs_transport or self.draining or self._is_full:
            return None
        gate = guard.gate(host, self.forwarding_of(host))
        return super().answer_first(data, peer, gate)
