"""Asks a node for its ``/metrics``, so that none that hangs holds up the others."""

import http.client
import re
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import attrs

from ipquery.cli.top_figures import Scrape, reading, restarted
from ipquery.cli.top_view import Node, state_of

SECONDS = 3.0
"""A node answers within one, with 503 if its supervisor is busy."""

# The figures of a node with all countries and many sources are a tenth of it.
_BYTES = 4 << 20


@attrs.frozen
class Target:
    """Where a node's figures are."""

    name: str
    host: str
    port: int
    path: str
    is_secure: bool

    @classmethod
    def parse(cls, text: str) -> "Target":
        """
        :param text: ``http://HOST:PORT``, ``https://``..., ``HOST:PORT``; with the path of the
            figures if that isn't ``/metrics``.
        :raises ValueError: it is something else, and what is wrong with it.
        """
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is no http://HOST:PORT")
        if parts.username is not None or not re.fullmatch(r"[!-~]+", text):
            raise ValueError(f"{text!r} has more in it than scheme, host, port and path")
        is_secure = parts.scheme == "https"
        path = parts.path if parts.path not in ("", "/") else "/metrics"
        port = parts.port or (443 if is_secure else 80)
        return cls(parts.netloc, parts.hostname, port, path, is_secure)


def parse_key(text: str) -> str:
    """An API key, as it stands in a file or a variable of the environment.

    :raises ValueError: it is none.
    """
    key = text.strip()
    # RFC 9110 section 5.5, without blanks: a second line would be another header field.
    if not re.fullmatch(r"[!-~]{1,1000}", key):
        raise ValueError("no API key: one line, of letters, digits and signs")
    return key


def ask(
    target: Target, key: str | None = None, monotonic: Callable[[], float] = time.monotonic
) -> Scrape:
    """What the node tells now. Blocks, up to about :data:`SECONDS` for each step of the way.

    :param key: an API key, if one is needed.
    :raises ValueError: it answers, but not with figures; the text says with what.
    :raises OSError: it can't be reached, or its certificate isn't trusted.
    """
    kind = http.client.HTTPSConnection if target.is_secure else http.client.HTTPConnection
    # Not by urllib's opener: that would follow a node to wherever it redirects, and ask
    # the environment's proxy for an address of this machine.
    connection = kind(target.host, target.port, timeout=SECONDS)
    ends = monotonic() + SECONDS
    try:
        fields = {"Accept": "text/plain"} | ({} if key is None else {"X-Api-Key": key})
        connection.request("GET", target.path, headers=fields)
        response = connection.getresponse()
        if response.status == 401:
            why = "needs an API key" if key is None else "not its API key"
            raise ValueError(f"401, {why}")
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        body = b""
        while piece := response.read1(1 << 16):
            body += piece
            if len(body) > _BYTES:
                raise ValueError("answered more than figures can be")
            if monotonic() > ends:
                raise TimeoutError
        if response.length:
            # Of half the figures some would seem to have gone back.
            raise ValueError("answered only in part")
    except http.client.RemoteDisconnected:
        raise ValueError("closed without an answer") from None
    except http.client.IncompleteRead:
        raise ValueError("answered only in part") from None
    except http.client.HTTPException:
        raise ValueError("answered something that isn't HTTP") from None
    finally:
        connection.close()
    return Scrape.parse(body.decode("utf-8", "replace"), monotonic())


class Watch:
    """One node, asked again and again."""

    def __init__(self, target: Target, ask: Callable[[Target], Scrape] = ask) -> None:
        self._target = target
        self._ask = ask
        self._last: Scrape | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.node = Node(target.name, None, "asked")

    def begin(self) -> None:
        """Ask it, unless it still is to answer what it was asked before."""
        if self._thread is None or not self._thread.is_alive():
            # A daemon's: one that hangs isn't waited for at the end.
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until it has answered, or for so long; then it is taken for down."""
        assert self._thread is not None
        self._thread.join(seconds)
        with self._lock:
            if self._thread.is_alive():
                self._became(Node(self._target.name, None, "down: no answer in time", True))

    def _work(self) -> None:
        try:
            scrape = self._ask(self._target)
        except (OSError, ValueError) as error:
            why = f"down: {_reason(error)}"
            with self._lock:
                self._became(Node(self._target.name, None, why, True))
            return
        with self._lock:
            self._take(scrape)

    def _became(self, node: Node) -> None:
        # A difference over the time that it was down would tell nothing of either side of it.
        self._last, self.node = None, node

    def _take(self, scrape: Scrape) -> None:
        before, self._last = self._last, scrape
        told = reading(before, scrape)
        begun_anew = before is not None and restarted(before, scrape)
        state = "restarted" if begun_anew else state_of(told, time.time())
        self.node = Node(self._target.name, told, state)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return str(error)
