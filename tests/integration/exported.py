"""Programs that read what is exported, asked about many addresses over one connection."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ipquery.net.sockets import Bind, open_sockets
from tests.programs import require, require_file

GEOIP2_MODULE = "/usr/lib/nginx/modules/ngx_http_geoip2_module.so"
_AT_ONCE = 200
_START_SECONDS = 60

# A value in an answer's body; nothing that is exported for web servers has a line break.
_VALUE = re.compile(rb"\r\n\r\n<([^\n]*)>\n")

_NGINX = """
daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{modules}
events {{ worker_connections 64; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    {settings}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "<{value}>\\n"; }}
    }}
}}
"""

_HAPROXY = """
global
    log stderr local0 err
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    timeout http-request 60s
frontend geo
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain \
lf-string "<%[req.hdr(X-Real-IP),map_ip({path})]>\\n"
"""


class Asked:
    """A web server that answers with what it knows of the address in X-Real-IP."""

    def __init__(self, command: Sequence[str], port: int, folder: Path) -> None:
        self._folder = folder
        with (folder / "output.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._socket = self._connected(port)
        self._said = b""

    def _connected(self, port: int) -> socket.socket:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, (self._folder / "output.log").read_text()
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=60)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def ask(self, addresses: Sequence[str]) -> list[str]:
        """The value for each address."""
        found: list[str] = []
        for begin in range(0, len(addresses), _AT_ONCE):
            some = addresses[begin : begin + _AT_ONCE]
            requests = (f"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: {ip}\r\n\r\n" for ip in some)
            self._socket.sendall("".join(requests).encode())
            found += self._answers(len(some))
        return found

    def _answers(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            got = self._socket.recv(1 << 16)
            assert got, (self._folder / "output.log").read_text()
            self._said += got
            *whole, rest = re.split(_VALUE, self._said)
            found += [value.decode() for value in whole[1::2]]
            self._said = rest
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)


def _port() -> int:
    (bound,) = open_sockets([Bind("127.0.0.1")])
    with bound:
        return int(bound.getsockname()[1])


def nginx(folder: Path, settings: str, value: str, geoip2: bool = False) -> Asked:
    """nginx, which answers with a value made of variables."""
    program = require("nginx", "nginx")
    modules = ""
    if geoip2:
        modules = f"load_module {require_file(GEOIP2_MODULE, 'libnginx-mod-http-geoip2')};"
    folder.mkdir()
    port = _port()
    text = _NGINX.format(folder=folder, port=port, modules=modules, settings=settings, value=value)
    if os.geteuid():
        text = text.replace("user root;", "")
    (folder / "nginx.conf").write_text(text)
    return Asked([program, "-c", str(folder / "nginx.conf")], port, folder)


def haproxy(folder: Path, path: Path) -> Asked:
    """HAProxy with a map."""
    program = require("haproxy", "haproxy")
    folder.mkdir()
    port = _port()
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=port, path=path))
    return Asked([program, "-f", str(folder / "haproxy.cfg")], port, folder)


def mmdblookup(path: Path) -> Callable[[str], dict[str, str]]:
    """What libmaxminddb's command says of an address: members of a flat record, as texts."""
    program = require("mmdblookup", "mmdb-bin")
    member = re.compile(r'^ +"(\w+)": *\n +("?)(.*)\2 <\w+>$', re.MULTILINE)

    def look_up(address: str) -> dict[str, str]:
        done = subprocess.run(
            [program, "--file", str(path), "--ip", address],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or "Could not find an entry" in done.stderr, done.stderr
        return {name: value for name, _, value in member.findall(done.stdout)}

    return look_up
