"""The access log: one line an answer, in the combined format."""

from pathlib import Path

from twisted.python.logfile import LogFile


class AccessLog:
    """A file that is written line by line, and reopened when it was rotated away."""

    def __init__(self, path: Path) -> None:
        """
        :raises OSError: the file can't be opened for appending.
        """
        # No rotation by size: that is logrotate's, which sends USR1 afterwards.
        self._file = LogFile(path.name, str(path.parent), rotateLength=None)

    def write(self, line: str) -> None:
        """Append a line."""
        self._file.write(f"{line}\n")

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        self._file.reopen()

    def close(self) -> None:
        """Write out what is buffered, and close."""
        self._file.close()
