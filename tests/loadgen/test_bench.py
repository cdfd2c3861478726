"""The benchmark's requests, and what is made of its figures. To measure is for commands."""

import importlib.util
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import attrs
import httptools
import pytest

from loadgen.bench import beside, counting, guards, losses, requests, shapes, steady, subjects
from loadgen.bench.requests import Addresses
from loadgen.bench.rounds import Contender, Row, cpu_ratio, ratio
from loadgen.bench.shapes import SHAPES, Pair, Shape
from loadgen.peers.cores import SERVER_CORE
from loadgen.peers.servers import (
    BENCH_KEYS,
    GEOIP2,
    IPQUERY,
    KEYED,
    KLEIN,
    LIMITED,
    UNCOUNTED,
    Running,
    Server,
)
from loadgen.peers.uncounted_worker import WITHOUT, without_counting
from loadgen.report.tally import Tally
from loadgen.tools.bare import read_requests
from tests.integration.daemon import exchange
from tests.integration.databases import ONE, ONE_ANSWER
from tests.nodes.node import free_ports
from tests.serve.http.connection import get

ADDRESSES = Addresses(
    [b"1.2.3.%d" % number for number in range(40)],
    [b"2400:cb00::%x" % number for number in range(1, 40)],
    [b"10.0.0.%d" % number for number in range(40)],
)


class Requests:
    """What a parser finds in a stream. httptools calls the methods named ``on_``."""

    def __init__(self, stream: bytes) -> None:
        self.urls: list[bytes] = []
        self.bodies: list[bytes] = []
        self.kept: list[bool] = []
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(stream)

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_body(self, body: bytes) -> None:
        self.bodies.append(body)

    def on_headers_complete(self) -> None:
        self.kept.append(self.parser.should_keep_alive())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_request_is_one_for_an_address_of_its_kind(shape: Shape) -> None:
    every = {ip.decode() for ip in (*ADDRESSES.v4, *ADDRESSES.v6, *ADDRESSES.missing)}
    for write in filter(None, (shape.write, shape.peer_write)):
        made = list(write(ADDRESSES))
        assert len(set(made)) == len(made) > 1
        for request in made:
            assert b"\0" not in request
            found = Requests(request)
            for url in found.urls:
                path, _, query = url.decode().partition("?")
                assert path == "/api/ip_query"
                if query:
                    assert parse_qs(query)["ip"][0] in every
                else:
                    assert found.bodies[0].decode().split('"')[3] in every


def test_a_header_that_differs_differs_each_time() -> None:
    for write, name in ((requests.request_ids, b"X-Request-Id"), (requests.traces, b"traceparent")):
        fields = [line for one in write(ADDRESSES) for line in one.split(b"\r\n") if name in line]
        assert len(set(fields)) == len(ADDRESSES.v4)


def test_sixteen_are_pipelined_and_nothing_less() -> None:
    assert [len(Requests(one).urls) for one in requests.pipelined(ADDRESSES)] == [16, 16]


def test_versions_and_what_becomes_of_the_connection() -> None:
    kept = {"GET, one header", "HTTP/1.0 kept alive (ab -k)", "one-shot: the caller closes"}
    closed = {"one-shot: Connection: close", "one-shot: HTTP/1.0 (ab)"}
    for shape in SHAPES:
        if shape.name in kept | closed:
            found = Requests(next(iter(shape.write(ADDRESSES))))
            assert found.kept == [shape.name in kept], shape.name


def test_a_file_of_requests_is_read_as_it_was_written(tmp_path: Path) -> None:
    requests.write(tmp_path / "r", requests.posts(ADDRESSES))
    assert read_requests(tmp_path / "r") == list(requests.posts(ADDRESSES))
    with pytest.raises(ValueError, match="r: no requests"):
        requests.write(tmp_path / "r", [])


# Figures


def _row(server: Server, rates: list[float], name: str = "", **more: Any) -> Row:
    given: dict[str, Any] = {"p50": 0.001, "p99": 0.002, "p999": 0.003, "errors": 0, "refused": 0}
    given |= more

    def ask(server: Server, seconds: float) -> Tally:
        raise AssertionError

    contender = Contender(name or server.name, server, ask)
    results = [Tally(requests=int(rate), seconds=1, **given) for rate in rates]
    return Row(contender, results, [10e-6] * len(rates))


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    ours, peer = _row(IPQUERY, [100, 50, 10]), _row(GEOIP2, [200, 50, 5])
    assert ratio(ours, peer) == 1
    assert ratio(_row(IPQUERY, [100, 50, 30]), peer) == 1
    assert ratio(_row(IPQUERY, [400, 150, 5]), peer) == 2
    ours.cpu = [20e-6, 30e-6, 5e-6]
    assert cpu_ratio(ours, peer) == pytest.approx(2)


def test_ratios_are_of_what_was_measured() -> None:
    rows = [_row(IPQUERY, [240, 230]), _row(KLEIN, [10, 10])]
    assert subjects.ratios(rows) == [("ipquery / Klein, stock, epoll", 23.5, 12)]
    assert [row[0] for row in subjects.table(rows)] == ["server", "ipquery", KLEIN.name]


def test_a_shape_has_its_aims_beside_its_figures() -> None:
    (shape,) = (one for one in SHAPES if one.name == "one-shot: Connection: close")
    (pair,) = shapes.pairs([shape], [_row(IPQUERY, [90]), _row(GEOIP2, [100])])
    head, cells = shapes.table([pair])
    found = dict(zip(head, cells, strict=True))
    assert (found["ratio"], found["aim"], found["CPU ratio"], found["at most"]) == (
        "0.90", "1.00", "1.00", "1.20",
    )  # fmt: skip


