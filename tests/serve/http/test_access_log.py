"""The access log: lines that come in batches, are never torn, and never cost an answer."""

import json
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from ipquery.serve.http.access_log import AccessLog, LogFile
from ipquery.serve.http.log_formats import COMBINED, COMBINED_WITH_IDS, JSON_LINES, LOG_FORMATS
from tests.serve.http.logged import Elsewhere, MemoryFile, memory_log

NOW = 1_700_000_000


def note(log: AccessLog, target: str = "/") -> None:
    log.note(b"192.0.2.7", b"GET %b HTTP/1.1" % target.encode(), 200, 5, log.ending({}))


def targets(lines: list[str]) -> list[str]:
    return [line.split()[6] for line in lines]


def kept_in(path: Path) -> list[str]:
    return targets(path.read_text().splitlines())


def file_log(path: Path) -> AccessLog:
    log = AccessLog(LogFile(path), COMBINED, Elsewhere().run, Clock())
    log.tell_time(NOW)
    return log


# When


def test_a_line_is_written_within_a_second() -> None:
    file = MemoryFile()
    log = memory_log(file)
    log.tell_time(NOW)
    note(log, "/1")
    note(log, "/2")
    assert file.lines == []
    log.tell_time(NOW + 1)
    assert targets(file.lines) == ["/1", "/2"]


def test_many_lines_do_not_wait_that_long() -> None:
    file = MemoryFile()
    log = memory_log(file)
    for _ in range(10_000):
        note(log)
    assert 0 < len(file.lines) < 10_000


