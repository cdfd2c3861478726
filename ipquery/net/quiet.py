"""Connections that say nothing for now, before their first request or behind its answer.

Half of all callers connect, ask once and close. Until something comes in, a connection is only
a socket that the loop watches: with a transport and a protocol, which most would need for
nothing but one answer or to be closed, it costs twice as much.
"""

import asyncio
import socket
from collections.abc import Callable
from socket import SocketType
from typing import Any

GoOn = Callable[[SocketType, Any, bytes], None]
"""Takes a connection over: the socket, the peer's name, and what it has said meanwhile."""

Late = Callable[[SocketType, Any], None]
"""Ends the wait for a connection: the socket, and the peer's name."""

_READ_BYTES = 1 << 16


def _close(connection: SocketType, peer: object) -> None:
    connection.close()


class QuietConnections:
    """Those of one listening socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        counted: set[SocketType],
        go_on: GoOn,
        late: Late | None = None,
    ) -> None:
        """
        :param seconds: how long one may be quiet.
        :param counted: holds all there are, for whoever limits their number.
        :param late: what happens to one that was quiet for longer; by default it is closed.
        """
        self._loop = loop
        self._seconds = seconds
        self._counted = counted
        self._go_on = go_on
        self._late = late or _close
        # In the order in which they came, which is that in which they are late.
        self._waiting: dict[SocketType, tuple[Any, float]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, connection: SocketType, peer: Any) -> None:
        """Watch a connection."""
        self._counted.add(connection)
        self._waiting[connection] = peer, self._loop.time() + self._seconds
        self._loop.add_reader(connection, self._read, connection)
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._seconds, self._end_late)

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

    def _end_late(self) -> None:
        self._alarm = None
        now = self._loop.time()
        while self._waiting:
            connection, (_, end) = next(iter(self._waiting.items()))
            if end > now:
                self._alarm = self._loop.call_later(end - now, self._end_late)
                return
            # It may have spoken while the loop was busy, which asks its clock before its sockets.
            self._read(connection)
            if connection in self._waiting:
                self._late(connection, self._take(connection))

    def stop(self) -> None:
        """Have all of them taken over."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for connection in list(self._waiting):
            self._go_on(connection, self._take(connection), b"")
