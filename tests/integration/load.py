"""Steady load on the daemon from a thread, every answer checked, nothing forgiven.

A request is lost when no whole answer came for it. A connection that the
server closes while nothing is asked on it is not a loss, and neither is one
that it said it would close.
"""

import asyncio
import random
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import attrs

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\nContent-Length: (\d+)\r\n(.*?)\r\n", re.DOTALL)


@attrs.define
class Result:
    """What the callers have seen."""

    answers: Counter[bytes] = attrs.field(factory=Counter)
    """Bodies, by how often they came."""
    statuses: Counter[int] = attrs.field(factory=Counter)
    lost: list[str] = attrs.field(factory=list)
    refused: int = 0
    seconds: list[tuple[float, float]] = attrs.field(factory=list)
    """When each answer came, and how long it took."""

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def percentile(self, share: float, begin: float = 0, end: float = float("inf")) -> float:
        """How long the slowest but for ``1 - share`` took, of those that came in a time."""
        taken = sorted(took for when, took in self.seconds if begin <= when < end)
        return taken[min(int(len(taken) * share), len(taken) - 1)]


class Load:
    """Callers that ask all the time, with keep-alive and one-shot connections."""

    def __init__(
        self,
        port: int,
        kept: int = 8,
        one_shot: int = 2,
        pause: float = 0.01,
        ip: str = "1.2.3.4",
        host: str = "127.0.0.1",
        enter: Callable[[], None] = lambda: None,
        tls: ssl.SSLContext | None = None,
        fields: bytes = b"",
        source: str | None = None,
    ) -> None:
        """
        :param enter: called by the thread that asks, before it does.
        :param tls: what callers speak TLS with, to a server named localhost.
        :param fields: header lines more of each request, with their ends.
        :param source: the address that callers have; without it, the kernel's choice.
        """
        self.result = Result()
        self._host, self._port = host, port
        self._how: dict[str, Any] = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
        if source is not None:
            self._how["local_addr"] = (source, 0)
        self._kept, self._one_shot, self._pause = kept, one_shot, pause
        body = b'{"ip":"%s"}' % ip.encode()
        self._get = b"GET /api/ip_query?ip=%s HTTP/1.1\r\nHost: t\r\n" % ip.encode() + fields
        self._post = (
            b"POST /api/ip_query HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n" % len(body) + fields
        )
        self._body = body
        self._stopping = threading.Event()
        self._enter = enter
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def wait_for(self, answers: int) -> None:
        """Until so many more answers have come."""
        target = self.result.answered + answers
        deadline = time.monotonic() + 30
        while self.result.answered < target:
            assert time.monotonic() < deadline, "no answers"
            time.sleep(0.005)

    def _work(self) -> None:
        self._enter()
        asyncio.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(
            *(self._ask_for_ever(keep=True) for _ in range(self._kept)),
            *(self._ask_for_ever(keep=False) for _ in range(self._one_shot)),
        )

    async def _ask_for_ever(self, keep: bool) -> None:
        while not self._stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port, **self._how)
            except ConnectionResetError as error:
                # A worker had accepted it, and was gone before we noticed.
                self.result.lost.append(f"{type(error).__name__} after b''")
                continue
            except OSError as error:
                self.result.refused += 1
                self.result.lost.append(f"not connected: {error}")
                await asyncio.sleep(0.01)
                continue
            try:
                while await self._ask(reader, writer, keep) and keep:
                    if self._stopping.is_set():
                        break
                    await self._rest()
                    if reader.at_eof():
                        break
            finally:
                writer.close()
            if not keep:
                await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(self._pause * random.random() * 2)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bool
    ) -> bool:
        """One request. Whether the connection may be used again."""
        end = b"\r\n" if keep else b"Connection: close\r\n\r\n"
        request = self._get + end if random.random() < 0.5 else self._post + end + self._body
        begun = time.monotonic()
        head = b""
        try:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            match = _HEAD.match(head)
            assert match, head
            body = await asyncio.wait_for(reader.readexactly(int(match[2])), 20)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.result.lost.append(f"{type(error).__name__} after {head!r}")
            return False
        now = time.monotonic()
        self.result.seconds.append((now, now - begun))
        self.result.statuses[int(match[1])] += 1
        self.result.answers[body] += 1
        return b"Connection: close" not in head
