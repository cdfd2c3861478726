"""A snapshot in another format, in a file that appears when it is whole."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import attrs

from ipquery.data.build.parent import Temporary, publish, temporary_beside
from ipquery.data.export import clickhouse, csv_file, haproxy, mmdb, nginx, parquet
from ipquery.data.export.content import Content, read_content
from ipquery.data.export.mmdb_shapes import fields_read
from ipquery.data.export.options import Options, Report
from ipquery.data.record import DataError

Write = Callable[[BinaryIO, Content, Options, Report], None]

_WRITERS: Mapping[str, Write] = {
    "mmdb": mmdb.write,
    "csv": csv_file.write,
    "parquet": parquet.write,
    "nginx": nginx.write,
    "haproxy": haproxy.write,
    "clickhouse": clickhouse.write,
}


@attrs.frozen
class Target:
    """Where an export goes; :func:`opened` makes it."""

    out: Path
    format: str
    options: Options
    replace: bool
    temporary: Temporary

    def fill(self, snapshot: Path, report: Report) -> int:
        """Write what a snapshot says, and put the file in place.

        The same snapshot and options give the same bytes; of Parquet, with the same pyarrow.

        :returns: its size in bytes.
        :raises DataError: the snapshot can't be used, the format can't hold it, or there is no
            room for the file.
        """
        report("reading", 0.0)
        # Only mmdb knows shapes.
        shape = self.options.shape if self.format == "mmdb" else "flat"
        try:
            content = read_content(snapshot, fields_read(self.options.fields, shape))
        except OSError as error:
            raise DataError(
                f"{snapshot}: can't read this snapshot: {error.strerror or error}"
            ) from None
        try:
            with self.temporary.path.open("wb") as file:
                _WRITERS[self.format](file, content, self.options, report)
                size = file.tell()
        except OSError as error:
            raise DataError(f"{self.out}: can't write it: {error.strerror or error}") from None
        except OverflowError as error:
            raise DataError(f"{self.out}: {self.format} can't hold this: {error}") from None
        refuse_what_is_there(self.out, self.replace)
        publish(self.temporary, self.out, 0o666)
        report("done", 1.0)
        return size


@contextlib.contextmanager
def opened(out: Path, format_: str, options: Options, replace: bool) -> Iterator[Target]:
    """A file for an export. What can be refused before anything is read is refused here.

    :param format_: one of :data:`~ipquery.data.export.options.FORMATS`.
    :param replace: whether a file that is there may be replaced.
    :raises DataError: ``out`` is there, or its folder can't be written, or pyarrow is needed and
        isn't installed.
    """
    refuse_what_is_there(out, replace)
    if format_ == "parquet":
        parquet.load()
    with temporary_beside(out) as temporary:
        yield Target(out, format_, options, replace, temporary)


def refuse_what_is_there(out: Path, replace: bool) -> None:
    """
    :param replace: whether a file that is there may be replaced.
    :raises DataError: something is in the way.
    """
    try:
        found = out.exists() or out.is_symlink()
        is_file = out.is_file()
    except OSError as error:
        raise DataError(f"{out}: can't write here: {error.strerror}") from None
    if found and not is_file:
        raise DataError(f"{out}: is there, and no file; name another")
    if found and not replace:
        raise DataError(f"{out}: is there already; --replace replaces it")
