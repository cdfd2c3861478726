"""The generator on bare sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadgen.tools.bare import Bare, read_requests

GET = b"GET /api/ip_query?ip=1.2.3.4 HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@contextmanager
def server(answers: list[bytes], keep: bool) -> Iterator[tuple[int, list[bytes]]]:
    """A server of one thread that gives these answers in turn, the last again and again."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(one: socket.socket) -> bool:
        try:
            data = one.recv(65536)
        except ConnectionResetError:  # the run ended before the answer was read
            return False
        if not data:
            return False
        heard.append(data)
        one.sendall(answers[min(len(heard), len(answers)) - 1])
        return keep

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            with one:
                while answer(one):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], heard
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def test_a_kept_connection_is_asked_again_and_again() -> None:
    with server([OK], keep=True) as (port, heard):
        bare = Bare(port, [GET, GET.replace(b"1.2", b"2.2")], anew=False)
        seconds = bare.run(1, 0.3, None)
        bare.close()
    assert seconds == pytest.approx(0.3, abs=0.1)
    assert len(bare.latencies) > 10
    assert heard[1] != heard[0] == heard[2]
    assert bare.errors == bare.refused == 0


def test_anew_is_a_connection_for_each_request() -> None:
    with server([OK], keep=False) as (port, heard):
        bare = Bare(port, [GET], anew=True)
        bare.run(4, 0.3, None)
        bare.close()
    assert len(bare.latencies) > 10
    assert set(heard) == {GET}
    assert bare.errors == 0


def test_a_rate_is_kept_and_nothing_is_due_later() -> None:
    with server([OK], keep=False) as (port, _):
        bare = Bare(port, [GET], anew=True)
        bare.run(4, 0.5, 200)
        bare.close()
    assert 90 <= len(bare.latencies) <= 100


def test_refusals_and_what_is_no_answer_are_counted() -> None:
    answers = [b"HTTP/1.1 501 Not Implemented\r\n\r\n", b"HTTP/1.1 500 Oh\r\n\r\n", b"half", OK]
    with server(answers, keep=False) as (port, _):
        bare = Bare(port, [GET], anew=True)
        bare.run(1, 0.3, None)
        bare.close()
    assert bare.refused == 1
    assert bare.errors == 2
    assert len(bare.latencies) > 3


def test_a_server_that_is_gone_is_an_error_now_and_then() -> None:
    with server([OK], keep=False) as (port, _):
        pass
    bare = Bare(port, [GET], anew=True)
    bare.run(2, 0.2, None)
    bare.close()
    assert 2 <= bare.errors <= 2 * 25
    assert not bare.latencies


def test_requests_of_a_file_end_with_nul(tmp_path: Path) -> None:
    (tmp_path / "requests").write_bytes(b"a b\r\n\0c\0")
    assert read_requests(tmp_path / "requests") == [b"a b\r\n", b"c"]
