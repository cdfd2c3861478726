"""``/v1/ip/{ip}`` and ``/v1/ip/{ip}/{field}``: what is asked, and how it is answered.

The routes and the fast way both come here: what is asked is understood in one place, and the
heads of responses are made in one.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import attrs

from ipquery.address import parse, shorten, to_text
from ipquery.data.record import FIELDS, Record
from ipquery.data.snapshot import Snapshot
from ipquery.data.snapshot.objects import Framing, Kept, Often, Said
from ipquery.serve.api.negotiation import Media, choose, is_unchanged
from ipquery.serve.api.pieces import make_pieces_of
from ipquery.serve.api.problems import Problem
from ipquery.serve.api.rendition import Rendition, render, translate
from ipquery.serve.api.selection import Selection, parse_selection
from ipquery.serve.api.settings import ANY_ORIGIN, ApiSettings
from ipquery.serve.http.fast import Find
from ipquery.serve.http.reply import Reply, field_lines
from ipquery.special import is_special

PATH = "/v1/ip/"
ME_PATH = "/v1/me"

REMOTE = "remote"
"""What ``sources`` calls a source outside the snapshot."""

# What is understood once and kept: texts up to so many bytes, and so many of them.
_LONGEST_KEPT, _KEPT = 512, 512

# Of what is said of answers, for all that may be asked of them, one by one and in batches. In whole
# objects 0.9 KB are kept for each answer; 65,536 random addresses have 17,500 of those.
_KEPT_BYTES = 32 << 20

# Of addresses asked for one by one: 310 bytes each for whole objects, beside what is said of their
# answers, so 73,000 of them. One that is asked for again takes less than a tenth of the time.
_OFTEN_BYTES = 22 << 20

# Another number for another way to say the same: it is a part of every ETag.
_FORM = "1"


class Asked(NamedTuple):
    """What decides on an answer beside the address: bytes as they came in.

    ``field`` is the one that the path names; ``origin`` is only looked at with CORS.
    """

    field: bytes | None
    query: bytes
    accept: bytes | None
    origin: bytes | None


@attrs.frozen(eq=False)
class Prepared:
    """How what is asked is answered from one snapshot."""

    rendition: Rendition
    etag: str
    headers: Mapping[str, str]
    """All header fields of an answer, but Content-Type and Content-Length."""
    unchanged: bytes
    """What follows the Date header if the caller has it already."""
    find: Find
    """See :data:`~ipquery.serve.http.fast.Find`."""


class V1:
    """Answers from the snapshot that is current."""

    def __init__(
        self,
        snapshot: Snapshot,
        settings: ApiSettings = ApiSettings(),
        finds_unknown: bool = True,
        now: Callable[[], float] = time.time,
        is_public: bool = True,
    ) -> None:
        """
        :param finds_unknown: whether the snapshot has the last word on addresses for which it
            has no record.
        :param now: seconds since the epoch.
        :param is_public: whether a cache that many share, as in a proxy, may keep answers: where
            not everybody is answered, it would answer those that aren't.
        """
        self._cached = "public" if is_public else "private"
        self._finds_unknown = finds_unknown
        self.now = now
        self._settings = settings
        self.varies: tuple[str, ...] = ("Accept",)
        """Header fields on which answers depend (RFC 9110 section 12.5.5)."""
        if settings.cors and ANY_ORIGIN not in settings.cors:
            self.varies += ("Origin",)
        fields = {b"if-none-match", *(name.lower().encode() for name in self.varies)}
        self.fields = frozenset(fields)
        """Header fields, in lower case, that decide on an answer."""
        self._renditions: dict[tuple[Selection, Media], Rendition] = {}
        self.switch(snapshot)

    def switch(self, snapshot: Snapshot) -> None:
        """Answer from another snapshot from now on."""
        self.snapshot = snapshot
        self.loaded = self.now()
        """When it began to answer, in seconds since the epoch."""
        self._prepared: dict[Asked, Prepared | None] = {}
        self._made: dict[tuple[Rendition, bytes | None], Prepared] = {}
        self._kept = Kept(_KEPT_BYTES)
        self._often = Often(_OFTEN_BYTES)
        self._said: dict[Rendition, Said] = {}
        self._finders: dict[tuple[Rendition, bool], Find] = {}

    # What is asked

    def asked(self, field: bytes | None, query: bytes, fields: Mapping[bytes, bytes]) -> Asked:
        """What a request asks for.

        :param fields: its header fields, names in lower case.
        """
        origin = fields.get(b"origin") if b"origin" in self.fields else None
        return Asked(field, query, fields.get(b"accept"), origin)

    def prepared(self, asked: Asked) -> Prepared | None:
        """How something is answered, ``None`` if it can't be."""
        try:
            return self._prepared[asked]
        except KeyError:
            pass
        try:
            found = self.prepare(asked)
        except Problem:
            found = None
        if sum(len(text or b"") for text in asked) <= _LONGEST_KEPT:
            if len(self._prepared) >= _KEPT:
                self._prepared.clear()
            self._prepared[asked] = found
        return found

    def prepare(self, asked: Asked) -> Prepared:
        """How something is answered.

        :raises Problem: it can't be.
        """
        field = None if asked.field is None else asked.field.decode(errors="replace")
        selection = parse_selection(asked.query, field)
        media: Media | None = Media.TEXT
        if field is None:
            accept = asked.accept
            media = choose(None if accept is None else accept.decode("latin-1"))
        if media is None:
            offered = ", ".join(one.range for one in Media)
            raise Problem("not-acceptable", f"there are: {offered}")
        rendition = self.rendition(selection, media)
        allowed = self._allowed(asked.origin)
        made = self._made.get((rendition, allowed))
        if made is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            made = self._made[rendition, allowed] = self._make(rendition, allowed)
        return made

    def rendition(self, selection: Selection, media: Media) -> Rendition:
        """How a selection is said in a form: the same one each time, as long as it is kept."""
        found = self._renditions.get((selection, media))
        if found is None:
            if len(self._renditions) >= _KEPT:
                self._renditions.clear()
            found = self._renditions[selection, media] = render(selection, media)
        return found

    def _allowed(self, origin: bytes | None) -> bytes | None:
        """The origin whose scripts may read the answer, if that is to be said."""
        if ANY_ORIGIN in self._settings.cors:
            return b"*"
        is_known = origin is not None and origin.decode("latin-1") in self._settings.cors
        return origin if is_known else None

    def cors_headers(self, origin: bytes | None) -> dict[str, str]:
        """What is said to a browser of who may read an answer."""
        varies = {"Vary": ", ".join(self.varies)} if "Origin" in self.varies else {}
        return {**varies, **_origin_header(self._allowed(origin))}

    # How it is answered

    def _headers(self, etag: str, allowed: bytes | None) -> dict[str, str]:
        return {
            "ETag": etag,
            "Cache-Control": f"{self._cached}, max-age={self._settings.max_age}",
            "Vary": ", ".join(self.varies),
            **_origin_header(allowed),
        }

    def _make(self, rendition: Rendition, allowed: bytes | None) -> Prepared:
        said = repr((_FORM, rendition.selection, rendition.media.name))
        form = hashlib.sha256(said.encode()).hexdigest()[:8]
        etag = f'"{self.snapshot.identity[:32]}-{form}"'
        headers = self._headers(etag, allowed)
        lines = _lines(headers)
        before = b"Content-Type: %b\r\nContent-Length: " % rendition.media.value
        after = b"\r\n%b\r\n" % lines
        if rendition.template.needs_address:
            framing = Framing(lambda size: b"%b%d%b" % (before, size, after), self._often)
            find = self.snapshot.text_finder(self._said_by(rendition), self._finds_unknown, framing)
        else:
            find = _framed(self.finder(rendition, self._finds_unknown), before, after)
        return Prepared(rendition, etag, headers, b"%b\r\n" % lines, find)

    def _said_by(self, rendition: Rendition) -> Said:
        """What a rendition says of answers, with and without a head."""
        found = self._said.get(rendition)
        if found is None:
            if len(self._said) >= _KEPT:
                self._said.clear()
            pieces_of = make_pieces_of(self.snapshot, rendition, self._kept)
            found = self._said[rendition] = Said(rendition.template, pieces_of, self._kept)
        return found

    def finder(self, rendition: Rendition, finds_unknown: bool = True) -> Find:
        """A look-up of what a rendition says of an address, without a head.

        It goes by the snapshot that is current now.

        :param finds_unknown: whether public addresses without a record are told that nothing is
            known of them, or left to others.
        """
        found = self._finders.get((rendition, finds_unknown))
        if found is None:
            if len(self._finders) >= _KEPT:
                self._finders.clear()
            found = self._make_finder(rendition, finds_unknown)
            self._finders[rendition, finds_unknown] = found
        return found

    def _make_finder(self, rendition: Rendition, finds_unknown: bool) -> Find:
        snapshot, template, kept = self.snapshot, rendition.template, self._kept
        if template.needs_address:
            return snapshot.text_finder(self._said_by(rendition), finds_unknown)
        pieces_of = make_pieces_of(snapshot, rendition, kept)
        return snapshot.part_finder(
            lambda answer: template.fill(b"", None, pieces_of(answer)), kept, finds_unknown
        )

    def _answer(self, version: int, number: int) -> int | None:
        """The number of the answer, 0 if nothing is known; ``None`` if others are to be asked."""
        # Whatever a database has there: see ipquery.data.snapshot.objects.
        if is_special(version, number):
            return 0
        answer = self.snapshot.answer_number(version, number)
        return answer if answer or self._finds_unknown else None

    # For the routes, which make everything anew: what is kept is held against them in the tests.

    def _body(
        self,
        rendition: Rendition,
        version: int,
        number: int,
        values: dict[str, Any],
        sources: Mapping[str, str],
    ) -> bytes:
        pieces = rendition.pieces(self._completed(rendition, values, sources))
        around = self.snapshot.around(version, number)
        return rendition.template.fill(to_text(version, number).encode(), around, pieces)

    def _completed(
        self, rendition: Rendition, values: dict[str, Any], sources: Mapping[str, str]
    ) -> dict[str, Any]:
        language = rendition.selection.language
        if language is not None:
            translate(values, self.snapshot.names(language))
        return {**values, "sources": sources, "snapshot": self.snapshot.identity}

    def reply(self, ip: str, asked: Asked, none_match: str | None) -> Reply | None:
        """The answer to a request; ``None`` if others are to be asked about the address.

        :raises Problem: it can't be answered.
        :raises DataError: the snapshot contradicts itself.
        """
        version, number = address_of(ip)
        prepared = self.prepare(asked)
        answer = self._answer(version, number)
        if answer is None:
            return None
        if is_unchanged(none_match, prepared.etag):
            return Reply(304, b"", prepared.headers, None)
        snapshot = self.snapshot
        values, sources = snapshot.values(answer), snapshot.sources(answer)
        body = self._body(prepared.rendition, version, number, values, sources)
        return Reply(200, body, prepared.headers, prepared.rendition.media.value)

    def reply_others(
        self, ip: str, asked: Asked, none_match: str | None, found: bytes | None
    ) -> Reply:
        """The answer when others have been asked.

        :param found: the contract's array, or ``None``.
        :raises Problem: it can't be answered.
        """
        version, number = address_of(ip)
        rendition = self.prepare(asked).rendition
        record = Record() if found is None else Record.from_answer(found)
        values = attrs.asdict(record)
        sources = {name: REMOTE for name in FIELDS if values[name] is not None}
        body = self._body(rendition, version, number, values, sources)
        # The snapshot isn't what it depends on.
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = self._headers(etag, self._allowed(asked.origin))
        if is_unchanged(none_match, etag):
            return Reply(304, b"", headers, None)
        return Reply(200, body, headers, rendition.media.value)


def _origin_header(allowed: bytes | None) -> dict[str, str]:
    return {} if allowed is None else {"Access-Control-Allow-Origin": allowed.decode("latin-1")}


def _lines(headers: Mapping[str, str]) -> bytes:
    return field_lines((name.encode(), value.encode("latin-1")) for name, value in headers.items())


def _framed(find: Find, before: bytes, after: bytes) -> Find:
    """What finds a body with its length before it, in decimal digits, between two texts."""

    def find_framed(ip: bytes) -> bytes | None:
        body = find(ip)
        return None if body is None else b"%b%d%b%b" % (before, len(body), after, body)

    return find_framed


def address_of(ip: str) -> tuple[int, int]:
    """Version and number of an address.

    :raises Problem: it is none.
    """
    try:
        return parse(ip)
    except ValueError:
        raise Problem("not-an-address", f"not an IP address: {shorten(ip)}") from None
