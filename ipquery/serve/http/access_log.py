"""The access log: a line an answer, written in batches by a thread of its own.

A line costs a worker what it takes to put it together. It waits for a second at most, or
until there are 256 KB of them; then a thread writes them, so that a slow or full disk delays no
answer. What waits is bounded: beyond that lines are left out, counted, and told of.

Several workers write the same file. Each batch is one ``write`` to a file opened with
O_APPEND, which the system puts at the end whoever wrote before.
"""

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from ipquery.serve.http.log_formats import Fields, LogFormat
from ipquery.serve.http.reply import body_bytes

_log = Logger()

# A thread that has written waits for Python's lock, and so do others for it: with 64 KB, a look-up
# took 6 % more.
_BATCH_BYTES = 1 << 18
_MOST_WAITING_BYTES = 1 << 22

# How long the end of a process waits for a disk that is slow.
_CLOSE_SECONDS = 2

Run = Callable[..., "Deferred[Any]"]
"""Runs a function with arguments elsewhere, one after another, and fires with what it returns."""


class _Thread(threading.Thread):
    """Python doesn't wait for it at its end: it may be waiting for a pipe that nobody reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


def in_a_thread(reactor: Any) -> Run:
    """What runs functions in one thread, which doesn't outlive the process."""
    pool = ThreadPool(minthreads=0, maxthreads=1, name="access log")
    pool.threadFactory = _Thread
    pool.start()
    return partial(deferToThreadPool, reactor, pool)


class LogFile:
    """Where the lines go: a file, or a stream such as a pipe. Its methods may block."""

    def __init__(self, path: Path | None, stream: int | None = None) -> None:
        """
        :param path: a file to append to.
        :param stream: without a path, the descriptor to write to.
        :raises OSError: the file can't be opened for appending.
        """
        self.path = path
        self._descriptor = _opened(path) if path is not None else stream
        self._is_torn = False

    @property
    def name(self) -> str:
        """How the log calls it."""
        return "standard output" if self.path is None else str(self.path)

    def write(self, lines: bytes) -> tuple[int, str]:
        """Append lines.

        :returns: how many of them were lost, and why.
        """
        done = ended = 0
        if self._is_torn:
            # The end of the line before, which is counted already.
            lines, ended = b"\n" + lines, 1
        try:
            for piece in self._pieces(lines):
                while piece:
                    written = self._write_some(piece)
                    done += written
                    self._is_torn = not piece.endswith(b"\n", 0, written)
                    piece = piece[written:]
        except OSError as error:
            # A line cut short counts as lost.
            return lines.count(b"\n", max(done, ended)), error.strerror or str(error)
        return 0, ""

    def _pieces(self, lines: bytes) -> Iterator[bytes]:
        assert self._descriptor is not None
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            yield lines
            return
        # What several processes write to a pipe is kept apart up to PIPE_BUF bytes.
        begin = 0
        while begin < len(lines):
            end = lines.rfind(b"\n", begin, begin + select.PIPE_BUF) + 1
            if not end:  # a line that is longer
                end = lines.index(b"\n", begin) + 1
            yield lines[begin:end]
            begin = end

    def _write_some(self, piece: bytes) -> int:
        assert self._descriptor is not None
        while True:
            try:
                return os.write(self._descriptor, piece)
            except BlockingIOError:  # whoever gave us the stream doesn't let it block
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()

    def reopen(self) -> str:
        """Go on in a new file of the same name, or in the old one if that can't be opened.

        :returns: why it can't.
        """
        if self.path is None:
            return ""
        try:
            opened = _opened(self.path)
        except OSError as error:
            return error.strerror or str(error)
        self.close()
        self._descriptor, self._is_torn = opened, False
        return ""

    def close(self) -> None:
        """No more lines."""
        if self.path is not None and self._descriptor is not None:
            with contextlib.suppress(OSError):  # a network's file system may only now tell
                os.close(self._descriptor)
            self._descriptor = None


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


