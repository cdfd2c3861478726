"""nginx's configuration as shipped: both variants, every switch, and the errors it answers."""

import re
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ipquery.config import load
from tests.certificates import self_signed
from tests.integration.daemon import exchange, receive
from tests.nodes.front import CONF, Nginx, nginx_configuration
from tests.nodes.node import ANSWER, Node, free_ports
from tests.programs import require
from tests.serve.http.connection import Response, get, post

QUERY = get("/api/ip_query?ip=1.2.3.4")
NODES = ("10.0.0.11:8080", "10.0.0.12:8080")


def _switched_on(text: str) -> str:
    """Every setting that is there to be switched on is."""
    return re.sub(r"^( *)#(?! |$)", r"\1", text, flags=re.MULTILINE)


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s)", text).groups()  # type: ignore[union-attr]
    return int(number) / {"ms": 1000, "s": 1}[unit]


def _value(name: str, file: str = "nginx.conf") -> str:
    """What a setting is set to, everywhere it stands."""
    text = (CONF / "nginx" / file).read_text()
    (value,) = set(re.findall(rf"^\s*{name} ([^;]+);", text, re.MULTILINE))
    return str(value)


# Values that have to fit those of the daemon


@pytest.mark.parametrize("file", ["nodes.conf", "nodes-unix.conf"])
def test_nginx_closes_idle_connections_before_the_node_does(file: str) -> None:
    http = load(CONF / "ipquery.toml").settings.http
    assert _seconds(_value("keepalive_timeout", file)) <= http.idle_seconds - 10


def test_nginx_takes_what_the_daemon_takes() -> None:
    http = load(CONF / "ipquery.toml").settings.http
    assert _value("client_max_body_size") == f"{http.body_bytes >> 10}k"
    assert _value("client_header_timeout") == f"{http.header_seconds}s"
    assert _value("client_body_timeout") == f"{http.body_seconds}s"
    assert _value("large_client_header_buffers") == f"4 {http.request_line_bytes >> 10}k"


def test_the_variants_differ_only_in_where_the_nodes_are() -> None:
    def settings(file: str) -> list[str]:
        lines = (CONF / "nginx" / file).read_text().splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        plain = [line for line in found if not line.startswith("#")]
        return [re.sub(r"^server \S+", "server", line) for line in plain]

    assert settings("nodes.conf") == settings("nodes-unix.conf")


def test_a_caller_waits_no_longer_than_the_comment_says() -> None:
    longest = _seconds(_value("proxy_next_upstream_timeout")) + _seconds(
        _value("proxy_read_timeout")
    )
    assert longest == 4
    assert f"within {longest:.0f} s" in (CONF / "nginx/nginx.conf").read_text().replace(
        "\n            # ", " "
    )


# nginx's own verdict


def _verdict(configuration: Path) -> str:
    command = [require("nginx", "nginx"), "-t", "-c", str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("nodes", ["nodes.conf", "nodes-unix.conf"])
@pytest.mark.parametrize("on", [False, True])
def test_nginx_understands_every_line(tmp_path: Path, nodes: str, on: bool) -> None:
    included = {"include nodes.conf": f"include {nodes}"}
    configuration = nginx_configuration(tmp_path / "nginx", free_ports(1)[0], included)
    if on:
        certificate, key = self_signed(tmp_path, "localhost")
        text = _switched_on(configuration.read_text())
        text = text.replace("/etc/nginx/ipquery.crt", str(certificate))
        configuration.write_text(text.replace("/etc/nginx/ipquery.key", str(key)))
    assert "[warn]" not in _verdict(configuration)


# At work


class Site:
    """nginx in front of two nodes on UNIX sockets."""

    def __init__(self, folder: Path, port: int, tls_port: int) -> None:
        self.folder, self.port, self.tls_port = folder, port, tls_port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, request: bytes, heads_only: bool = False) -> Response:
        with self.connect() as connection:
            return exchange(connection, request, heads_only)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path, as a socket's must be, that nginx's workers get at."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def nodes(folder: Path, cached: dict[str, str]) -> Iterator[tuple[Node, Node]]:
    binds = [f"unix:{folder}/{name}.sock" for name in ("a", "b")]
    one, other = (Node(folder / f"node{number}", bind, cached) for number, bind in enumerate(binds))
    with ExitStack() as stack:
        for node in (one, other):
            stack.callback(node.stop)
            node.daemon.wait_until_up()
        yield one, other


@pytest.fixture(scope="module")
def site(folder: Path, nodes: tuple[Node, Node]) -> Iterator[Site]:
    """The UNIX variant, as it is shipped."""
    (port,) = free_ports(1)
    places = {"include nodes.conf": "include nodes-unix.conf", "/run/ipquery/": f"{folder}/"}
    with Nginx(nginx_configuration(folder / "nginx", port, places)):
        yield Site(folder, port, 0)


