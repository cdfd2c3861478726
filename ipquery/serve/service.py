"""HttpService: the HTTP side of one process, from listening to drained."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from ipquery.data.snapshot import Snapshot
from ipquery.metrics import DROPPED, LIMITS
from ipquery.serve.alone import Alone
from ipquery.serve.api.admin import some
from ipquery.serve.api.app import Api, Readiness, refusal_of, route_of
from ipquery.serve.api.batch import Batches
from ipquery.serve.api.documents import make_documents
from ipquery.serve.api.express import LONGEST_TARGET, Lane, carrying, without_record
from ipquery.serve.api.figures import Figures
from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.refusals import OPEN_PATHS, Refusals
from ipquery.serve.api.snapshot_file import send_snapshot
from ipquery.serve.api.v1 import V1
from ipquery.serve.api.where import Where
from ipquery.serve.guard.guard import make_guard
from ipquery.serve.guard.keys import Keys
from ipquery.serve.http.access_log import AccessLog, LogFile, in_a_thread
from ipquery.serve.http.counts import Counts
from ipquery.serve.http.fast import nothing
from ipquery.serve.http.guarded_site import GuardedSite
from ipquery.serve.http.lag import Lag
from ipquery.serve.http.log_formats import LOG_FORMATS
from ipquery.serve.http.settings import AccessLogSettings
from ipquery.serve.http.site import ApiSite
from ipquery.serve.lookup.resolver import Cache, Resolver, fingerprint
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings
from ipquery.serve.settings import Settings
from ipquery.serve.totals import HandedOver, Told


class HttpService(Service):
    """Answers from a snapshot on listening sockets."""

    def __init__(
        self,
        reactor: Any,
        endpoints: Sequence[IStreamServerEndpoint],
        snapshot: Snapshot,
        settings: Settings,
        output: int | None = None,
        ask_figures: Callable[[], Deferred[Told]] | None = None,
        admin_endpoints: Sequence[IStreamServerEndpoint] = (),
    ) -> None:
        """
        :param reactor: time.
        :param endpoints: where callers come in.
        :param output: the descriptor of the daemon's standard output, if the access log
            goes there.
        :param ask_figures: tells what all workers have counted; without it this is the only one.
        :param admin_endpoints: where those come in who run the service: if there is any, figures
            are told there alone.
        :raises OSError: the access log or a certificate file can't be opened.
        """
        self._snapshot = snapshot
        self._lane: Lane | None = None
        self.counts = Counts()
        """What this process has counted and not handed over."""
        self._resolver = _make_resolver(
            reactor, snapshot, settings.cache, settings.fallback, self._aim_lane, self.counts
        )
        self._v1 = V1(
            snapshot,
            settings.api,
            self._resolver.asks_nobody,
            reactor.seconds,
            not settings.guard.is_exclusive,
        )
        self._lag = Lag(reactor, self.counts)
        lookups = Lookups(self._v1, self.counts)
        if settings.express and settings.http.request_line_bytes >= LONGEST_TARGET:
            self._lane = Lane(self._v1, lookups=lookups)
        self._readiness = Readiness()
        self._access_log = _open_log(reactor, settings.access_log, output)
        self._alone = None
        if ask_figures is None:
            self._alone = Alone(reactor, self.hand_over)
            ask_figures = self._alone.ask
        make_api = partial(
            Api,
            self._resolver,
            self._readiness,
            self._v1,
            lookups=lookups,
            figures=Figures(ask_figures, time.monotonic),
            give_snapshot=partial(send_snapshot, time=reactor) if settings.api.snapshot else None,
        )
        where = Where.CALLERS if admin_endpoints else Where.EVERYBODY
        self._api = make_api(
            documents=make_documents(settings.page, where, settings.api.snapshot),
            tells_details=not admin_endpoints,
        )
        guard = self._guard = make_guard(
            settings.guard, Refusals(self._v1.cors_headers).say, OPEN_PATHS
        )
        shared = {
            "limits": settings.http,
            "reactor": reactor,
            "access_log": self._access_log,
            "forwarding": settings.client.forwarding,
            "counts": self.counts,
            "route_of": route_of,
            "refusal_of": refusal_of,
        }
        self._site = (ApiSite if guard is None else GuardedSite)(
            some(self._api.app.resource(), where),
            fast_way=self._lane,
            begin_exchange=Batches(
                self._v1, settings.api.batch_addresses, counts=self.counts, lookups=lookups
            ).begin,
            guard=guard,
            **shared,
        )
        self._entered = [(self._site, endpoints)]
        if admin_endpoints:
            # Klein keeps only a weak reference to what its routes are bound to.
            where = Where.OPERATORS
            self._admin_api = make_api(
                documents=make_documents(settings.page, where, settings.api.snapshot)
            )
            # No guard, as nothing is there for callers.
            admin_site = ApiSite(some(self._admin_api.app.resource(), where), **shared)
            self._entered.append((admin_site, admin_endpoints))
        self._aim_lane()
        self._log_dropped = 0
        self.counts.before_taking(self._count_dropped)
        self._clients_forgotten = 0
        self.counts.before_taking(self._count_forgotten)
        self._ports: list[IListeningPort] = []

    def _aim_lane(self) -> None:
        """Say what the lane answers.

        While the cache comes first, it finds nothing, and so leaves all to the
        routes; addresses without a record are its matter if nobody else is asked.
        """
        if self._lane is None:
            return
        snapshot, resolver = self._snapshot, self._resolver
        first, alone = resolver.asks_cache_first, resolver.asks_nobody
        self._lane.aim(
            nothing if first else snapshot.finder(carrying),
            without_record(snapshot.answer_number) if alone else nothing,
        )

    def hand_over(self) -> HandedOver:
        """What was counted since the last time, and how it is now."""
        gauges = self._site.gauges() + self._resolver.gauges()
        return HandedOver(self.counts.take(), gauges)

    def _count_dropped(self) -> None:
        """Count the lines that the access log has left out since the last time."""
        if self._access_log is None or self._access_log.dropped == self._log_dropped:
            return
        before, self._log_dropped = self._log_dropped, self._access_log.dropped
        self.counts.add(DROPPED, ("access",), self._log_dropped - before)

    def _count_forgotten(self) -> None:
        """Count the clients of which the guard had to forget how often they ask."""
        buckets = None if self._guard is None else self._guard.buckets
        if buckets is None or buckets.forgotten == self._clients_forgotten:
            return
        before, self._clients_forgotten = self._clients_forgotten, buckets.forgotten
        self.counts.add(LIMITS, ("clients",), self._clients_forgotten - before)

    def startService(self) -> None:
        """Accept connections, see :meth:`start`."""
        self.start()

    def start(self) -> Deferred[None]:
        """Accept connections.

        :returns: fires when every socket does, and the process is ready.
        """
        super().startService()
        for site, _ in self._entered:
            site.start()
        self._lag.start()
        if self._alone is not None:
            self._alone.start()
        accepting = gatherResults(
            [one.listen(site) for site, endpoints in self._entered for one in endpoints]
        )
        return accepting.addCallback(self._accepting)

    def _accepting(self, ports: list[IListeningPort]) -> None:
        self._ports = ports
        self._readiness.why_not = None

    @property
    def can_accept(self) -> bool:
        """Whether no port is short of what accepting takes, as of open files."""
        # Twisted's own ports, without uvloop, don't say.
        return all(getattr(port, "can_accept", True) for port in self._ports)

    def switch(self, snapshot: Snapshot) -> None:
        """Answer from another snapshot from now on, and close the one before."""
        before, self._snapshot = self._snapshot, snapshot
        self._resolver.snapshot = snapshot
        self._v1.switch(snapshot)
        self._aim_lane()
        before.close()

    def change_keys(self, keys: Keys) -> None:
        """Answer by other API keys from now on. Only where keys are needed."""
        assert self._guard is not None
        self._guard.keys = keys
        self._site.forget_lessons()

    def reopen_log(self) -> None:
        """The access log was rotated: go on in a new file."""
        if self._access_log is not None:
            self._access_log.reopen()

    def stopService(self) -> Deferred[None]:
        """Not ready, stop accepting, drain, then close the files, in this order.

        :returns: fires when every connection is closed.
        """
        super().stopService()
        self._readiness.why_not = "draining"
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await gatherResults([site.drain() for site, _ in self._entered])
        self._lag.stop()
        if self._alone is not None:
            self._alone.stop()
        if self._access_log is not None:
            await self._access_log.close()
        await self._resolver.stop()
        self._snapshot.close()


def _open_log(
    reactor: Any, settings: AccessLogSettings | None, output: int | None
) -> AccessLog | None:
    if settings is None:
        return None
    return AccessLog(
        LogFile(None if settings.is_output else Path(settings.path), output),
        LOG_FORMATS[settings.format],
        in_a_thread(reactor),
        reactor,
        settings.sample,
    )


def _caches_all(cache: CacheSettings) -> bool:
    return cache.redis is not None and cache.scope == "all"


def _make_resolver(
    reactor: Any,
    snapshot: Snapshot,
    settings: CacheSettings,
    sources: Sequence[FallbackSettings],
    on_change: Callable[[], None],
    counts: Counts,
) -> Resolver:
    if not (sources or _caches_all(settings)):
        return Resolver(snapshot)
    # Not above: most services ask nobody, and txredisapi, TLS and an HTTP client
    # would take 6 MB in each worker.
    from ipquery.serve.lookup.local_cache import LocalCache

    cache: Cache = LocalCache(settings, reactor.seconds)
    if settings.redis:
        from ipquery.serve.lookup.redis_cache import RedisCache

        cache = RedisCache(reactor, settings, on_change)
    fallback = None
    if sources:
        from ipquery.serve.lookup.remote import RemoteSources, make_remote_source

        fallback = RemoteSources([make_remote_source(reactor, one) for one in sources], counts)
    return Resolver(
        snapshot,
        cache,
        _caches_all(settings),
        fallback,
        fingerprint(sources),
        counts,
    )
