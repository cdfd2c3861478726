"""The daemon's log, as text and as JSON, of the supervisor and of workers."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    formatEventAsClassicLogText,
)
from twisted.python.failure import Failure

from ipquery.config import Config
from ipquery.fleet.child import WorkerProcess
from ipquery.fleet.control import CODEC
from ipquery.fleet.log import Traceback, as_json, as_text, observer, told
from tests.config.files import complaint_about, read
from tests.fleet.processes import Daemon

SENT = st.text(max_size=30) | st.sampled_from(
    ["a\nb", "\r\n2026-01-01T00:00:00+0000 [x#info] forged", "\x1b[2J", "\x7f", "\x9b31m",
     "é中\u2028\u202e", "\ud800", '","level":"error', "\\n", "\t", ""]
)  # fmt: skip


def _event(level: LogLevel = LogLevel.info, text: str = "{what}", **fields: Any) -> LogEvent:
    return {
        "log_format": text,
        "log_level": level,
        "log_namespace": "ipquery.test",
        "log_time": 1700000000.25,
        **fields,
    }


def _raised(text: str) -> Failure:
    try:
        raise ValueError(text)
    except ValueError:
        return Failure()


def _json(event: LogEvent) -> Any:
    line = as_json(event, 7)
    assert line is not None
    return json.loads(line)


def _of_worker(event: LogEvent) -> LogEvent:
    """What the supervisor logs of an event of a worker, by way of the pipe."""
    events: list[LogEvent] = []
    message = told(event)
    assert message is not None
    child = WorkerProcess.__new__(WorkerProcess)
    child._number, child.transport = 2, None
    publisher = LogPublisher(events.append)  # type: ignore[arg-type] # any callable observes
    logger = Logger("ipquery.fleet.child", observer=publisher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipquery.fleet.child._log", logger)
        child._act(CODEC.decode(CODEC.encode(message)))
    (one,) = events
    return one


def test_a_json_line_is_a_flat_object() -> None:
    event = _event(LogLevel.warn, "{name} is {share:.0%} full", name="disk", share=0.5, left=None)
    assert as_json(event, 7) == (
        '{"time": "2023-11-14T22:13:20.250Z", "level": "warn", "message": "disk is 50% full", '
        '"process": "supervisor", "pid": 7, "namespace": "ipquery.test", "name": "disk", '
        '"share": 0.5, "left": null}\n'
    )


def test_a_line_of_a_worker_says_which_one_and_is_like_the_supervisors() -> None:
    event = _event(LogLevel.error, "{path}: {n}", path=Path("/x"), n=3)
    said = _json(_of_worker(event))
    assert (said.pop("process"), said.pop("worker"), said.pop("pid")) == ("worker", 2, None)
    alone = _json(event)
    assert (alone.pop("process"), alone.pop("pid")) == ("supervisor", 7)
    assert said == alone
    assert said["path"] == "/x"


def test_the_text_of_a_worker_stays_as_it_was() -> None:
    text = as_text(_of_worker(_event(what="tea")))
    assert text is not None
    assert text.endswith("[ipquery.fleet.child#info] worker 2 (pid None): tea\n")


@pytest.mark.parametrize("pass_on", [lambda event: event, _of_worker], ids=["own", "worker"])
def test_a_traceback_is_a_field_of_one_json_line(pass_on: Callable[[LogEvent], LogEvent]) -> None:
    event = pass_on(_event(LogLevel.critical, "a fault", log_failure=_raised("cup")))
    said = _json(event)
    assert said["message"] == "a fault"
    assert said["level"] == "critical"
    assert said["failure"].startswith("Traceback")
    assert "ValueError: cup" in said["failure"]
    text = as_text(event)
    assert text is not None
    first, *others = text.splitlines()
    assert first.endswith("a fault")
    assert others
    assert all(line.startswith("\t") for line in others)


@given(SENT, SENT)
def test_whatever_is_sent_is_one_json_line_of_printable_ascii(what: str, fault: str) -> None:
    for event in (_event(what=what), _event(what=what, log_failure=_raised(fault))):
        for one in (event, _of_worker(event)):
            line = as_json(one, 7)
            if line is None:  # an empty text is no line in either format
                assert as_text(one) is None
                continue
            assert re.fullmatch("[ -~]+\n", line)
            # Halves of a surrogate pair that meet are one character to whoever reads the line.
            meant = what.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            assert json.loads(line)["message"] == meant


@given(SENT, SENT)
def test_whatever_is_sent_is_one_line_of_text_but_for_faults(what: str, fault: str) -> None:
    lone = as_text(_event(text="x{what}", what=what))
    assert lone is not None
    assert lone.count("\n") == 1
    whole = as_text(_event(text="x{what}", what=what, log_failure=_raised(fault)))
    assert whole is not None
    for text in (lone, whole):
        assert text.encode()  # a file can hold it
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]", text)
    assert all(line.startswith("\t") for line in whole.split("\n")[1:-1])


@given(st.text(alphabet="abc {}中", max_size=20))
def test_text_without_anything_to_escape_is_twisteds(what: str) -> None:
    event = _event(what=what)
    assert as_text(event) == formatEventAsClassicLogText(event)


def test_what_a_traceback_of_another_process_says_is_kept() -> None:
    said = _json(_event(LogLevel.error, "it said: b", log_failure=Traceback("a\nb")))
    assert said["failure"] == "a\nb"


def test_fields_are_values_of_json_and_bounded() -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError

    event = _event(
        text="m", a=1, b=True, c=float("inf"), d="x" * 5000, e=Unprintable(), pid=9, time=1
    )
    said = _json(event)
    assert (said["a"], said["b"], said["c"]) == (1, True, "inf")
    assert len(said["d"]) == 1000
    assert "Unprintable" in said["e"]
    assert (said["pid"], said["time"]) == (7, "2023-11-14T22:13:20.250Z")


def test_format_and_level_are_those_in_force() -> None:
    file, current = io.StringIO(), [Config()]
    observe: Any = observer(file, lambda: current[0], lambda: 7)
    assert ILogObserver.providedBy(observe)

    def written(level: LogLevel, what: str) -> str:
        file.seek(0)
        file.truncate()
        observe(_event(level, what=what))
        return file.getvalue()

    assert written(LogLevel.info, "a").endswith("[ipquery.test#info] a\n")
    assert written(LogLevel.debug, "a") == ""
    current[0] = Config(log_format="json", log_level="warn")
    assert written(LogLevel.info, "a") == ""
    assert json.loads(written(LogLevel.warn, "a"))["message"] == "a"
    current[0] = Config(log_level="error")
    assert written(LogLevel.warn, "a") == ""
    assert written(LogLevel.critical, "a").endswith("#critical] a\n")


def test_a_worker_is_not_told_to_debug() -> None:
    assert told(_event(LogLevel.debug, what="a")) is None


def test_another_log_format_needs_no_new_workers_and_comes_with_the_reload(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    daemon.config = attrs.evolve(daemon.config, log_format="json", log_level="error")
    daemon.reload()
    assert daemon.supervisor.state.config.log_format == "text", "until it is carried out"
    daemon.settle(lambda: daemon.log.count("reloaded") == 1)
    in_force = daemon.supervisor.state.config
    assert (in_force.log_format, in_force.log_level) == ("json", "error")
    assert len(daemon.reactor.workers) == 2, "those that were there"
    daemon.close()


def test_what_may_be_set(tmp_path: Path) -> None:
    config = read(tmp_path, 'log_format = "json"\nlog_level = "warn"')
    assert (config.log_format, config.log_level) == ("json", "warn")
    assert "log_format must be one of text, json" in complaint_about(tmp_path, 'log_format = "x"')
    assert "log_level must be one of info, warn, error" in complaint_about(
        tmp_path, 'log_level = "debug"'
    )
