"""``POST /v1/batch``: many addresses in one request, answered in order.

What each of them is answered with is what ``/v1/ip/{ip}`` says of it, from the snapshot: no
remote source is asked, and no cache, as ten thousand calls to others would take longer than
any caller waits. What can't be answered is told in its place, and the rest goes on.

A batch under way when another snapshot comes goes over to that: each object says which it is
from, and a slow client can't keep an old snapshot in memory.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast

import attrs
from twisted.logger import Logger

from ipquery.address import shorten
from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.metrics import BATCHES, LIMITS
from ipquery.serve.api import cors
from ipquery.serve.api.batch_bodies import (
    ArrayReader,
    Bad,
    Item,
    NdjsonReader,
    Reader,
    Taken,
    TextReader,
)
from ipquery.serve.api.batch_forms import (
    ARRAYS,
    CSV,
    FORMS,
    JSON,
    NDJSON,
    Form,
    bad_entry,
    last_entry,
    line_of_names,
)
from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.negotiation import preferred
from ipquery.serve.api.problems import PROBLEM_JSON, Problem
from ipquery.serve.api.selection import ALL, Selection, parse_selection, select
from ipquery.serve.api.v1 import V1
from ipquery.serve.http.counts import Counts
from ipquery.serve.http.fast import Find
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.refused import Refused
from ipquery.serve.http.reply import Reply

_log = Logger()

PATH = "/v1/batch"
_PATH = PATH.encode()
METHODS = "OPTIONS, POST"
SENT_FIELDS = f"Content-Type, Content-Encoding, {cors.KEYS}"
"""Header fields of a batch that browsers ask about first (CORS)."""

# An address takes 45 characters at most, an object with every field named 500.
_BYTES_FOR_ONE = 600

_BODIES: Mapping[str, tuple[Callable[[], Reader], Form]] = {
    "application/json": (ArrayReader, JSON),
    "application/x-ndjson": (NdjsonReader, NDJSON),
    "text/plain": (TextReader, NDJSON),
}
"""By Content-Type: what reads a body, and the form of its answer if the caller wants no other."""

# Finders that are kept, in a worker that is asked for many selections.
_KEPT_FINDERS = 64

# A portion is over after that: less than a turn. An address takes from 1 us to 30 us, if nothing
# is kept of its answer, so the clock is looked at after a few.
_PORTION_SECONDS = 0.0002
_AT_ONCE, _MOST_ENTRIES = 25, 150

# What http refuses by itself: by status.
_NAMES = {
    400: "bad-request",
    408: "timed-out",
    413: "too-large",
    415: "unsupported-coding",
    417: "unknown-expectation",
    503: "unavailable",
}

# What is understood once and kept: heads up to so many bytes, and so many of them.
_LONGEST_KEPT, _KEPT_PLANS = 512, 256

_select = lru_cache(_KEPT_FINDERS)(select)


class Batches:
    """What the batches of a worker share."""

    def __init__(
        self,
        v1: V1,
        most: int,
        now: Callable[[], float] = time.perf_counter,
        counts: Counts | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        """
        :param most: addresses in one of them.
        :param now: a clock that runs while work is done, in seconds.
        :param counts: where batches are counted, and
        :param lookups: where look-ups are.
        """
        self.counts = counts or Counts()
        self.lookups = lookups or Lookups(v1, self.counts)
        self.most = most
        self.now = now
        self._v1 = v1
        self._snapshot: Snapshot | None = None
        self._finders: dict[tuple[Selection, Form], Find] = {}
        self._plans: dict[tuple[bytes | None, ...], _Plan] = {}

    def begin(self, method: bytes, target: bytes, framing: Framing) -> "Batch | None":
        """See :data:`~ipquery.serve.http.exchange.Begin`."""
        path, _, query = target.partition(b"?")
        if path != _PATH or method != b"POST":
            return None
        fields = framing.fields
        origin = fields.get(b"origin")
        asked = query, fields.get(b"content-type", b""), fields.get(b"accept"), origin
        plan = self._plans.get(asked)
        if plan is None:
            headers = self._headers(origin)
            try:
                plan = self._plan(*asked[:3], headers)
            except Problem as problem:
                reply = problem.reply()
                raise Refused(reply.status, reply=_with(reply, headers)) from None
            if sum(len(text or b"") for text in asked) <= _LONGEST_KEPT:
                if len(self._plans) >= _KEPT_PLANS:
                    self._plans.clear()
                self._plans[asked] = plan
        return Batch(self, plan)

    def _headers(self, origin: bytes | None) -> Mapping[str, str]:
        cors = self._v1.cors_headers(origin)
        varies = "Accept, Accept-Encoding" + (", Origin" if "Vary" in cors else "")
        return {**cors, "Vary": varies}

    def _plan(
        self, query: bytes, content_type: bytes, accept: bytes | None, headers: Mapping[str, str]
    ) -> "_Plan":
        """
        :raises Problem: this can't be answered.
        """
        make_reader, form = _negotiate(content_type, accept)
        selection = parse_selection(query)
        if form is ARRAYS and selection != ALL:
            raise Problem("not-acceptable", f"{form.media} has no fields or languages")
        told = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return _Plan(
            make_reader, form, selection, headers, [(b"Content-Type", form.content_type), *told]
        )

    def finder(self, selection: Selection, form: Form) -> Find:
        """A look-up of what is said of an address, from the snapshot that is current."""
        v1 = self._v1
        if self._snapshot is not v1.snapshot:
            self._snapshot = v1.snapshot
            self._finders.clear()
        found = self._finders.get((selection, form))
        if found is None:
            if len(self._finders) >= _KEPT_FINDERS:
                self._finders.clear()
            found = self._finders[selection, form] = self._make(selection, form)
        return found

    def _make(self, selection: Selection, form: Form) -> Find:
        if form.rendered is None:
            # What has no record isn't told from what is no address: both are null.
            return self._v1.snapshot.finder(lambda answer: answer)
        rendition = self._v1.rendition(selection, form.rendered)
        return self._v1.finder(rendition.as_row() if form is CSV else rendition)


@attrs.frozen(eq=False)
class _Plan:
    """How a batch is read and answered, by what its head says."""

    make_reader: Callable[[], Reader]
    form: Form
    selection: Selection
    """Of those that don't say another."""
    headers: Mapping[str, str]
    """Of every answer."""
    fields: Sequence[tuple[bytes, bytes]]
    """Of an answer with status 200."""


