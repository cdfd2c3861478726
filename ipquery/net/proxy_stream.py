"""A stream that begins with a PROXY header which hasn't come in whole yet."""

import asyncio
from collections.abc import Callable
from typing import Any

from ipquery.net.opening import Openings
from ipquery.net.proxy import ProxyError, read_header

Build = Callable[[Any, bytes], asyncio.Protocol]
"""Makes what reads on, of the client's name and what came in behind the header."""


class ProxyStream(asyncio.Protocol):
    """Reads the header, in any number of pieces, and gives way to what reads on."""

    def __init__(self, build: Build, peer: Any, openings: Openings, first: bytes) -> None:
        """
        :param peer: the balancer's name, as accept(2) gave it.
        :param openings: keeps it until the header is whole.
        :param first: what has been read from the stream already; no whole header.
        """
        self._build = build
        self._peer = peer
        self._openings = openings
        self._got = first
        self._stream: Any = None
        self._has_failed = False
        openings.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the rest."""
        self._stream = transport
        if self._has_failed:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Read a piece."""
        if self._has_failed:
            return
        self._got += data
        try:
            header = read_header(self._got)
        except ProxyError as error:
            self._has_failed = True
            self._openings.refuse(str(error), self._peer)
            self._stream.close()
            return
        if header is None:
            return
        self._openings.done(self)
        following = self._build(header.source or self._peer, self._got[header.size :])
        self._stream.set_protocol(following)
        following.connection_made(self._stream)

    def connection_lost(self, exc: Exception | None) -> None:
        """The balancer has gone without having said for whom it came."""
        self._openings.done(self)

    def abort(self) -> None:
        """Close now."""
        self._has_failed = True
        if self._stream is not None:
            self._stream.abort()
