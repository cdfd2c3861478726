"""Telling formats apart, and foreign files."""

import gzip
import zipfile
from pathlib import Path

import pytest

from ipquery.data.formats import FORMATS, recognise
from ipquery.data.record import DataError
from ipquery.data.sources import FORMAT_NAMES


def test_the_formats_a_source_may_name_are_those_that_are_read() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (bytes(100_000), "nothing but zero bytes"),
        (b"<!DOCTYPE html><html>404</html>" * 100, "a web page"),
        (b"\n  <html>\n" * 100, "a web page"),
        (gzip.compress(b"x" * 10_000), r"compressed \(gzip\); unpack it"),
        (b"some text\n" * 1000, "damaged, cut short, or of another format"),
    ],
)
def test_what_a_foreign_file_looks_like(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "geo.dat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        recognise(path)
    assert str(caught.value).startswith(f"{path}: not a database ipquery can read")
    assert f"formats: {', '.join(FORMATS)}" in str(caught.value)


def test_a_zip_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "geo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("geo.dat", "x")
    with pytest.raises(DataError, match=r"compressed \(zip\)"):
        recognise(path)
