"""A mix of callers that never finish a TLS handshake, each kind in a thread.

``python -m tests.integration.hostile_tls PORT S``: a process of its own, so that it takes no
time from the callers beside it. It stops by itself after so many seconds.
"""

import contextlib
import random
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

_RESET = struct.pack("ii", 1, 0)


def hello() -> bytes:
    """What a client says first."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Mix:
    """What all kinds know: where, and until when."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._ends = time.monotonic() + seconds
        self._hello = hello()

    def _rounds(self, pause: float) -> Iterator[None]:
        while time.monotonic() < self._ends:
            yield
            time.sleep(pause)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 10)

    def say_nothing(self) -> None:
        """More than there may be in a handshake, each second."""
        held: list[socket.socket] = []
        for _ in self._rounds(0.1):
            held += [self._connect() for _ in range(60)]
            while len(held) > 600:
                held.pop(0).close()

    def drip(self) -> None:
        """A byte of the first message now and then."""
        held: list[tuple[socket.socket, int]] = []
        for _ in self._rounds(0.2):
            held += [(self._connect(), 0) for _ in range(50 - len(held))]
            going: list[tuple[socket.socket, int]] = []
            for one, sent in held:
                try:
                    one.sendall(self._hello[sent : sent + 1])
                    going.append((one, sent + 1))
                except OSError:
                    one.close()
            held = going

    def vanish(self) -> None:
        """Have it work out the answer to a first message, and be gone."""
        for _ in self._rounds(0.02):
            with contextlib.suppress(OSError), self._connect() as one:
                one.sendall(self._hello)
                if random.random() < 0.5:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def talk_nonsense(self) -> None:
        """HTTP without TLS, random bytes, and a damaged first message."""
        for _ in self._rounds(0.02):
            damaged = bytearray(self._hello)
            damaged[random.randrange(len(damaged))] ^= random.randrange(1, 256)
            for data in (b"GET / HTTP/1.1\r\n\r\n", random.randbytes(500), bytes(damaged)):
                with contextlib.suppress(OSError), self._connect() as one:
                    one.settimeout(1)
                    one.sendall(data)
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(65536):
                        pass

    @property
    def kinds(self) -> list[Callable[[], None]]:
        """One thread for each."""
        return [self.say_nothing, self.drip, self.vanish, self.talk_nonsense]

    def run(self) -> None:
        """All of them, until the time is over."""
        threads = [threading.Thread(target=kind) for kind in self.kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    Mix(int(sys.argv[1]), float(sys.argv[2])).run()
