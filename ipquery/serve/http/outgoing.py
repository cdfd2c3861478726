"""Responses as they go out on a connection."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipquery.serve.http.counts import Counts
from ipquery.serve.http.reply import Reply, connection_line, field_lines, status_line

if TYPE_CHECKING:
    from ipquery.serve.http.connection import Transport

# Date and Connection are written here; what software this is, is told to nobody.
_OWN_FIELDS = frozenset({b"server", b"date", b"connection"})


class Outgoing:
    """What is being answered on a connection, and how the answer begins.

    While it is held, all that is written leaves in one write when it is released.
    """

    __slots__ = ("_counts", "_held", "_is_held", "_transport", "is_1_0", "is_last", "told")

    def __init__(self, transport: "Transport", counts: Counts) -> None:
        self._transport = transport
        self._counts = counts
        self._held: list[bytes] = []
        self._is_held = False
        self.is_1_0 = False
        """Whether the request that is being answered is of HTTP/1.0."""
        self.is_last = False
        """Whether the connection is closed after this response."""
        self.told = b""
        """Header fields that a guard has told with the next response, as they are sent."""

    def hold(self) -> None:
        """Keep what is written."""
        self._is_held = True

    def release(self) -> None:
        """Send what was kept, and whatever is written from now on."""
        self._is_held = False
        self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        if self._held:
            held, self._held = b"".join(self._held), []
            self._counts.sent += len(held)
            self._transport.write(held)

    def write(self, data: bytes) -> None:
        """A whole response, or a piece of one."""
        if self._is_held:
            self._held.append(data)
        else:
            self._counts.sent += len(data)
            self._transport.write(data)

    def begin(self, status: int, date: bytes, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the head of a response.

        :param date: the Date header, with its end.
        """
        told = [field for field in fields if field[0].lower() not in _OWN_FIELDS]
        line = connection_line(self.is_1_0, self.is_last)
        guard, self.told = self.told, b""
        self.write(b"%b%b%b%b%b\r\n" % (status_line(status), date, guard, field_lines(told), line))

    def reply(self, reply: Reply, date: bytes, with_body: bool) -> None:
        """Write a whole response."""
        self.begin(reply.status, date, reply.fields())
        if with_body:
            self.write(reply.body)