@pytest.fixture(scope="module")
def switched_on(folder: Path, nodes: tuple[Node, Node]) -> Iterator[Site]:
    """The same with everything on, and a rate that a test can exceed."""
    port, tls_port = free_ports(2)
    certificate, key = self_signed(folder, "localhost")
    places = {"include nodes.conf": "include nodes-unix.conf", "/run/ipquery/": f"{folder}/"}
    configuration = nginx_configuration(folder / "on", port, places)
    text = _switched_on(configuration.read_text())
    for before, after in {
        "listen 9443 ": f"listen {tls_port} ",
        f"listen [::]:{port} default_server backlog=4096;": "",
        "listen [::]:9000 default_server backlog=4096;": "",
        "/etc/nginx/ipquery.crt": str(certificate),
        "/etc/nginx/ipquery.key": str(key),
        "/var/log/nginx/": f"{folder}/on/",
        "rate=1000r/s": "rate=1r/s",
        "burst=2000": "burst=2",
        "set_real_ip_from 100.64.0.0/10": "set_real_ip_from 127.0.0.1",
    }.items():
        text = text.replace(before, after)
    configuration.write_text(text)
    with Nginx(configuration):
        yield Site(folder, port, tls_port)


def test_both_nodes_answer_over_unix_sockets(site: Site, nodes: tuple[Node, Node]) -> None:
    with site.connect() as connection:
        for _ in range(4):
            assert exchange(connection, QUERY).body == ANSWER
    assert site.ask(post(b'{"ip": "1.2.3.4"}')).body == ANSWER
    nodes[0].kill()
    try:
        for _ in range(10):
            assert site.ask(QUERY).body == ANSWER
    finally:
        nodes[0].start().wait_until_up()


def test_the_nodes_errors_pass_as_they_are(site: Site) -> None:
    assert site.ask(get("/api/ip_query?ip=9.9.9.9")).status == 501
    assert site.ask(get("/api/ip_query?ip=x")).status == 400
    assert "no ip info" in site.ask(get("/api/ip_query?ip=9.9.9.9")).message
    assert site.ask(get("/nowhere")).status == 404
    assert site.ask(get("/api/ip_query", method="PUT")).headers["Allow"] == "GET, HEAD, POST"
    assert site.ask(get("/readyz", method="HEAD"), heads_only=True).status == 200


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (b"GARBAGE\r\n\r\n", 400, "bad request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad request"),
        (post(b"x" * 5000), 413, "request body too large"),
        (get("/" + "x" * 9000), 414, "request target too long"),
    ],
)
def test_nginx_refuses_in_the_same_shape(
    site: Site, request_: bytes, status: int, message: str
) -> None:
    response = site.ask(request_)
    assert (response.status, response.message) == (status, message)
    assert response.headers["Content-Type"] == "application/json"


def test_a_header_that_is_too_large_is_refused_as_the_daemon_does(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(get("/", "X: " + "x" * 9000))
        said = connection.makefile("rb").read()
    # nginx has no words for this status.
    assert said.startswith(b"HTTP/1.1 431 \r\n")
    assert said.endswith(b'\r\n\r\n{"message": "header too large"}')


def test_without_nodes_the_answer_is_json_and_says_when_to_come_again(tmp_path: Path) -> None:
    one, other, port = free_ports(3)
    places = dict(zip(NODES, (f"127.0.0.1:{one}", f"127.0.0.1:{other}"), strict=True))
    with Nginx(nginx_configuration(tmp_path / "nginx", port, places)):
        site = Site(tmp_path, port, 0)
        for request in (QUERY, QUERY, post(b'{"ip": "1.2.3.4"}')):
            response = site.ask(request)
            assert (response.status, response.message) == (502, "no node could be reached")
            assert response.headers["Retry-After"] == "1"


def test_a_caller_is_answered_in_time_when_both_nodes_are_silent(tmp_path: Path) -> None:
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in NODES]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in silent]
    (port,) = free_ports(1)
    places = dict(zip(NODES, addresses, strict=True))
    with Nginx(nginx_configuration(tmp_path / "nginx", port, places)):
        begin = time.monotonic()
        response = Site(tmp_path, port, 0).ask(QUERY)
        took = time.monotonic() - begin
    for one in silent:
        one.close()
    assert (response.status, response.message) == (504, "no node answered in time")
    assert took < 4.5


def test_tls_serves_when_it_is_switched_on(switched_on: Site) -> None:
    context = ssl.create_default_context(cafile=str(switched_on.folder / "localhost.crt"))
    with (
        socket.create_connection(("127.0.0.1", switched_on.tls_port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.version() == "TLSv1.3"
        secured.sendall(QUERY)
        assert receive(secured).body == ANSWER


def test_the_rate_limit_is_each_callers_own(switched_on: Site) -> None:
    """Callers are told apart by the address that the load balancer gives."""

    def ask(caller: str) -> Response:
        return switched_on.ask(get("/api/ip_query?ip=1.2.3.4", f"X-Forwarded-For: {caller}"))

    answers = [ask("192.0.2.1") for _ in range(8)]
    assert {one.status for one in answers} == {200, 429}
    refused = next(one for one in answers if one.status == 429)
    assert (refused.message, refused.headers["Retry-After"]) == ("too many requests", "1")
    assert ask("192.0.2.2").status == 200
