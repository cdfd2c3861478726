"""All files of one source, read as one table."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import attrs

from ipquery.data.formats import FORMATS, Format, archive, csv_file, recognise
from ipquery.data.formats.joined import join
from ipquery.data.formats.options import ReadOptions
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError
from ipquery.data.sources import RANGE_COLUMNS
from ipquery.data.terms import terms_of_name

_DOCUMENT = re.compile(
    r"(readme|licen[cs]e|copyright).*|.*\.(txt|md|html?|pdf|json|sha256|md5|sql)"
)
"""Names of files that stand in archives beside databases."""


@attrs.frozen
class _Input:
    """A file to read, and how the user knows it: by path, or as ARCHIVE: MEMBER."""

    path: Path
    shown: str
    format: Format


def read_files(
    paths: Sequence[Path],
    format_name: str | None,
    options: ReadOptions,
    folder: Path,
    limit: int,
) -> tuple[str, RangeTable]:
    """Read the files of a source, out of archives where they are in some.

    :param format_name: told by the content if ``None``.
    :param folder: where archives are unpacked to; empty, and the caller's to remove.
    :param limit: bytes that an archive may unpack to.
    :returns: the name of the format, and the table.
    :raises DataError: a file is damaged, of no known format, or has addresses in
        common with another.
    :raises OSError: one can't be read.
    """
    inputs = _inputs(paths, format_name, folder, limit)
    if {*(options.columns or ())} & {*RANGE_COLUMNS} and any(
        one.format is not csv_file for one in inputs
    ):
        raise DataError(
            f"{paths[0]}: only {csv_file.NAME} files have columns {', '.join(RANGE_COLUMNS)}"
        )
    try:
        return _names(inputs), _read(inputs, options)
    except DataError as error:
        told = str(error)
        for one in inputs:
            told = told.replace(str(one.path), one.shown)
        raise DataError(told) from None


def recognise_files(
    paths: Sequence[Path], format_name: str | None, folder: Path, limit: int
) -> str:
    """Which format the files of a source are of, without reading them; archives are unpacked.

    It takes, returns and raises what :func:`read_files` does, but for what is deeper inside
    the files.
    """
    return _names(_inputs(paths, format_name, folder, limit))


def _names(inputs: Sequence[_Input]) -> str:
    return "+".join(dict.fromkeys(one.format.NAME for one in inputs))


def _inputs(
    paths: Sequence[Path], format_name: str | None, folder: Path, limit: int
) -> list[_Input]:
    given = FORMATS[format_name] if format_name else None
    inputs = []
    for number, path in enumerate(paths):
        kind = archive.kind_of(path)
        if kind is None:
            inputs.append(_Input(path, str(path), given or recognise(path)))
            continue
        inside = folder / str(number)
        inside.mkdir()
        inputs += _members(path, archive.unpack(path, kind, inside, limit), given)
    return inputs


def _members(path: Path, members: Sequence[archive.Member], given: Format | None) -> list[_Input]:
    """The databases among the files of an archive: what is none is a licence or the like."""
    inputs = []
    why_not = ""
    for member in members:
        shown = f"{path}: {member.name}"
        if _DOCUMENT.fullmatch(PurePosixPath(member.name).name.lower()):
            continue
        try:
            inputs.append(_Input(member.path, shown, given or recognise(member.path)))
        except DataError as error:
            why_not = str(error).replace(str(member.path), shown)
    if not inputs:
        raise DataError(why_not or f"{path}: the archive holds no database; get another")
    return inputs


def _read(inputs: Sequence[_Input], options: ReadOptions) -> RangeTable:
    paths, tables = [], []
    texts = [one for one in inputs if one.format is csv_file]
    if texts:
        paths.append(texts[0].path)
        table = csv_file.read_all([one.path for one in texts], options)
        tables.append(_with_terms(table, texts[0]))
    for one in inputs:
        if one.format is not csv_file:
            paths.append(one.path)
            tables.append(_with_terms(one.format.read(one.path, options), one))
    return join(paths, tables)


def _with_terms(table: RangeTable, one: _Input) -> RangeTable:
    """With the terms of whose file it is by its name, if it says nothing itself."""
    name = PurePosixPath(one.shown.rpartition(": ")[2]).name
    return attrs.evolve(table, terms=table.terms or terms_of_name(name))
