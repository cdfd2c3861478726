"""Exchanges: requests whose bodies are taken piece by piece, and answered meanwhile.

What is exchanged under which path is the business of the routes' side; this is what
connections need to know of it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from ipquery.serve.http.framing import Framing
from ipquery.serve.http.reply import Reply


class Exchange(Protocol):
    """One request of this kind. It knows nothing of sockets, codings or connections."""

    route: str
    """What its route is called where requests are counted."""
    body_bytes: int
    """Of the body at most, as it is sent and as it is decoded; else 413."""
    answers_early: bool
    """Whether answers leave as soon as the client keeps us waiting for more of the body. If
    not, they may be kept back for a while, so that a bad request gets its status code."""
    fields: Sequence[tuple[bytes, bytes]]
    """Header fields of the answer with status 200; those of its length and coding are added."""

    @property
    def has_work(self) -> bool:
        """Whether :meth:`work` has something to do before it needs more of the body."""

    def feed(self, piece: bytes) -> None:
        """A piece of the body, not empty, of 64 KB at most. Only if there is no work to do."""

    def end(self) -> None:
        """The body is complete. Only if there is no work to do; there may be some now."""

    def work(self) -> bytes:
        """Do a portion, which takes less than a turn (:mod:`ipquery.serve.http.turns`).

        :returns: the next piece of the answer, perhaps empty.
        :raises Refused: the request can't be answered, or not to its end.
        """

    def refusal(self, reply: Reply) -> Reply:
        """A refusal in the shape that callers of this kind of request know."""

    def last_words(self, reply: Reply) -> bytes:
        """The last piece of an answer that has begun and doesn't go on, and why."""


Begin = Callable[[bytes, bytes, Framing], Exchange | None]
"""From method, target and framing of a request whose head is complete to its exchange; ``None``
if it isn't of this kind, and its body is to be taken whole. Raises
:class:`~ipquery.serve.http.refused.Refused` if no such request can be answered; the connection
is closed then, as nobody wants the body."""
