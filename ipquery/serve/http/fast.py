"""The fast way: requests answered at once, as bytes, without a Request.

What is asked under which path is the business of :mod:`ipquery.serve.api.express`; this is
what connections need to know of it.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import attrs

from ipquery.serve.http.counts import ONE_OF_REPEATS, Labels, Tally
from ipquery.serve.http.framing import Framing

Find = Callable[[bytes], bytes | None]
"""From the text of an address to the rest of the response, from behind the Date header;
``None`` for whatever has to go the other way."""


def nothing(ip: bytes) -> None:
    """What is found where nothing is to be answered."""


@attrs.define(eq=False)
class Kind:
    """Requests that differ in an address only."""

    find: Find
    """For an address whose answer has status 200. Another snapshot changes it."""
    tally: Tally
    """Where their answers are counted."""
    whence: Callable[[bytes], Labels]
    """What an address comes to, for that."""
    fields: frozenset[bytes] = frozenset()
    """Header fields, in lower case, on whose values the answer depends, too."""

    def look_at(self, repeat: Find, data: bytes) -> bytes | None:
        """What a repeat of this kind says to a read; which address it is asked for is noted."""
        found, address = self.find_noting(repeat, data)
        if found is not None:
            self.tally.see(self.whence(address), ONE_OF_REPEATS)
        return found

    def find_noting(self, repeat: Find, data: bytes) -> tuple[bytes | None, bytes]:
        """What a repeat of this kind says to a read, and the address that it is asked for."""
        find, asked = self.find, [b""]

        def find_noting(ip: bytes) -> bytes | None:
            asked.append(ip)
            return find(ip)

        self.find = find_noting
        try:
            found = repeat(data)
        finally:
            self.find = find
        return found, asked[-1]


class Spot(NamedTuple):
    """Where in a request its address stands as it is: in the body, or without one in the target.

    Another request that has something else there, and is the same in every other byte of
    target and body, is answered by what the kind finds for that.
    """

    kind: Kind
    begin: int
    end: int


class FastWay(Protocol):
    """What answers."""

    tally: Tally
    """Where the last answer to :meth:`respond` was counted."""

    @property
    def head(self) -> bytes:
        """The status line of 200 and the Date header of this second."""

    def tell_date(self, line: bytes) -> None:
        """Another second has begun.

        :param line: the Date header, with its end.
        """

    def respond(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> bytes | None:
        """The whole response to a request; ``None`` for whatever has to go the other way.

        :param last: whether the connection is closed after it.
        """

    def spot_of(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, last: bool
    ) -> Spot | None:
        """Where the address of a request stands that was answered, if that can be told."""