class AccessLog:
    """What answers are noted in."""

    def __init__(
        self, file: LogFile, log_format: LogFormat, run: Run, reactor: Any, sample: int = 1
    ) -> None:
        """
        :param run: runs what blocks.
        :param reactor: time.
        :param sample: one of so many answers is noted.
        """
        self.dropped = 0
        """Lines left out so far, because they couldn't be written."""
        self.fields = log_format.fields
        """Header fields that lines tell, in lower case."""
        self._file = file
        self._format = log_format
        self._line, self._plain = log_format.line, log_format.plain
        self._run = run
        self._reactor = reactor
        self._sample = sample
        self._skipped = 0
        self._stamp = b""
        self._lines: list[bytes] = []
        self._bytes = 0
        self._writing: Deferred[None] | None = None
        self._is_failing = False

    def ending(self, fields: Fields) -> bytes:
        """What a line says of a request's header fields, for :meth:`note`."""
        return self._format.ending(fields)

    def tell_time(self, seconds: float) -> None:
        """Another second has begun: what was noted in the one before is written.

        :param seconds: since the epoch.
        """
        self._stamp = self._format.stamp(seconds)
        self._flush()

    def note(
        self, client: bytes, request: bytes | None, status: int, size: int, ending: bytes
    ) -> None:
        """Note an answer.

        :param client: its address.
        :param request: the request line, ``None`` for what was no request.
        :param size: bytes of the answer's body.
        :param ending: see :meth:`ending`.
        """
        if self._sample == 1 or self._is_sample():
            self._keep(self._line(self._stamp, client, request, status, size) + ending)

    def note_repeat(self, client: bytes, data: bytes, found: bytes, ending: bytes) -> None:
        """The same of an answer with status 200 to a plain request, in less time.

        :param data: the request as it came; :mod:`ipquery.serve.http.plain` lets nothing pass
            that a line would have to escape.
        :param found: the answer, or the end of it.
        """
        if self._sample == 1 or self._is_sample():
            request = data[: data.index(b"\r\n")]
            self._keep(self._plain(self._stamp, client, request, body_bytes(found), ending))

    def _is_sample(self) -> bool:
        self._skipped = (self._skipped + 1) % self._sample
        return not self._skipped

    def _keep(self, line: bytes) -> None:
        """Have a line written with others."""
        if self._bytes >= _MOST_WAITING_BYTES:
            self._leave_out(1, "it is too slow")
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _BATCH_BYTES and self._writing is None:
            self._flush()

    def _flush(self) -> None:
        if self._lines and self._writing is None:
            batch, self._lines, self._bytes = b"".join(self._lines), [], 0
            writing = self._do(self._file.write, batch).addCallback(self._written)
            writing.addErrback(lambda failure: _log.failure("a fault in the access log", failure))

    def _do(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        """Run what blocks. Until it is done, lines wait."""
        done: Deferred[None] = Deferred()
        self._writing = done

        def go_on(result: Any) -> Any:
            self._writing = None
            done.callback(None)
            return result

        return self._run(function, *arguments).addBoth(go_on)

    def _written(self, outcome: tuple[int, str]) -> None:
        lost, why_not = outcome
        if lost:
            self._leave_out(lost, why_not)
        elif self._is_failing:
            self._is_failing = False
            _log.info(
                "{name}: this access log is written again; {count} lines were left out so far",
                name=self._file.name,
                count=self.dropped,
            )
        if self._bytes >= _BATCH_BYTES:
            self._flush()

    def _leave_out(self, count: int, why: str) -> None:
        self.dropped += count
        if not self._is_failing:
            self._is_failing = True
            self._complain("written", why)

    def _complain(self, what: str, why: str) -> None:
        _log.error(
            "{name}: this access log can't be {what}: {reason}; look at its disk and folder",
            name=self._file.name,
            what=what,
            reason=why,
        )

    def reopen(self) -> "Deferred[None]":
        """Go on in a new file of the same name: the old one was rotated away.

        :returns: fires when what was noted is in the old one, and the new one is open.
        """
        return Deferred.fromCoroutine(self._reopen())

    async def _reopen(self) -> None:
        await self._idle()
        self._flush()
        await self._idle()
        why_not = await self._do(self._file.reopen)
        if why_not:
            self._complain("reopened", why_not)

    async def _idle(self) -> None:
        while self._writing is not None:
            # Not the Deferred itself: several may wait for it.
            waiting: Deferred[None] = Deferred()
            self._writing.chainDeferred(waiting)
            await waiting

    def close(self) -> "Deferred[None]":
        """Write what was noted, then close the file.

        :returns: fires when that is done, or has taken too long.
        """
        closing = Deferred.fromCoroutine(self._close())
        closing.addTimeout(_CLOSE_SECONDS, self._reactor)
        return closing.addErrback(lambda _: self._give_up())

    async def _close(self) -> None:
        await self._idle()
        self._flush()
        await self._idle()
        await self._do(self._file.close)

    def _give_up(self) -> None:
        _log.warn(
            "{name}: this access log is too slow; the last lines were left out",
            name=self._file.name,
        )
