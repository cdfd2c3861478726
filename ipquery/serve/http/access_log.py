"""The access log: one line an answer, in the combined format."""

from pathlib import Path

from twisted.logger import Logger

_log = Logger()


class AccessLog:
    """A file that is written line by line, and reopened when it was rotated away.

    Several workers write the same one. Each line is one ``write`` to a file
    opened with O_APPEND, which the system puts at the end whoever wrote
    before; a buffer, or a position of one's own, would tear lines.
    """

    def __init__(self, path: Path) -> None:
        """
        :raises OSError: the file can't be opened for appending.
        """
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._failing = False

    def write(self, line: str) -> None:
        """Append a line, or leave it out: a full disk must not cost an answer."""
        try:
            self._file.write(f"{line}\n".encode())
        except OSError as error:
            if not self._failing:
                self._complain("written", error)
            self._failing = True
        else:
            self._failing = False

    def reopen(self) -> None:
        """Go on in a new file of the same name, or in the old one if that can't be opened."""
        try:
            new = self._path.open("ab", buffering=0)
        except OSError as error:
            self._complain("reopened", error)
            return
        self._file.close()
        self._file = new

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def _complain(self, what: str, error: OSError) -> None:
        _log.error(
            "{path}: this access log can't be {what}: {reason}; look at its disk and folder",
            path=self._path,
            what=what,
            reason=error.strerror,
        )