def _negotiate(content_type: bytes, accept: bytes | None) -> tuple[Callable[[], Reader], Form]:
    """What reads the body, and the form of the answer.

    :raises Problem: there is none.
    """
    given = content_type.decode("latin-1")
    body = _BODIES.get(given.partition(";")[0].strip().lower())
    if body is None:
        # RFC 7231 and the W3C's Linked Data Platform, section 7.1: Accept-Post.
        known = ", ".join(_BODIES)
        raise Problem(
            "unsupported-media-type",
            f"Content-Type is {shorten(given)}; it may be {known}",
            {"Accept-Post": known},
        )
    make_reader, usual = body
    forms = [usual, *(form for form in FORMS if form is not usual)]
    place = preferred(
        None if accept is None else accept.decode("latin-1"), [form.media for form in forms]
    )
    if place is None:
        offered = ", ".join(form.media for form in FORMS)
        raise Problem("not-acceptable", f"there are: {offered}")
    return make_reader, forms[place]


def _with(reply: Reply, headers: Mapping[str, str]) -> Reply:
    return attrs.evolve(reply, headers={**headers, **reply.headers})


class Batch:
    """One batch: an :class:`~ipquery.serve.http.exchange.Exchange`."""

    route = PATH

    def __init__(self, batches: Batches, plan: _Plan) -> None:
        self.body_bytes = batches.most * _BYTES_FOR_ONE
        # An array may turn out to be none at its end.
        self.answers_early = plan.make_reader is not ArrayReader
        self.fields = plan.fields
        self._batches = batches
        self._reader = plan.make_reader()
        self._form = plan.form
        self._selection = plan.selection
        self._headers = plan.headers
        self._is_waiting = True
        self._has_ended = False
        self._has_begun = False
        self._taken: Taken = ()
        self._problem: Problem | None = None
        self._count = 0

    @property
    def has_work(self) -> bool:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        return not self._is_waiting

    def feed(self, piece: bytes) -> None:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        self._reader.feed(piece)
        self._is_waiting = False

    def end(self) -> None:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        self._reader.end()
        self._is_waiting, self._has_ended = False, True

    def work(self) -> bytes:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        if self._problem is None:
            entries = self._next_entries()
            if entries:
                return self._joined(entries)
        if self._problem is not None:
            reply = self._problem.reply()
            raise Refused(reply.status, reply=reply)
        return self._ending() if self._is_waiting and self._has_ended else b""

    def _next_entries(self) -> list[bytes]:
        """Those of a portion. What is in the way of more is told behind them."""
        entries: list[bytes] = []
        now = self._batches.now
        ends = now() + _PORTION_SECONDS
        try:
            while len(entries) < _MOST_ENTRIES:
                if not self._taken and not self._take():
                    break
                some, self._taken = self._taken[:_AT_ONCE], self._taken[_AT_ONCE:]
                entries += self._answer(some)
                if now() >= ends:
                    break
        except Problem as problem:
            self._problem = problem
        except DataError:
            _log.failure("answering a batch")
            self._problem = Problem("internal-error")
        return entries

    def _take(self) -> bool:
        """Read on. Whether there may be something to answer now."""
        taken = self._reader.take()
        if taken is None:
            self._is_waiting = True
            return False
        self._taken = taken
        self._count += len(taken)
        if self._count > self._batches.most:
            self._batches.counts.add(LIMITS, ("batch_addresses",))
            raise Problem("too-many-addresses", f"there may be {self._batches.most}")
        return True

    def _answer(self, some: Taken) -> list[bytes]:
        if not some:
            return []
        first = some[0]
        if isinstance(first, Item):
            first = first.ip.encode(errors="replace")
        ip = b"" if isinstance(first, Bad) else first
        self._batches.lookups.count_in_batch(len(some), ip)
        if isinstance(some[0], bytes):
            return self._plain_entries(cast("Sequence[bytes]", some))
        return [self._entry(one) for one in cast("Sequence[Item | Bad]", some)]

    def _joined(self, entries: list[bytes]) -> bytes:
        """Entries as they follow what came before."""
        form = self._form
        # In place: no copy but the one that joins them.
        entries[0] = self._opening() + entries[0]
        entries[-1] += form.end
        return (form.end + form.between).join(entries)

    def _opening(self) -> bytes:
        """What comes before the next entry."""
        if self._has_begun:
            return self._form.between
        self._has_begun = True
        if self._form is CSV:
            return line_of_names(self._selection)
        return self._form.opening

    def _ending(self) -> bytes:
        self._batches.counts.observe(BATCHES, self._count)
        opening = b"" if self._has_begun else self._opening()
        return opening + self._form.closing

    def _plain_entries(self, addresses: Sequence[bytes]) -> list[bytes]:
        find = self._batches.finder(self._selection, self._form)
        entries = [find(address) for address in addresses]
        if all(entries):
            return cast("list[bytes]", entries)
        if self._form is ARRAYS:
            return [entry or b"null" for entry in entries]
        return [
            self._bad_address(address.decode(errors="replace")) if entry is None else entry
            for address, entry in zip(addresses, entries, strict=True)
        ]

    def _entry(self, one: Item | Bad) -> bytes:
        if isinstance(one, Bad):
            return bad_entry(self._form, self._selection, one.given, one.problem)
        selection = self._selection
        try:
            if one.fields is not None or one.language is not None:
                selection = self._selection_of(one)
            entry = self._batches.finder(selection, self._form)(one.ip.encode())
        except Problem as problem:
            return bad_entry(self._form, self._selection, one.ip, problem)
        except UnicodeEncodeError:  # a lone surrogate
            entry = None
        return self._bad_address(one.ip) if entry is None else entry

    def _selection_of(self, one: Item) -> Selection:
        """
        :raises Problem: there is no such field or language, or not in this form.
        """
        asked = _select(one.fields, one.language)
        if self._form is ARRAYS or (self._form is CSV and one.fields is not None):
            raise Problem("not-acceptable", f"{self._form.media} has the same fields for all")
        members = self._selection.members if one.fields is None else asked.members
        return Selection(members, asked.language or self._selection.language)

    def _bad_address(self, given: str) -> bytes:
        problem = Problem("not-an-address", f"not an IP address: {shorten(given)}")
        return bad_entry(self._form, self._selection, given, problem)

    def refusal(self, reply: Reply) -> Reply:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        if reply.content_type != PROBLEM_JSON:
            name = _NAMES.get(reply.status, "bad-request")
            problem = Problem(name, json.loads(reply.body)["message"], reply.headers)
            reply = attrs.evolve(problem.reply(), status=reply.status)
        return _with(reply, self._headers)

    def last_words(self, reply: Reply) -> bytes:
        """See :class:`~ipquery.serve.http.exchange.Exchange`."""
        told = json.loads(self.refusal(reply).body)
        # An array isn't closed: so that nobody can take it for the whole.
        return self._joined([last_entry(self._form, self._selection, told)])
