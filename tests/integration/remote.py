"""Remote servers for tests."""

import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

Files = tuple[Path, Path]


class Remote:
    """An HTTP server on loopback. ``url`` has the address's place in it."""

    def __init__(self, status: int, body: bytes, certificate: "Files | None" = None) -> None:
        """
        :param certificate: its file and the key's, for HTTPS.
        """
        self.status, self.body = status, body
        self.delay = 0.0
        self.asked: list[str] = []
        remote = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_GET(self) -> None:
                remote.asked.append(self.path)
                time.sleep(remote.delay)
                self.send_response(remote.status)
                self.send_header("Content-Length", str(len(remote.body)))
                self.end_headers()
                self.wfile.write(remote.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name
                """Nothing: what was asked is kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self._server.server_port}/ask?ip={{ip}}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class Babbler:
    """Listens, and answers everything with the same bytes."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._babble, args=(connection,), daemon=True).start()

    def _babble(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    connection.sendall(self._words)
            except OSError:
                return

    def stop(self) -> None:
        """Listen no more."""
        self._listening.close()
