"""The express lane for ``/v1/ip/``, see :mod:`ipquery.serve.api.express`."""

from weakref import WeakValueDictionary

from ipquery.serve.api.lookups import Lookups
from ipquery.serve.api.negotiation import is_unchanged
from ipquery.serve.api.shapes import Shape, shaped
from ipquery.serve.api.v1 import PATH, V1, Asked
from ipquery.serve.http.counts import Tally
from ipquery.serve.http.fast import Kind, Spot, nothing
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.reply import in_form

START = PATH.encode()
_AT = len(START)

ROUTE, FIELD_ROUTE = PATH + "{ip}", PATH + "{ip}/{field}"


def _route(asked: Asked) -> str:
    return ROUTE if asked.field is None else FIELD_ROUTE


class V1Lane:
    """Answers what :class:`~ipquery.serve.api.v1.V1` has prepared."""

    tally: Tally
    """Where the last answer was counted."""

    def __init__(self, v1: V1, lookups: Lookups) -> None:
        self._v1 = v1
        self._lookups = lookups
        self.tally = lookups.tally(b"GET", ROUTE, "200")
        # As long as a connection has use for them: callers may ask in as many ways as they like.
        self._kinds: WeakValueDictionary[tuple[Shape, Asked], Kind] = WeakValueDictionary()

    def aim(self) -> None:
        """Another snapshot answers from now on."""
        for (shape, asked), kind in self._kinds.items():
            prepared = self._v1.prepared(asked)
            kind.find = nothing if prepared is None else shaped(prepared.find, shape)

    def respond(
        self,
        heads: tuple[bytes, bytes],
        method: bytes,
        target: bytes,
        framing: Framing,
        body: bytes,
        last: bool,
    ) -> bytes | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`.

        :param heads: the status line and the Date header of 200, and those of 304.
        """
        if body or method not in (b"GET", b"HEAD"):
            return None
        text, asked = self._asked(target, framing)
        prepared = self._v1.prepared(asked)
        if prepared is None:
            return None
        if b"%" in text:
            text = text.replace(b"%3A", b":").replace(b"%3a", b":")
        found = prepared.find(text)
        if found is None:
            return None
        none_match = framing.fields.get(b"if-none-match")
        if none_match is not None and is_unchanged(none_match.decode("latin-1"), prepared.etag):
            response, status = heads[1] + prepared.unchanged, "304"
        else:
            response, status = heads[0] + found, "200"
        self.tally = self._lookups.count(method, _route(asked), status, text)
        return in_form(response, method, framing.is_1_0, last)

    def spot_of(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> Spot | None:
        """See :class:`~ipquery.serve.http.fast.FastWay`."""
        # Who has an answer already isn't answered by a 200.
        if body or b"if-none-match" in framing.fields:
            return None
        text, asked = self._asked(target, framing)
        prepared = self._v1.prepared(asked)
        if prepared is None:
            return None
        shape = Shape(method == b"HEAD", framing.is_1_0, last, b"%" in text)
        kind = self._kinds.get((shape, asked))
        if kind is None:
            tally = self._lookups.tally(method, _route(asked), "200")
            find = shaped(prepared.find, shape)
            kind = Kind(find, tally, self._lookups.whence, self._v1.fields)
            self._kinds[shape, asked] = kind
        return Spot(kind, _AT, _AT + len(text))

    def _asked(self, target: bytes, framing: Framing) -> tuple[bytes, Asked]:
        """What stands where the address is, and what is asked for of it."""
        path, _, query = target[_AT:].partition(b"?")
        text, slash, field = path.partition(b"/")
        return text, self._v1.asked(field if slash else None, query, framing.fields)
