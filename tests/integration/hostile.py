"""A mix of hostile callers, each kind in a thread: ``python -m tests.integration.hostile PORT S``.

A process of its own, so that it takes no time from the callers beside it. It
stops by itself after so many seconds.
"""

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.serve.http.connection import get

_QUERY = get("/api/ip_query?ip=1.2.3.4")
_SHORTEST = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)


class Mix:
    """What all kinds know: where, and until when."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._ends = time.monotonic() + seconds

    def rounds(self, pause: float) -> Iterator[None]:
        while time.monotonic() < self._ends:
            yield
            time.sleep(pause)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 10)

    def reset_before_they_are_accepted(self) -> None:
        for _ in self.rounds(0.05):
            for _ in range(20):
                with contextlib.suppress(OSError), self.connect() as one:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def pipeline(self) -> None:
        for _ in self.rounds(0):
            with contextlib.suppress(OSError), self.connect() as one:
                one.setblocking(False)
                waiting = memoryview(_SHORTEST * 20_000)
                while waiting and time.monotonic() < self._ends:
                    with contextlib.suppress(BlockingIOError):
                        waiting = waiting[one.send(waiting[:65536]) :]
                    with contextlib.suppress(BlockingIOError):
                        one.recv(1 << 20)
                    time.sleep(0.001)

    def send_headers_slowly(self) -> None:
        held: list[socket.socket] = []
        for _ in self.rounds(0.2):
            while len(held) < 100:
                held.append(self.connect())
                held[-1].sendall(_QUERY[:5])
            for one in list(held):
                try:
                    one.sendall(b"a")
                except OSError:
                    held.remove(one)
                    one.close()
        for one in held:
            one.close()

    def pad(self) -> None:
        padded = (
            get("/healthz", "X:" + " " * 200_000),
            b"\r\n" * 100_000,
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 50_000,
            *(get("/api/ip_query?ip=1.2.3.4", f"X{n}:" + " " * 15_000) for n in range(20)),
        )
        for _ in self.rounds(0.02):
            for stream in padded:
                with contextlib.suppress(OSError), self.connect() as one:
                    one.settimeout(2)
                    one.sendall(stream)
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(65536):
                        pass

    def never_read(self) -> None:
        held: list[socket.socket] = []
        for _ in self.rounds(0.01):
            while len(held) < 50:
                held.append(self.connect())
                held[-1].setblocking(False)
            for one in list(held):
                try:
                    one.send(_QUERY * 500)
                except BlockingIOError:
                    continue
                except OSError:
                    held.remove(one)
                    one.close()
        for one in held:
            one.close()

    def half_close(self) -> None:
        for _ in self.rounds(0.01):
            with contextlib.suppress(OSError), self.connect() as one:
                one.settimeout(2)
                one.sendall(_QUERY * 10 + _QUERY[:20])
                one.shutdown(socket.SHUT_WR)
                while one.recv(65536):
                    pass

    def flood(self) -> None:
        for _ in self.rounds(0.2):
            with contextlib.ExitStack() as held, contextlib.suppress(OSError):
                for _ in range(100):
                    held.enter_context(self.connect())

    @property
    def kinds(self) -> list[Callable[[], None]]:
        return [
            self.reset_before_they_are_accepted,
            *[self.pipeline] * 4,
            self.send_headers_slowly,
            self.pad,
            self.never_read,
            self.half_close,
            self.flood,
        ]

    def run(self) -> None:
        threads = [threading.Thread(target=kind) for kind in self.kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    Mix(int(sys.argv[1]), float(sys.argv[2])).run()
