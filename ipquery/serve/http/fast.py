"""The fast way: requests answered at once, as bytes, without a Request.

What is asked under which path is the business of :mod:`ipquery.serve.api.express`; this is
what connections need to know of it.
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from ipquery.serve.http.framing import Framing

Find = Callable[[bytes], bytes | None]
"""From the text of an address to the rest of the response, from behind the Date header;
``None`` for whatever has to go the other way."""


def nothing(ip: bytes) -> None:
    """What is found where nothing is to be answered."""


@attrs.define
class Kind:
    """GETs that begin alike, and differ in the address that ends their target."""

    start: bytes
    """Method and target up to the address."""
    find: Find = nothing
    """For an address whose answer has status 200."""


# No request begins with NUL.
NO_KIND = Kind(b"\0")


class FastWay(Protocol):
    """What answers."""

    head: bytes
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

    def kind_of(self, method: bytes, target: bytes, framing: Framing) -> Kind | None:
        """The kind of a request that was answered with 200, if it is one of a kind.

        Another request that begins as the kind does, and goes on behind its address as this
        one does, may be answered by what the kind finds alone.
        """
