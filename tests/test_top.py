"""What ipquery top makes of two scrapes, and of nodes that don't answer as they should."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ipquery.cli import main
from ipquery.cli.text import width
from ipquery.cli.top import encodable
from ipquery.cli.top_figures import Scrape, error_rate, quantile, reading, restarted
from ipquery.cli.top_node import Target, Watch, ask
from ipquery.cli.top_view import Node, age, duration, fitted, number, plain
from ipquery.metrics import DURATION, LAG, OPENED

START = "ipquery_start_timestamp_seconds 1000.0\n"
COUNT = "http_server_request_duration_seconds_count"


def requests(status: int, count: float, route: str = "/v1/ip/{ip}") -> str:
    labels = f'http_request_method="GET",http_route="{route}",http_response_status_code="{status}"'
    return f"{COUNT}{{{labels}}} {count}\n"


def histogram(name: str, **counts: float) -> str:
    return "".join(f'{name}_bucket{{le="{bound}"}} {count}\n' for bound, count in counts.items())


def scrape(text: str, at: float = 0.0, start: str = START) -> Scrape:
    return Scrape.parse(start + text, at)


def shown(*scrapes: Scrape, now: float = 1090.0) -> dict[str, str]:
    """The rows for a node: label and text."""
    before = scrapes[0] if len(scrapes) > 1 else None
    lines = plain([Node("n", reading(before, scrapes[-1]), "up")], now)
    return {line[:36].strip(): line[36:].strip() for line in _wide(lines)}


def _wide(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        label, _, text = line.strip().partition("  ")
        yield f"{label:<36}{text.strip()}"


def test_rates_are_differences_over_the_time_between() -> None:
    before = scrape(requests(200, 100) + requests(404, 5) + "ipquery_connections_opened_total 7\n")
    last = scrape(
        requests(200, 160) + requests(404, 5) + requests(503, 20)
        + "ipquery_connections_opened_total 8\n",
        at=2.0,
    )  # fmt: skip
    node = reading(before, last)
    assert node.rate(DURATION) == 40.0
    assert node.rate(OPENED) == 0.5
    # 503 is new: it begins at 0.
    assert error_rate(node) == (10.0, 0.25)
    rows = shown(before, last)
    assert rows["requests"] == "40/s"
    assert rows["errors"] == "10/s (25.00%)"
    assert rows["/v1/ip/{ip} 2xx"] == "30/s"
    assert rows["/v1/ip/{ip} 5xx"] == "10/s"
    assert "/v1/ip/{ip} 4xx" not in rows


def test_no_record_is_an_answer_not_an_error() -> None:
    node = reading(scrape(requests(501, 1)), scrape(requests(501, 3), at=1.0))
    assert error_rate(node) == (0.0, 0.0)


def test_from_one_scrape_no_rate_is_told() -> None:
    node = reading(None, scrape(requests(200, 100)))
    assert (node.rate(DURATION), node.quantile(DURATION, 0.5), error_rate(node)) == (None,) * 3
    assert shown(scrape(requests(200, 100)))["requests"] == "-/s"


@pytest.mark.parametrize(
    "last",
    [
        scrape(requests(200, 100), 2.0, "ipquery_start_timestamp_seconds 2000.0\n"),
        scrape(requests(200, 99), 2.0),
        scrape("", 2.0),
    ],
    ids=["another start", "a counter went back", "a counter is gone"],
)
def test_a_restart_is_no_negative_rate(last: Scrape) -> None:
    before = scrape(requests(200, 100))
    assert restarted(before, last)
    assert reading(before, last).rate(DURATION) is None
    scrapes = iter([before, last, Scrape(4.0, last.samples)])
    watch = Watch(Target.parse("n"), lambda target: next(scrapes))
    states = []
    for _ in range(3):
        watch.begin()
        watch.wait(10)
        states.append(watch.node.state.split()[0])
    assert states == ["up", "restarted", "up"]
    assert watch.node.reading is not None
    assert watch.node.reading.rate(DURATION) == 0.0


def test_a_gauge_that_falls_is_no_restart() -> None:
    one, other = scrape("ipquery_connections 9\n"), scrape("ipquery_connections 3\n", 1.0)
    assert not restarted(one, other)


def test_latency_is_of_what_was_between_the_scrapes() -> None:
    name = DURATION.name
    before = scrape(histogram(name, **{"0.001": 1000, "0.01": 1000, "+Inf": 1000}))
    last = scrape(histogram(name, **{"0.001": 1000, "0.01": 1100, "+Inf": 1100}), 1.0)
    node = reading(before, last)
    assert node.quantile(DURATION, 0.5) == pytest.approx(0.0055)
    assert node.quantile(DURATION, 0.99) == pytest.approx(0.00991)
    assert node.quantile(LAG, 0.99) is None


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=8).filter(lambda counts: sum(counts) > 0),
    st.floats(0.01, 1.0),
)
def test_a_quantile_is_in_the_bucket_of_its_rank(counts: list[int], share: float) -> None:
    bounds = [*map(float, range(1, len(counts))), float("inf")]
    below = [float(sum(counts[: place + 1])) for place in range(len(counts))]
    found = quantile(list(zip(bounds, below, strict=True)), share)
    assert found is not None
    place = next(i for i, count in enumerate(below) if count >= below[-1] * share and count)
    assert found <= bounds[place]
    assert found >= (bounds[place - 1] if place else 0.0)


def test_what_is_told_of_the_node() -> None:
    text = (
        'ipquery_workers{state="configured"} 4\nipquery_workers{state="ready"} 3\n'
        'ipquery_workers{state="starting"} 1\n'
        'ipquery_worker_restarts_total{reason="died"} 2\n'
        'ipquery_reloads_total{outcome="refused"} 1\n'
        'ipquery_reload_refusals_total{reason="configuration"} 1\n'
        "ipquery_last_reload_successful 0\n"
        'ipquery_snapshot_info{identity="0123456789abcdef0123"} 1\n'
        "ipquery_snapshot_loaded_timestamp_seconds 1080\n"
        'ipquery_source_timestamp_seconds{source="a.dat"} -171710\n'
        'ipquery_breaker_workers{upstream="cache",state="open"} 1\n'
        'ipquery_breaker_workers{upstream="cache",state="closed"} 2\n'
        'ipquery_log_lines_dropped_total{log="access"} 12\n'
    )
    limits = 'ipquery_limits_hit_total{limit="body_bytes"} '
    rows = shown(scrape(f"{text}{limits}3\n"), scrape(f"{text}{limits}4\n", 2.0))
    told = {
        "workers ready": "3 of 4, 1 starting",
        "restarts": "2 died",
        "reloads": "1 refused",
        "refusals": "1 configuration",
        "last reload": "changed nothing",
        "snapshot": "0123456789abcdef",
        "loaded": "10 s ago",
        "a.dat": "2 d old",
        "breaker cache": "2 closed, 1 open",
        "log lines dropped": "12 access",
        "limits hit": "body_bytes 0.5/s",
    }
    assert {label: rows.get(label) for label in told} == told


def test_nodes_are_side_by_side_and_one_that_is_down_is_said_to_be() -> None:
    up = Node("one:1", reading(None, scrape(requests(200, 1))), "up")
    down = Node("two:2", None, "down: connection refused", True)
    first, second, *_, last = plain([up, down], 1000.0)
    assert first.split() == ["one:1", "two:2"]
    assert second.split() == ["state", "up", "down:", "connection", "refused"]
    assert last.split() == ["log", "lines", "dropped", "none"]


HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e"


def test_nothing_that_a_node_says_reaches_the_terminal_as_a_command() -> None:
    before = scrape(requests(200, 1, HOSTILE))
    last = scrape(
        requests(200, 5, HOSTILE)
        + f'ipquery_snapshot_info{{identity="{HOSTILE}"}} 1\n'
        + f'ipquery_limits_hit_total{{limit="{HOSTILE}"}} 1\n'
        + f'ipquery_source_timestamp_seconds{{source="{HOSTILE}{"国" * 900}"}} 1\n'
        + f'ipquery_breaker_workers{{upstream="{HOSTILE}",state="{HOSTILE}"}} 1\n'
        + "".join(requests(200, n, f"/{n}") for n in range(500)),
        at=1.0,
    )
    lines = list(plain([Node(HOSTILE, reading(before, last), HOSTILE)], 1.0))
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b" in line for line in lines)
    assert len(lines) < 50
    assert max(map(width, lines)) <= 90


@given(st.text(), st.text())
def test_any_text_is_fitted_and_can_be_written(text: str, more: str) -> None:
    cut = fitted(f"{text}{more * 9}")
    assert width(cut) <= 40
    assert encodable(cut, "ascii").isprintable()


@pytest.mark.parametrize(
    "text", ["", "<html>", "a{b 1", 'a{b="} 1', "up 1\n", "\0", "# TYPE a\n", "a 1 2 3 4 {}"]
)
def test_what_are_no_figures_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        Scrape.parse(text, 0.0)


@given(st.text(alphabet='{}=",\\\n# abel1.eNI+-_', max_size=60))
def test_any_text_is_figures_or_refused(text: str) -> None:
    try:
        told = scrape(text, 1.0)
    except ValueError:
        return
    list(plain([Node("n", reading(scrape(""), told), "up")], 1.0))


def test_numbers_that_are_none_are_left_out() -> None:
    values = ("NaN", "+Inf", "-Inf", "1e300")
    text = "".join(requests(200, 1, f"/{one}").replace(" 1\n", f" {one}\n") for one in values)
    assert not scrape(text).of(COUNT)
    name = DURATION.name
    last = scrape(histogram(name, x=5, nan=3, **{"+Inf": 9, "1": 4}), 1.0)
    assert reading(scrape(""), last).quantile(DURATION, 0.5) is not None


def test_figures_are_written_to_be_read() -> None:
    assert [number(one) for one in (None, 0.0, 0.26, 99.0, 1234.5)] == [
        "-", "0", "0.3", "99", "1,234",
    ]  # fmt: skip
    assert [duration(one) for one in (None, 4.2e-6, 0.0123, 2.0)] == [
        "-", "4.2 us", "12.3 ms", "2 s",
    ]  # fmt: skip
    assert [age(one) for one in (-5, 90, 150, 7300, 400000)] == [
        "0 s", "90 s", "2 min", "2 h", "5 d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("http://a", ("a", 80, "/metrics", False)),
        ("a:8080", ("a", 8080, "/metrics", False)),
        ("https://[::1]/", ("::1", 443, "/metrics", True)),
        ("http://a:1/m", ("a", 1, "/m", False)),
    ],
)
def test_where_a_node_is(text: str, where: tuple[str, int, str, bool]) -> None:
    target = Target.parse(text)
    assert (target.host, target.port, target.path, target.is_secure) == where


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://", "http://u:p@a", "http://a:x", "http://[a", "http://a/ b", "\x1b"]
)
def test_what_is_no_url_is_one_line(url: str) -> None:
    done = CliRunner().invoke(main, ["top", url])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
    assert done.output[:-1].isprintable()


@contextmanager
def answering(answer: bytes) -> Iterator[Target]:
    """A node that says just that."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.recv(65536)
            self.connection.sendall(answer)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Target.parse(f"127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 503 x\r\n\r\n", "down: answered 503"),
        (b"HTTP/1.1 401 x\r\n\r\n", "down: 401, needs an API key"),
        (b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "down: answered 302"),
        (b"SSH-2.0\r\n", "down: answered something that isn't HTTP"),
        (b"", "down: closed without an answer"),
        (b"HTTP/1.1 200 x\r\n\r\na 1\n", "down: no figures of ipquery"),
        (
            b"HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n" + START.encode(),
            "down: answered only in part",
        ),
        (
            b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n99\r\n" + START.encode(),
            "down: answered only in part",
        ),
        (b"HTTP/1.1 200 x\r\n\r\n<html>", "down: no text of Prometheus"),
        (b"HTTP/1.1 200 x\r\n\r\n" + b"#" * 5_000_000, "down: answered more than figures can be"),
    ],
)
def test_a_node_that_answers_something_else_is_down(answer: bytes, why: str) -> None:
    with answering(answer) as target:
        watch = Watch(target)
        watch.begin()
        watch.wait(10)
    assert watch.node.is_down
    assert watch.node.state.startswith(why)