def test_what_was_noted_is_there_when_it_is_closed(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    note(log, "/1")
    assert log.close().called
    assert kept_in(tmp_path / "log") == ["/1"]


def test_one_of_so_many_is_noted() -> None:
    file = MemoryFile()
    log = memory_log(file, sample=10)
    for number in range(100):
        note(log, f"/{number}")
    log.tell_time(NOW)
    assert len(file.lines) == 10


# Where


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log = file_log(path)
    note(log)
    log.close()
    assert len(path.read_text().splitlines()) == 2


def test_after_rotation_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    log = file_log(path)
    note(log, "/1")
    path.rename(rotated)
    note(log, "/2")
    assert log.reopen().called
    note(log, "/3")
    log.close()
    assert kept_in(rotated) == ["/1", "/2"]
    assert kept_in(path) == ["/3"]


def test_what_cannot_be_reopened_goes_on(tmp_path: Path) -> None:
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    log = file_log(folder / "log")
    folder.rename(moved)
    with capturedLogs() as logged:
        log.reopen()
    note(log, "/still")
    log.close()
    assert "can't be reopened: No such file or directory" in formatEvent(logged[0])
    assert kept_in(moved / "log") == ["/still"]


@given(st.lists(st.sampled_from(["note", "note", "tick", "rotate", "go on"]), max_size=40))
def test_whatever_is_slow_lines_keep_their_order_and_their_file(actions: list[str]) -> None:
    """A line noted before its file was rotated away is in that one or an older one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "log"
        elsewhere = Elsewhere()
        elsewhere.is_slow = True
        log = AccessLog(LogFile(path), COMBINED, elsewhere.run, Clock())
        log.tell_time(NOW)
        noted = rotated = 0
        newest: dict[int, int] = {}  # by rotated file, the last line noted before
        reopened: list[Deferred[None]] = []
        for action in actions:
            if action == "note":
                note(log, f"/{noted}")
                noted += 1
            elif action == "tick":
                log.tell_time(NOW)
            elif action == "go on":
                elsewhere.go_on()
            elif not reopened or reopened[-1].called:
                rotated += 1
                path.rename(path.with_suffix(f".{rotated}"))
                newest[rotated] = noted
                reopened.append(log.reopen())
        closed = log.close()
        for _ in range(20):
            elsewhere.go_on()
        assert closed.called
        assert all(one.called for one in reopened)
        files = [path.with_suffix(f".{number + 1}") for number in range(rotated)]
        kept = [kept_in(file) for file in [*files, path]]
        assert [line for lines in kept for line in lines] == [f"/{n}" for n in range(noted)]
        for number, before in newest.items():
            assert sum(map(len, kept[:number])) >= before
        assert log.dropped == 0


def test_several_workers_write_one_file_and_one_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    path = tmp_path / "log"
    lines = [f"{'x' * size} /{size}\n" for size in range(1, 5000, 7)]

    def work(file: LogFile) -> None:
        for _ in range(3):
            assert file.write("".join(lines).encode()) == (0, "")

    with os.fdopen(reading, "rb") as pipe:
        workers = [
            threading.Thread(target=work, args=(file,))
            for file in (
                LogFile(path), LogFile(path), LogFile(None, writing), LogFile(None, writing),
            )
        ]  # fmt: skip
        for worker in workers:
            worker.start()
        short = [line.encode() for line in lines if len(line) <= 4096]
        got = [pipe.readline() for _ in range(6 * len(lines))]
        for worker in workers:
            worker.join()
        os.close(writing)
        assert pipe.read() == b""
    # A line longer than a pipe takes at once may be mixed with another's.
    assert sum(line in short for line in got) >= 6 * len(short) - 6 * (len(lines) - len(short))
    assert sorted(path.read_text().splitlines(True)) == sorted(6 * lines)


# What goes wrong


def test_a_full_disk_is_said_once_and_costs_nothing(tmp_path: Path) -> None:
    log = file_log(Path("/dev/full"))
    with capturedLogs() as logged:
        for _ in range(3):
            note(log)
            log.tell_time(NOW)
    (event,) = logged
    assert "/dev/full: this access log can't be written: No space left" in formatEvent(event)
    assert log.dropped == 3


def test_and_once_it_works_again_with_how_many_lines_it_cost() -> None:
    file = MemoryFile()
    log = memory_log(file)
    file.why_not = "No space left on device"
    with capturedLogs() as logged:
        note(log)
        note(log)
        log.tell_time(NOW)
        file.why_not = ""
        note(log, "/after")
        log.tell_time(NOW)
    assert "is written again; 2 lines were left out so far" in formatEvent(logged[1])
    assert targets(file.lines) == ["/after"]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the disk still has room for."""
    real, left = os.write, [0]

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr("os.write", write)
    return left


@pytest.mark.parametrize(
    ("room", "lost", "kept"),
    [
        (7, 2, b"one\ntwo\nfour\n"),
        (3, 3, b"one\nfour\n"),
        (4, 2, b"one\nfour\n"),
        (12, 1, b"one\ntwo two\nfour\n"),
        (0, 3, b"four\n"),
    ],
)
def test_a_line_cut_short_does_not_spoil_the_next(
    tmp_path: Path, disk: list[int], room: int, lost: int, kept: bytes
) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    disk[0] = room
    assert file.write(b"one\ntwo two\nthree\n") == (lost, "No space left on device")
    assert file.write(b"lost\n") == (1, "No space left on device")
    disk[0] = 100
    assert file.write(b"four\n") == (0, "")
    assert path.read_bytes() == kept


def test_a_slow_disk_delays_nobody_and_takes_bounded_memory() -> None:
    file, elsewhere = MemoryFile(), Elsewhere()
    log = AccessLog(file, COMBINED, elsewhere.run, Clock())
    elsewhere.is_slow = True
    with capturedLogs() as logged:
        for _ in range(100_000):
            note(log, "/" + "x" * 100)
    (event,) = logged
    assert "can't be written: it is too slow" in formatEvent(event)
    elsewhere.is_slow = False
    elsewhere.go_on()
    log.tell_time(NOW)
    assert len(file.kept) < 5_000_000
    assert len(file.lines) + log.dropped == 100_000


def test_a_disk_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    clock, elsewhere = Clock(), Elsewhere()
    elsewhere.is_slow = True
    log = AccessLog(LogFile(tmp_path / "log"), COMBINED, elsewhere.run, clock)
    note(log)
    closed = log.close()
    clock.advance(1)
    assert not closed.called
    with capturedLogs() as logged:
        clock.advance(1)
    assert closed.called
    assert "too slow" in formatEvent(logged[0])


# What a line says


SENT = st.binary(max_size=20) | st.sampled_from(
    [b'a "b"', b"\\", b"\r\nHTTP/1.1 200", b"\x1b[2J", b"\x7f", "é中".encode(), b"\xff\xfe", b""]
)


@given(SENT, SENT, st.sampled_from(sorted(LOG_FORMATS)))
def test_a_line_is_one_line_of_printable_ascii(target: bytes, agent: bytes, name: str) -> None:
    file = MemoryFile()
    log = memory_log(file, name)
    ending = log.ending({b"user-agent": agent, b"referer": agent})
    log.note(b"::1", b"GET %b HTTP/1.1" % target, 200, 1, ending)
    log.tell_time(NOW)
    (line,) = file.lines
    assert all(" " <= character <= "~" for character in line)


@given(SENT.filter(lambda target: b" " not in target), SENT)
def test_the_parts_of_a_combined_line_can_be_told_apart(target: bytes, agent: bytes) -> None:
    line = COMBINED.line(b"t", b"::1", b"GET %b HTTP/1.1" % target, 200, 1)
    line += COMBINED.ending({b"user-agent": agent})
    start, request, status, referrer, _, told, end = line.split(b'"')
    assert (start, status, referrer, end) == (b"::1 - - [t] ", b" 200 1 ", b"-", b"\n")
    method, shown, protocol = request.split(b" ")
    assert (method, protocol) == (b"GET", b"HTTP/1.1")

    def unescaped(text: bytes) -> bytes:
        return text.decode("ascii").encode().decode("unicode_escape").encode("latin-1")

    assert (unescaped(shown), unescaped(told)) == (target, agent)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_json_line_says_what_was_sent(target: str, agent: str) -> None:
    request = b"GET %b HTTP/1.1" % target.encode("utf-8", "surrogatepass")
    line = JSON_LINES.line(JSON_LINES.stamp(NOW), b"::1", request, 200, 1)
    fields = {b"user-agent": agent.encode("utf-8", "surrogatepass"), b"traceparent": b"00-1-2-01"}
    said = json.loads(line + JSON_LINES.ending(fields))
    assert said == {
        "time": "2023-11-14T22:13:20Z",
        "remote_addr": "::1",
        "request_method": "GET",
        "request_uri": target,
        "server_protocol": "HTTP/1.1",
        "status": 200,
        "body_bytes_sent": 1,
        "http_user_agent": agent,
        "traceparent": "00-1-2-01",
    }


def test_bytes_that_are_no_text_are_told_one_by_one() -> None:
    assert json.loads(b"{" + JSON_LINES.ending({b"referer": b"\xffa"})[1:]) == {
        "http_referer": "\\xffa"
    }


def test_ids_of_a_request_stand_at_the_end_where_that_is_wanted() -> None:
    ids = {b"x-request-id": b'a"b' + b"x" * 500, b"traceparent": b"00-1-2-01"}
    assert COMBINED.ending(ids) == b' "-" "-"\n'
    told = b' "-" "-" "a\\x22b%b" "00-1-2-01"\n' % (b"x" * 125)
    assert COMBINED_WITH_IDS.ending(ids) == told
    assert COMBINED_WITH_IDS.ending({}) == b' "-" "-" "-" "-"\n'


def test_a_json_line_has_an_id_up_to_a_bound() -> None:
    said = json.loads(b"{" + JSON_LINES.ending({b"x-request-id": b"x" * 500})[1:])
    assert said == {"request_id": "x" * 128}
