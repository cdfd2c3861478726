"""Connections whose first request has been answered, and that say nothing more for now.

Half of all callers connect, ask once and close. Until more comes, a connection is only a
socket that the loop watches: with a transport and a protocol, which most would need for
nothing but to be closed, it costs twice as much.
"""

import asyncio
import socket
from collections.abc import Callable
from socket import SocketType
from typing import Any

GoOn = Callable[[SocketType, Any, bytes], None]
"""Takes a connection over: the socket, the peer's name, and what it has said meanwhile."""

_READ_BYTES = 1 << 16


class QuietConnections:
    """Those of one listening socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        counted: set[SocketType],
        go_on: GoOn,
    ) -> None:
        """
        :param seconds: how long one may be quiet before it is closed.
        :param counted: holds all there are, for whoever limits their number.
        """
        self._loop = loop
        self._seconds = seconds
        self._counted = counted
        self._go_on = go_on
        # In the order in which they came, which is that in which they are late.
        self._waiting: dict[SocketType, tuple[Any, float]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, connection: SocketType, peer: Any) -> None:
        """Watch a connection."""
        self._counted.add(connection)
        self._waiting[connection] = peer, self._loop.time() + self._seconds
        self._loop.add_reader(connection, self._read, connection)
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._seconds, self._close_late)

    def _take(self, connection: SocketType) -> Any:
        self._loop.remove_reader(connection)
        self._counted.discard(connection)
        return self._waiting.pop(connection)[0]

    def _read(self, connection: SocketType) -> None:
        try:
            data = connection.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        peer = self._take(connection)
        if data:
            self._go_on(connection, peer, data)
        else:
            connection.close()

    def _close_late(self) -> None:
        self._alarm = None
        now = self._loop.time()
        while self._waiting:
            connection, (_, end) = next(iter(self._waiting.items()))
            if end > now:
                self._alarm = self._loop.call_later(end - now, self._close_late)
                return
            self._take(connection)
            connection.close()

    def stop(self) -> None:
        """Have all of them taken over."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for connection in list(self._waiting):
            self._go_on(connection, self._take(connection), b"")
