"""What is written: whole blocks or nothing, whatever comes in between."""

import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from ipquery.data.build.parent import publish, temporary_beside
from ipquery.data.export.job import refuse_what_is_there
from ipquery.data.record import DataError


class Output:
    """A descriptor that blocks are written to.

    A signal to interrupt waits until the block is out, a second one doesn't. Of a block that a
    file has no room for, nothing stays; a pipe can't be told to forget.
    """

    def __init__(self, name: str, handle: int) -> None:
        self._name, self._handle = name, handle
        self._writing = self._interrupted = False

    def write(self, data: bytes) -> None:
        """
        :raises DataError: there is no room.
        :raises BrokenPipeError: nobody reads it any more.
        :raises KeyboardInterrupt: a signal came meanwhile.
        """
        view = memoryview(data)
        written = 0
        self._writing = True
        try:
            while written < len(view):
                written += os.write(self._handle, view[written:])
        except BrokenPipeError:
            raise
        except OSError as error:
            self._take_back(written)
            raise DataError(f"{self._name}: can't write it: {error.strerror}") from None
        finally:
            self._writing = False
        if self._interrupted:
            raise KeyboardInterrupt

    def _take_back(self, written: int) -> None:
        if stat.S_ISREG(os.fstat(self._handle).st_mode):
            end = os.lseek(self._handle, 0, os.SEEK_CUR) - written
            os.ftruncate(self._handle, end)
            os.lseek(self._handle, end, os.SEEK_SET)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal.

        :raises KeyboardInterrupt: unless a block is on its way.
        """
        if self._writing and not self._interrupted:
            self._interrupted = True
            return
        raise KeyboardInterrupt


@contextlib.contextmanager
def _interruptible(output: Output) -> Iterator[Output]:
    before = {
        number: signal.signal(number, output.interrupt)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield output
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def opened(out: Path | None, handle: int, replace: bool) -> Iterator[Output]:
    """Somewhere to write: a file, which appears when all is well, or a descriptor.

    :param out: the file; ``None`` for the descriptor ``handle``.
    :param replace: whether a file that is there may be replaced.
    :raises DataError: it can't be written.
    """
    if out is None:
        with _interruptible(Output("standard output", handle)) as output:
            yield output
        return
    refuse_what_is_there(out, replace)
    with temporary_beside(out) as temporary:
        with _interruptible(Output(str(out), temporary.handle)) as output:
            yield output
        refuse_what_is_there(out, replace)
        publish(temporary, out, 0o666)