def test_refusals_are_errors_except_where_no_address_has_a_record() -> None:
    rows = _row(IPQUERY, [90], refused=3), _row(GEOIP2, [100], errors=1)
    by_name = {one.name: one for one in SHAPES}
    assert Pair(by_name["GET, one header"], *rows).errors == 4
    assert Pair(by_name["GET, no record"], *rows).errors == 1


def test_latencies_at_a_rate_are_compared_by_p99() -> None:
    ours, peer = _row(IPQUERY, [100], p99=0.003), _row(GEOIP2, [100], p99=0.002)
    found = steady.Steady(100, ours, peer)
    assert found.ratio == pytest.approx(1.5)
    assert steady.table(found)[-1] == ("ratio of p99s (at most 2)", "", "", "1.50")


def test_guards_are_measured_beside_the_same_without() -> None:
    chosen = beside.with_what_they_are_beside(
        guards.ROWS, lambda name: name == "guard: keys that differ"
    )
    assert [one.name for one in chosen] == [
        "guard: none, X-Api-Key that differs", "guard: keys that differ",
    ]  # fmt: skip
    assert [one.server for one in chosen] == [IPQUERY, KEYED]
    assert beside.with_what_they_are_beside(guards.ROWS, lambda name: False) == []
    rows = [_row(one.server, [rate], one.name) for one, rate in zip(chosen, (100, 95), strict=True)]
    rows[1].cpu = [10.5e-6]
    head, *cells = beside.table(chosen, rows)
    found = dict(zip(head, cells[1], strict=True))
    assert (found["ratio"], found["CPU ratio"], found["at most"]) == ("0.95", "1.05", "1.10")


@pytest.mark.parametrize("row", guards.ROWS, ids=lambda row: row.name)
def test_who_needs_a_key_is_sent_one_that_it_knows(row: beside.Compared) -> None:
    for request in row.write(ADDRESSES):
        assert len(Requests(request).urls) == 1
        if row.server is KEYED:
            assert any(request.count(key) == 1 for key in BENCH_KEYS)
    beside = {one.name: one for one in guards.ROWS}[row.beside or row.name]
    assert (beside.server, beside.anew) == (IPQUERY, row.anew)


def test_counting_is_measured_beside_the_same_without() -> None:
    by_name = {row.name: row for row in counting.ROWS}
    counted = [row for row in counting.ROWS if row.beside is not None]
    assert len(counted) * 2 == len(by_name)
    for row in counted:
        other = by_name[row.beside or ""]
        assert (row.server, other.server) == (IPQUERY, UNCOUNTED)
        assert (row.write, row.anew) == (other.write, other.anew)
    for row in counting.ROWS:
        assert {len(Requests(one).urls) for one in row.write(ADDRESSES)} == {1}


def test_no_two_requests_have_the_fields_of_the_one_before() -> None:
    fields = [one.split(b"\r\n")[2].split(b":")[0] for one in counting.never_alike(ADDRESSES)]
    assert len(set(fields)) == len(ADDRESSES.v4)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in WITHOUT}))
def test_what_is_left_out_stands_in_the_daemon_and_leaves_python(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")
    made = without_counting(name, source)
    assert made != source
    compile(made, spec.origin, "exec")
    with pytest.raises(ValueError, match=f"{name}: this doesn't stand there once: "):
        without_counting(name, made)


def test_a_worker_that_counts_nothing_answers_the_same(tmp_path: Path) -> None:
    (tmp_path / "db.xdb").write_bytes(ONE)
    snapshot = tmp_path / "db.xdb"
    found = {}
    counts_all = {}
    with Running(tmp_path, snapshot, None, SERVER_CORE) as running:
        # At ports of its own, as a benchmark may run beside this test.
        for kind, port in zip((IPQUERY, UNCOUNTED), free_ports(2), strict=True):
            server = attrs.evolve(kind, port=port)
            running.start(server)
            with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
                asked = [requests.get(b"1.2.3.%d" % last) for last in range(20)]
                asked += counting.never_alike(ADDRESSES)
                got = [exchange(connection, one) for one in asked]
                found[server.name] = [(one.status, one.body) for one in got]
                figures = exchange(connection, get("/metrics")).body.decode()
            counts = re.findall(
                r"^http_server_request_duration_seconds_count.* (\d+)(?:\.0)?$", figures, re.M
            )
            counts_all[server.name] = sum(map(int, counts)) >= len(asked)
    assert found[IPQUERY.name] == found[UNCOUNTED.name]
    assert set(found[IPQUERY.name]) == {(200, ONE_ANSWER)}
    assert counts_all[IPQUERY.name]
    assert not counts_all[UNCOUNTED.name]


def test_every_name_stands_once() -> None:
    names = [shape.name for shape in SHAPES]
    names += [row.name for row in (*guards.ROWS, *counting.ROWS)]
    assert len(set(names)) == len(names)


def test_no_two_servers_have_a_port() -> None:
    servers = {one.name: one for shape in SHAPES for one in (shape.ours, shape.peer)}
    servers |= {one.name: one for one in (KEYED, LIMITED, UNCOUNTED)}
    assert len({one.port for one in servers.values()}) == len(servers)


def test_only_a_death_or_a_closed_socket_may_lose_a_request() -> None:
    lost = [losses.Lost(one, 100, 0.1, 0.2, {"reset": 1}) for one in losses.DISTURBANCES]
    wrong = {one.disturbance.name for one in lost if one.is_wrong}
    assert wrong == {"nothing", "reload", "replacement"}
    assert not losses.Lost(losses.DISTURBANCES[0], 100, 0.1, 0.2, {}).is_wrong
