"""The access log's file."""

from pathlib import Path

import pytest

from ipquery.serve.access_log import AccessLog


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


def test_it_does_not_rotate_by_itself(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    for _ in range(2000):
        log.write("x" * 1000)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["access.log"]


def test_a_folder_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(tmp_path / "missing/access.log")
