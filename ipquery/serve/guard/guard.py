"""The guard of a worker, and the gates that it gives to connections."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import ISSLTransport

from ipquery.net.peers import Peers, parse_peers
from ipquery.serve.guard.buckets import Buckets
from ipquery.serve.guard.keys import KEY_FIELDS, Keys, parse_keys
from ipquery.serve.guard.settings import GuardSettings, usual_subject
from ipquery.serve.http.client import Forwarding
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import Gate, Refusal
from ipquery.serve.http.repeat import Passage
from ipquery.serve.http.reply import END_OF_HEAD, Reply

Say = Callable[[bytes, Framing, str, str, Mapping[str, str]], Reply]
"""Tells a refusal in the shape that callers of a target know: from target and framing of the
request, the name of the problem, what it is in this case, and header fields to the reply."""

_NOTHING: Mapping[str, str] = {}

_TOO_OFTEN = "too many requests; Retry-After says when there may be another"

# RFC 6750 section 3.
_WANTED: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class WorkerGuard:
    """Decides who is answered: a :class:`~ipquery.serve.http.guard.Guard`."""

    def __init__(
        self,
        settings: GuardSettings,
        say: Say,
        open_paths: frozenset[bytes],
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """
        :param say: words refusals.
        :param open_paths: what everybody is answered.
        :param now: a clock, in nanoseconds.
        """
        self.buckets = None if settings.limit is None else Buckets(settings.limit, now)
        self.looks_at_fields = settings.keys is not None
        self.keys: Keys | None = None
        """Without one of these, nobody is answered; ``None`` if none is needed."""
        if settings.keys is not None:
            self.keys = Keys(parse_keys(settings.keys))
        self.say = say
        self.open_paths = open_paths
        self._subjects = frozenset(map(usual_subject, settings.subjects))
        self.needs_transport = bool(self._subjects)
        self._allowed: Peers | None = parse_peers(settings.allow) if settings.allow else None

    @property
    def has_networks(self) -> bool:
        """Whether not every client is answered."""
        return self._allowed is not None

    def allows(self, client: str | None) -> bool:
        """Whether a client is in one of the networks.

        :param client: its address; ``None`` for one on a UNIX socket.
        """
        return self._allowed is None or self._allowed.include_host(client)

    def passage(self, fields: Mapping[bytes, bytes]) -> Passage | None:
        """See :class:`~ipquery.serve.http.repeat.Passing`."""
        return None if self.keys is None else self.keys.passage(fields)

    def gate(
        self, host: str | None, forwarding: Forwarding | None, transport: object = None
    ) -> Gate | None:
        """See :class:`~ipquery.serve.http.guard.Guard`."""
        is_certified = not self._subjects or self._is_certified(transport)
        is_for_all = is_certified and self.keys is None and self.buckets is None
        if is_for_all and forwarding is None and self.allows(host):
            return None
        return _Gate(self, host, forwarding, is_certified)

    def _is_certified(self, transport: object) -> bool:
        """Whether the client has shown a certificate with one of the subjects."""
        if not ISSLTransport.providedBy(transport):
            return False
        try:
            certificate = cast(Any, transport).getPeerCertificate()
            return (
                certificate is not None and certificate.subject.rfc4514_string() in self._subjects
            )
        except ValueError:  # one that whoever signed it has made carelessly
            return False


class _Gate:
    """What the requests of one connection have to pass."""

    __slots__ = (
        "_bucket",
        "_forwarding",
        "_guard",
        "_host",
        "_is_certified",
        "admit",
        "watches_repeats",
    )

    def __init__(
        self,
        guard: WorkerGuard,
        host: str | None,
        forwarding: Forwarding | None,
        is_certified: bool,
    ) -> None:
        self._is_certified = is_certified
        buckets = guard.buckets
        # Behind a proxy each request may have another client.
        is_open = forwarding is None or not guard.has_networks
        self.watches_repeats = buckets is not None or not is_open
        self._bucket = None
        if buckets is not None and forwarding is None:
            self._bucket = buckets.key_of(host)
        self._guard = guard
        self._host = host
        self._forwarding = forwarding
        self.admit = self._make_admit()

    def _client(self, framing: Framing) -> str | None:
        forwarding = self._forwarding
        if forwarding is None:
            return self._host
        return forwarding.client(self._host, framing.fields.get(forwarding.field))

    def refuse(self, method: bytes, target: bytes, framing: Framing) -> Refusal | None:
        """See :class:`~ipquery.serve.http.guard.Gate`."""
        guard = self._guard
        if target.partition(b"?")[0] in guard.open_paths:
            return None
        if not self._is_certified:
            why = "a certificate of a client that is allowed here is needed"
            return Refusal(guard.say(target, framing, "not-allowed", why, _NOTHING), "subjects")
        client = self._client(framing)
        if not guard.allows(client):
            who = "your address isn't known" if client is None else f"{client} isn't allowed here"
            return Refusal(guard.say(target, framing, "not-allowed", who, _NOTHING), "allow")
        # Browsers ask by OPTIONS whether a page may send a key, and don't send it yet.
        if guard.keys is None or method == b"OPTIONS" or guard.keys.admit(framing.fields):
            return None if guard.buckets is None else self._throttle(guard.buckets, target, framing)
        is_given = not KEY_FIELDS.isdisjoint(framing.fields)
        why = "this isn't a key that is known" if is_given else "a key is needed"
        return Refusal(guard.say(target, framing, "no-key", why, _WANTED), "keys")

    def _throttle(self, buckets: Buckets, target: bytes, framing: Framing) -> Refusal | None:
        bucket = self._bucket_of(buckets, framing)
        wait = buckets.wait(bucket)
        if wait <= 0:
            return None
        headers = buckets.refused(wait)
        reply = self._guard.say(target, framing, "too-many-requests", _TOO_OFTEN, headers)
        return Refusal(reply, "requests_per_second")

    def _bucket_of(self, buckets: Buckets, framing: Framing) -> int | None:
        if self._forwarding is None:
            return self._bucket
        return buckets.key_of(self._client(framing))

    def take(self, target: bytes, framing: Framing) -> bytes:
        """See :class:`~ipquery.serve.http.guard.Gate`."""
        guard = self._guard
        if guard.buckets is None or target.partition(b"?")[0] in guard.open_paths:
            return b""
        told = guard.buckets.take(self._bucket_of(guard.buckets, framing))
        assert told is not None
        return told

    def _make_admit(self) -> Callable[[bytes], bytes | None]:
        """See :class:`~ipquery.serve.http.guard.Gate`."""
        guard, host, forwarding, bucket = self._guard, self._host, self._forwarding, self._bucket
        buckets = guard.buckets
        take = None if buckets is None else buckets.take
        if forwarding is not None:
            return partial(_admit_forwarded, guard, forwarding, host, self._is_certified)
        if not (self._is_certified and guard.allows(host)):
            return lambda data: None
        return (lambda data: b"") if take is None else (lambda data: take(bucket))


def _admit_forwarded(
    guard: WorkerGuard, forwarding: Forwarding, host: str | None, is_certified: bool, data: bytes
) -> bytes | None:
    """The same behind a proxy, which tells the client in each request."""
    head = data[data.index(b"\r\n") : data.index(END_OF_HEAD) + len(END_OF_HEAD)]
    client = forwarding.client(host, forwarding.told_in(head))
    if not (is_certified and guard.allows(client)):
        return None
    buckets = guard.buckets
    return b"" if buckets is None else buckets.take(buckets.key_of(client))


def make_guard(
    settings: GuardSettings,
    say: Say,
    open_paths: frozenset[bytes],
    now: Callable[[], int] = time.monotonic_ns,
) -> WorkerGuard | None:
    """What the operator wants; ``None`` if everybody is answered.

    See :class:`WorkerGuard` for what it takes.
    """
    return WorkerGuard(settings, say, open_paths, now) if settings.is_on else None
