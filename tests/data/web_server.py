"""A web server over TLS that does what a test says, well or badly."""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs

from tests.certificates import self_signed


class Request(BaseHTTPRequestHandler):
    """A request that is to be answered, whole or in part."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path.partition("?")[0])
        # Whoever asked may have gone.
        with contextlib.suppress(OSError):
            if answer is None:
                self.send(404, b"Not Found", {"Content-Type": "text/plain"})
            else:
                answer(self)

    do_HEAD = do_GET

    def send(
        self, status: int, content: bytes, fields: Mapping[str, str] = {}, sent: int | None = None
    ) -> None:
        """Answer.

        :param sent: bytes after which the connection is cut.
        """
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


Answer = Callable[[Request], None]


@attrs.frozen
class Asked:
    """What was asked for."""

    method: str
    path: str
    fields: Mapping[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, *arguments: object) -> None:
        """Handshakes that fail are what tests are about."""


class Server:
    """A running server. ``answers`` are by path, ``asked`` is what was asked so far."""

    def __init__(self, server: _Server, certificate: Path, host: str) -> None:
        self.answers, self.asked = server.answers, server.asked
        self.certificate = certificate
        port = server.socket.getsockname()[1]
        self.url = f"https://{host}:{port}/"

    @property
    def context(self) -> ssl.SSLContext:
        """One that trusts this server."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextlib.contextmanager
def serving(
    folder: Path, host: str = "localhost", hours: float = 1, names: Sequence[str] = ()
) -> Iterator[Server]:
    """A server that runs meanwhile.

    :param names: what the certificate is for, if not for the host alone.
    :param hours: until the certificate ends.
    """
    certificate, key = self_signed(folder, *(names or [host]), hours=hours)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _Server(context) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield Server(server, certificate, host)
        finally:
            server.shutdown()


def unused_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def file_answer(
    content: bytes, etag: str | None = None, last_modified: str | None = None, ranges: bool = True
) -> Answer:
    """A file as servers have it: with conditions, and ranges if wanted (RFC 9110)."""
    fields = {"ETag": etag, "Last-Modified": last_modified}
    given = {name: value for name, value in fields.items() if value is not None}

    def answer(request: Request) -> None:
        asked = request.headers
        known = asked.get("If-None-Match"), asked.get("If-Modified-Since")
        if known != (None, None) and known == (etag, last_modified):
            request.send(304, b"", given)
            return
        part = asked.get("Range")
        if part is None or not ranges or asked.get("If-Range") not in (etag, last_modified):
            request.send(200, content, given)
            return
        first = int(part.removeprefix("bytes=").removesuffix("-"))
        if first >= len(content):
            request.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        request.send(206, content[first:], {**given, "Content-Range": span})

    return answer


def text_answer(status: int, text: str, **fields: str) -> Answer:
    """A short text. Names of fields have underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda request: request.send(status, text.encode(), named)


def redirect(to: str) -> Answer:
    return lambda request: request.send(302, b"", {"Location": to})


def months(after: int) -> Iterator[str]:
    """This month as 2026-11, and some after it: a test may run while one ends."""
    now = datetime.datetime.now(datetime.UTC)
    for month in range(now.year * 12 + now.month - 1, now.year * 12 + now.month + after):
        yield f"{month // 12}-{month % 12 + 1:02}"
