"""A blocking TLS client that can do what ssl.SSLSocket can't, as to half-close."""

import contextlib
import socket
import ssl
from typing import Any


class TlsClient:
    """What tests use of a socket, over TLS."""

    def __init__(
        self,
        plain: socket.socket,
        context: ssl.SSLContext,
        name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.plain = plain
        self.heard_close = False
        """Whether the server has said close_notify."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name, session=session
        )

    def begin(self) -> bytes:
        """The first flight, which isn't sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        raise AssertionError("done without the server")

    def shake_hands(self) -> "TlsClient":
        """Shake hands. For a thread, where the server is in this process."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                break
        # The ticket follows: unread, it would have the kernel reset what is closed.
        while not (self.tls.session and self.tls.session.has_ticket):
            self._fill()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.read(1)
        return self

    def _flush(self) -> None:
        self.plain.sendall(self._outgoing.read())

    def _fill(self) -> None:
        data = self.plain.recv(65536)
        if not data:
            raise EOFError
        self._incoming.write(data)

    def sendall(self, data: bytes) -> None:
        self.tls.write(data)
        self._flush()

    def recv(self, size: int) -> bytes:
        """Some data; nothing after close_notify or the stream's end."""
        while True:
            try:
                data = self.tls.read(size)
                self.heard_close = not data
                return data
            except ssl.SSLWantReadError:
                try:
                    self._fill()
                except EOFError:
                    return b""

    def say_close(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self._flush()

    def shutdown(self, how: int) -> None:
        self.plain.shutdown(how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)
