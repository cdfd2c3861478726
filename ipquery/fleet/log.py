"""The daemon's log: an event a line, as text for people or as JSON for machines.

Only the process of the supervisor writes it: workers tell it theirs (:func:`told`). Which
format and levels are in force is looked up at each event, so that a reload changes them for
the supervisor's lines and the workers' alike.

Whatever an event holds may come from a caller, by way of an exception's text: what a terminal
acts on, or what would begin another line, is escaped.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
)
from twisted.python.reflect import safe_str

from ipquery.fleet.control import Log
from ipquery.rfc3339 import timestamp

if TYPE_CHECKING:
    # Workers use this module, too: to load what reads configurations would take each of them a
    # megabyte, and a tenth of the time in which they start.
    from ipquery.config import Config

# What an event of Twisted holds beside the fields that its caller gave, log_... apart: the
# names of its older way of logging.
_TWISTEDS = frozenset({"format", "isError", "message", "system", "time", "why", "failure"})

# What each line tells by itself.
_OURS = frozenset({"level", "namespace", "pid", "process"})

# A field is a value to filter by; its whole text stands in the message, if it belongs there.
_LONGEST_FIELD = 1000

# Controls (tab and line feed apart), what reverses the direction of text, the line ends that
# only Unicode knows, and halves of surrogate pairs, which can't be written as UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@attrs.frozen
class Traceback:
    """What another process told of a failure; observers ask it as they ask a ``Failure``."""

    text: str

    def getTraceback(self, *_: object, **__: object) -> str:
        """The whole text."""
        return self.text


def told(event: LogEvent) -> Log | None:
    """An event of a worker as the supervisor is told it; ``None`` for what it needn't know."""
    level = event.get("log_level", LogLevel.info)
    if level is LogLevel.debug:
        return None
    return Log(
        level.name,
        formatEvent(event),
        str(event.get("log_namespace", "-")),
        float(event.get("log_time", 0)),
        fields_of(event),
        _failure_of(event),
    )


def fields_of(event: LogEvent) -> dict[str, Any]:
    """What an event tells beside its message: values that JSON has, and texts of others."""
    return {
        key: _plain(value)
        for key, value in event.items()
        if not key.startswith(("log_", "_")) and key not in _TWISTEDS and key not in _OURS
    }


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return safe_str(value)[:_LONGEST_FIELD]


def _failure_of(event: LogEvent) -> str | None:
    failure = event.get("log_failure")
    return None if failure is None else safe_str(failure.getTraceback())


def observer(
    file: Any, config: "Callable[[], Config]", pid: Callable[[], int] = os.getpid
) -> ILogObserver:
    """What writes the log.

    :param file: where to; anything with ``write`` and ``flush``.
    :param config: the configuration in force.
    :param pid: of this process, which becomes another one in the background.
    """

    def line_of(event: LogEvent) -> str | None:
        current = config()
        level = event.get("log_level", LogLevel.info)
        if level < LogLevel.lookupByName(current.log_level):
            return None
        return as_json(event, pid()) if current.log_format == "json" else as_text(event)

    return FileLogObserver(file, line_of)


def as_text(event: LogEvent) -> str | None:
    """An event as Twisted writes it, escaped. Only of faults there are more lines, indented."""
    line = eventAsText(event, includeTraceback=False)
    failure = _failure_of(event)
    if not line and failure is None:
        return None
    text = _escaped(line).replace("\n", "\\n")
    if failure is not None:
        text += _escaped("\n" + failure.rstrip("\n")).replace("\n", "\n\t")
    return text + "\n"


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def as_json(event: LogEvent, pid: int) -> str | None:
    """An event as a flat object in a line of printable ASCII.

    :param pid: of the supervisor, for what isn't told by a worker.
    """
    worker_event = event.get("told")
    if isinstance(worker_event, Log):
        return _object(
            worker_event.seconds,
            worker_event.level,
            worker_event.text,
            worker_event.namespace,
            {"process": "worker", "worker": event["worker"], "pid": event["pid"]},
            worker_event.fields,
            worker_event.failure,
        )
    message, failure = formatEvent(event), _failure_of(event)
    if not message and failure is None:
        return None
    return _object(
        event.get("log_time", 0),
        event.get("log_level", LogLevel.info).name,
        message,
        str(event.get("log_namespace", "-")),
        {"process": "supervisor", "pid": pid},
        fields_of(event),
        failure,
    )


def _object(
    seconds: float,
    level: str,
    message: str,
    namespace: str,
    process: Mapping[str, object],
    fields: Mapping[str, object],
    failure: str | None,
) -> str:
    line: dict[str, object] = {
        # RFC 3339, which every collector reads.
        "time": timestamp(seconds, "milliseconds"),
        "level": level,
        "message": message,
        **process,
        "namespace": namespace,
    }
    # A name of ours isn't given to another value, and the message isn't told twice.
    line |= {key: value for key, value in fields.items() if key not in line and value != message}
    if failure is not None:
        line["failure"] = failure
    # JSON allows DEL as it is, a terminal acts on it.
    return json.dumps(line).replace("\x7f", "\\u007f") + "\n"
