"""The access log's file."""

from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from ipquery.serve.http.access_log import AccessLog


def test_lines_are_appended_and_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = AccessLog(path)
    log.write("one")
    assert path.read_text() == "before\none\n"
    log.close()


def test_after_rotation_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    log = AccessLog(path)
    log.write("one")
    path.rename(rotated)
    log.write("two")
    log.reopen()
    log.write("three")
    log.close()
    assert rotated.read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_two_workers_share_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    one, other = AccessLog(path), AccessLog(path)
    for number in range(3):
        one.write(f"one {number}")
        other.write(f"other, longer {number}")
    assert path.read_text().splitlines() == [
        text for number in range(3) for text in (f"one {number}", f"other, longer {number}")
    ]
    one.close()
    other.close()


def test_what_cannot_be_reopened_goes_on(tmp_path: Path) -> None:
    folder, moved = tmp_path / "log", tmp_path / "moved"
    folder.mkdir()
    log = AccessLog(folder / "access.log")
    folder.rename(moved)
    with capturedLogs() as logged:
        log.reopen()
    log.write("still here")
    log.close()
    assert "can't be reopened: No such file or directory" in formatEvent(logged[0])
    assert (moved / "access.log").read_text() == "still here\n"


def test_a_full_disk_is_said_once_and_costs_nothing() -> None:
    log = AccessLog(Path("/dev/full"))
    with capturedLogs() as logged:
        log.write("one")
        log.write("two")
    log.close()
    (event,) = logged
    assert "/dev/full: this access log can't be written: No space left" in formatEvent(event)


def test_it_does_not_rotate_by_itself(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    for _ in range(2000):
        log.write("x" * 1000)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["access.log"]


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(tmp_path / "missing/access.log")
