"""Access logs: the combined format of Apache and nginx, or what nginx's ``log_format`` says.

What is added stands in quotes at the end of a line, ``"-"`` if it isn't known, escaped as nginx
does it (``log_format``'s ``escape=default``).
"""

import re
from typing import Any

import attrs
import numpy as np

from ipquery.address import shorten
from ipquery.data.columns.texts import WIDTH
from ipquery.data.enrich.located import Block, Located, last_line_end, lines_of
from ipquery.data.enrich.options import Options
from ipquery.data.ranges import Column
from ipquery.data.record import DataError

COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)

LOOKS_COMBINED = re.compile(rb'\S+ \S+ [^\n\[]*\[[^\]\n]+\] "')
"""How a line of that format begins."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# nginx's ngx_http_log_module and ngx_http_core_module have these.
_TIMES = ("time_local", "time_iso8601", "msec")

_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')

# The place of the lowest bit that is set, WIDTH if none is.
_LOWEST = np.array(
    [WIDTH, *((number & -number).bit_length() - 1 for number in range(1, 1 << WIDTH))], np.uint8
)
_WINDOWS = 3
"""Of 16 characters each, so that the longest address and a blank are in them."""


@attrs.frozen
class LogFormat:
    """``mark`` is the character behind the address, if there is one. ``before`` matches what is
    before it in a line, if it isn't the first thing."""

    before: str | None
    mark: str | None

    def record_end(self, data: bytes) -> int:
        return last_line_end(data)

    def locate(self, block: Block) -> Located:
        begin, end = lines_of(block, block.newlines())
        if self.before is None:
            return Located(end, begin, self._lengths(block, begin, end))
        inside = rf"[^\n{re.escape(self.mark)}]*" if self.mark else r"[^\r\n]*"
        behind = re.escape(self.mark or "")
        # Each line has a match, if only an empty one, without the group.
        pattern = re.compile(rf"^(?:{self.before}({inside}){behind}|)".encode(), re.MULTILINE)
        spans = np.array([one.span(1) for one in pattern.finditer(block.data)], np.int64)
        starts = np.array([0, *(block.newlines() + 1)], np.int64)
        found = spans[np.searchsorted(starts, begin)]
        return Located(end, found[:, 0], np.where(found[:, 0] < 0, -1, found[:, 1] - found[:, 0]))

    def _lengths(self, block: Block, begin: Column, end: Column) -> Column:
        """How long what is in front of the mark is, in each line."""
        length = end - begin
        if self.mark is None:
            return length
        windows: Column = np.ndarray(len(block.data) + 1, f"V{WIDTH}", block.column, strides=(1,))
        left = np.arange(len(begin))
        for number in range(_WINDOWS):
            at = begin[left] + number * WIDTH
            inside = at < end[left]
            left, at = left[inside], at[inside]
            rows = windows[at].view(np.uint8)
            marks = np.packbits(rows == ord(self.mark), bitorder="little").view("<u2")
            place = at - begin[left] + _LOWEST.take(marks)
            has = (marks != 0) & (place < length[left])
            length[left[has]] = place[has]
            left = left[~has]
        mark = self.mark.encode()
        for row in left.tolist():  # no addresses
            found = block.data.find(mark, begin[row], end[row])
            if found >= 0:
                length[row] = found - begin[row]
        return length

    def piece(self, number: int, value: Any) -> bytes:
        return f' "{_escaped(value)}"'.encode()

    def addition(self, pieces: bytes) -> bytes:
        return pieces


def _escaped(value: Any) -> str:
    if value is None:
        return "-"
    return _ESCAPED.sub(lambda found: rf"\x{ord(found[0]):02X}", str(value))


def time_variable(options: Options) -> str | None:
    """The first of a log format's variables that tells when a line was written, if one does."""
    _, names = _parts(options)
    return next((name for name in names if name in _TIMES), None)


def _parts(options: Options) -> tuple[list[str], list[str]]:
    """Literals and variables of a log format, which come in turn, a literal at both ends."""
    given = COMBINED if options.log_format is None else options.log_format
    parts = _VARIABLE.split(given)
    names = [braced or plain for braced, plain in zip(parts[1::3], parts[2::3], strict=True)]
    return parts[::3], names


def format_of(options: Options) -> LogFormat:
    """
    :raises DataError: the log format can't be told apart, or hasn't the address.
    """
    wanted = (options.column or "remote_addr").removeprefix("$")
    literals, names = _parts(options)
    if wanted not in names:
        raise DataError(
            f"the log format has no ${wanted}; name the variable by {options.named_by}: "
            + ", ".join(map(shorten, names))
        )
    number = names.index(wanted)
    if not all(literals[1 : number + 1]) or (number + 1 < len(names) and not literals[number + 1]):
        raise DataError("the log format has variables with nothing between them")
    mark = literals[number + 1][:1] or None
    if mark is not None and not mark.isascii():
        raise DataError(f"what stands behind ${wanted} in the log format isn't ASCII")
    if number == 0 and not literals[0]:
        return LogFormat(None, mark)
    before = re.escape(literals[0])
    for literal in literals[1 : number + 1]:
        before += rf"[^\n]*?{re.escape(literal)}"
    return LogFormat(before, mark)