def test_a_node_that_says_nothing_is_down_and_asked_once_at_a_time() -> None:
    asked, answer = [], threading.Event()

    def slow(target: Target) -> Scrape:
        asked.append(target)
        answer.wait(20)
        return scrape("")

    watch = Watch(Target.parse("a"), slow)
    for _ in range(3):
        watch.begin()
        watch.wait(0)
        assert watch.node.state == "down: no answer in time"
    assert len(asked) == 1
    answer.set()
    watch.wait(20)
    assert watch.node.state.startswith("up")


def test_a_node_that_drips_is_cut_off() -> None:
    seconds = iter([0.0, *range(2, 100)])
    answer = b"HTTP/1.1 200 x\r\n\r\n" + b"#" * 200_000
    with answering(answer) as target, pytest.raises(TimeoutError):
        ask(target, monotonic=lambda: next(seconds))


def test_who_is_down_is_told_and_is_an_exit_status() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and doesn't listen
        url = f"127.0.0.1:{bound.getsockname()[1]}"
        done = CliRunner().invoke(main, ["top", "--interval", "0.5", url])
    assert done.exit_code == 1
    assert done.output.splitlines()[1].split() == ["state", "down:", "connection", "refused"]


@pytest.mark.parametrize("given", ["", " \n", "a b", "a\r\nHost: x", "é", "x" * 2000])
def test_what_is_no_key_is_one_line(given: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(given)
    runs = [CliRunner().invoke(main, ["top", "--key-file", str(path)])]
    if given.strip():
        runs.append(CliRunner().invoke(main, ["top"], env={"IPQUERY_KEY": given}))
    for done in runs:
        assert done.exit_code == 1
        assert "no API key" in done.output
        assert done.output.count("\n") == 1
    done = CliRunner().invoke(main, ["top", "--key-file", str(tmp_path / "none")])
    assert done.output == f"Error: {tmp_path}/none: No such file or directory\n"
