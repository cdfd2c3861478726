"""Databases inside archives, and archives that hold what they shouldn't."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ipquery.data.formats import archive
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError, Record
from tests.data.files import ipip_dat
from tests.data.geoip2_files import BLOCKS_V4, BLOCKS_V6, EN, ZH
from tests.data.mmdb_files import mmdb, networks_of
from tests.data.reading import mutations

Tables = dict[str, bytes]
"""Files by name."""

MMDB = mmdb(networks_of(4, [(0, 255, 0)]), [{"country_code": "AU"}], 4)
CSV = b"0.0.1.0,0.0.1.255,NZ\n"
DAT = ipip_dat([(255, "a\tb\tc"), (2**32 - 1, "IPIP.NET\t20151001\t")])
DOCUMENTS = {"package/README.md": b"1,2,3\n", "LICENSE": b"Do what you like.\n"}


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.mkdir("folder")
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        made.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def _read(
    tmp_path: Path,
    content: bytes,
    name: str = "some.bin",
    format_name: str | None = None,
    options: ReadOptions = ReadOptions(),
    limit: int = 1 << 30,
) -> RangeTable:
    path = tmp_path / name
    path.write_bytes(content)
    folder = tmp_path / "unpacked"
    folder.mkdir(exist_ok=True)
    for inside in folder.iterdir():
        for file in inside.iterdir():
            file.unlink()
        inside.rmdir()
    return read_files([path], format_name, options, folder, limit)[1]


@pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
@pytest.mark.parametrize(
    ("content", "code"), [(MMDB, "AU"), (CSV, "NZ"), (DAT, None)], ids=["mmdb", "csv", "dat"]
)
def test_a_compressed_file(
    tmp_path: Path, compress: Callable[[bytes], bytes], content: bytes, code: str | None
) -> None:
    # What it is called says nothing
    table = _read(tmp_path, compress(content))
    assert len(table.v4) == (1 if code else 2)
    assert table.records[0].country_code == code


@pytest.mark.parametrize(
    "pack",
    [_zip, *(lambda files, c=c: c(_tar(files)) for c in COMPRESS.values())],
    ids=["zip", *(f"tar.{name}" for name in COMPRESS)],
)
def test_the_databases_among_the_files_of_an_archive(
    tmp_path: Path, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    table = _read(tmp_path, pack({"package/a.mmdb": MMDB, **DOCUMENTS, "b.csv": CSV}))
    assert {record.country_code for record in table.records} == {"AU", "NZ"}
    table = _read(tmp_path, pack({"package/a.csv": CSV, **DOCUMENTS}), format_name="csv")
    assert [record.country_code for record in table.records] == ["NZ"]


@pytest.mark.parametrize(("language", "name"), [("zh", "中国"), ("en", "China")])
def test_maxminds_archive_of_blocks_and_places(tmp_path: Path, language: str, name: str) -> None:
    folder = "GeoLite2-City-CSV_20260605"
    content = _zip(
        {
            f"{folder}/GeoLite2-City-Blocks-IPv4.csv": BLOCKS_V4.encode(),
            f"{folder}/GeoLite2-City-Blocks-IPv6.csv": BLOCKS_V6.encode(),
            f"{folder}/GeoLite2-City-Locations-en.csv": EN.encode(),
            f"{folder}/GeoLite2-City-Locations-zh-CN.csv": ZH.encode(),
            f"{folder}/LICENSE.txt": b"...",
        }
    )
    table = _read(tmp_path, content, options=ReadOptions(language=language))
    assert (len(table.v4), len(table.v6)) == (2, 1)
    assert table.records[0].country == name


def test_one_source_of_several_files(tmp_path: Path) -> None:
    v4, v6, zipped = tmp_path / "v4.mmdb", tmp_path / "v6.mmdb", tmp_path / "more.zip"
    v4.write_bytes(MMDB)
    v6.write_bytes(mmdb(networks_of(6, [(2**120, 2**121 - 1, 0)]), [{"country_code": "AU"}]))
    zipped.write_bytes(_zip({"b.csv": CSV}))
    name, table = read_files([v4, v6, zipped], None, ReadOptions(), tmp_path, 1 << 20)
    assert name == "mmdb+csv"
    assert (len(table.v4), len(table.v6)) == (2, 1)
    assert {*table.records} == {Record(country_code="AU"), Record(country_code="NZ")}
    assert table.date is not None


def test_files_with_addresses_in_common_are_two_sources(tmp_path: Path) -> None:
    one, other = tmp_path / "one.mmdb", tmp_path / "other.mmdb"
    for path in (one, other):
        path.write_bytes(MMDB)
    with pytest.raises(DataError, match="one.mmdb: has IPv4 addresses in common with .*other.mmdb"):
        read_files([one, other], None, ReadOptions(), tmp_path, 1 << 20)


def test_columns_of_a_range_are_for_csv_alone(tmp_path: Path) -> None:
    path = tmp_path / "some.mmdb"
    path.write_bytes(MMDB)
    for name in ("mmdb", None):
        with pytest.raises(DataError, match="only csv files have columns first, last, network"):
            read_files([path], name, ReadOptions(("first", "last", "city")), tmp_path, 1 << 20)


# What is refused


def _zip_with(name: str, mode: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        made.writestr(info, MMDB)
    return out.getvalue()


def _tar_with(name: str, kind: bytes, target: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = target
        made.addfile(info)
    return gzip.compress(out.getvalue())


def _encrypted(content: bytes) -> bytes:
    """The same zip archive, said to be encrypted."""
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(magic) + offset
        content = content[:at] + b"\x01" + content[at + 1 :]
    return content


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (_zip({"../a.mmdb": MMDB}), "'../a.mmdb' in it has a name that leads out"),
        (_zip({"a/../../b": MMDB}), "'a/../../b' in it has a name that leads out"),
        (_zip({"/etc/passwd": MMDB}), "'/etc/passwd' in it has a name that leads out"),
        (_zip({"a\\..\\b": MMDB}), "has a name that leads out"),
        (gzip.compress(_tar({"../a.mmdb": MMDB})), "'../a.mmdb' in it has a name that leads out"),
        (gzip.compress(_tar({"/a.mmdb": MMDB})), "'/a.mmdb' in it has a name that leads out"),
        (_zip_with("a", stat.S_IFLNK | 0o777), "'a' in it is a link or a device"),
        (_zip_with("a", stat.S_IFCHR), "'a' in it is a link or a device"),
        (_tar_with("a", tarfile.SYMTYPE, "/etc/passwd"), "'a' in it is a link or a device"),
        (_tar_with("a", tarfile.LNKTYPE, "b"), "'a' in it is a link or a device"),
        (_tar_with("a", tarfile.CHRTYPE), "'a' in it is a link or a device"),
        (_tar_with("a", tarfile.FIFOTYPE), "'a' in it is a link or a device"),
        (gzip.compress(gzip.compress(MMDB)), "'some' in it is an archive itself"),
        (_zip({"b.zip": _zip({"a.mmdb": MMDB})}), "'b.zip' in it is an archive itself"),
        (lzma.compress(_tar({"b.gz": gzip.compress(MMDB)})), "'b.gz' in it is an archive itself"),
        (_zip({}), "holds no files"),
        (_zip(DOCUMENTS), "holds no database"),
        (_zip({"README.md": b"text"}), "holds no database"),
        (_zip({"a.mmdb": MMDB[:-200]}), "some.bin: a.mmdb: not a database ipquery can read"),
        (
            _zip({"a.csv": CSV + b"0.0.2.0,0.0.2.999,AU\n"}),
            "some.bin: a.csv: line 2 names no addresses",
        ),
        (_zip({str(n): b"" for n in range(1001)}), "more than 1000 members"),
        (_encrypted(_zip_with("a", 0)), "the zip archive is damaged, cut short, or made in a way"),
        (_zip({"a.mmdb": MMDB})[:-30], "the zip archive is damaged"),
        (gzip.compress(MMDB)[:-9], "the gzip archive is damaged"),
        (gzip.compress(MMDB)[:-1] + b"x", "the gzip archive is damaged"),
        (bz2.compress(MMDB)[:-9], "the bzip2 archive is damaged"),
        (lzma.compress(MMDB)[:-9], "the xz archive is damaged"),
        (gzip.compress(_tar({"a.mmdb": MMDB})[:1100]), "the gzip archive is damaged"),
    ],
)
def test_what_an_archive_may_not_hold(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        _read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path}/some.bin: ")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"some.bin", "unpacked"}


def test_a_name_that_is_in_it_twice(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a", MMDB)
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a", CSV)
    with pytest.raises(DataError, match="'a' in it is in it twice"):
        _read(tmp_path, out.getvalue())


def _bombs() -> dict[str, bytes]:
    zeros = bytes(7 << 20)
    return {
        # Several streams, one after the other, are one file.
        **{name: compress(zeros) * 10 for name, compress in COMPRESS.items()},
        "zip": _zip({f"a{number}": zeros for number in range(10)}),
        "tar": gzip.compress(_tar({f"a{number}": zeros for number in range(10)})),
        "tar with a name": gzip.compress(_tar({"n" * (70 << 20): b""})),
    }


def test_bombs_are_stopped_before_they_fill_the_disk(tmp_path: Path) -> None:
    for name, content in _bombs().items():
        with pytest.raises(DataError, match="unpacks to more than 1024 MB, or to 200 times"):
            _read(tmp_path, content)
        written = sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*"))
        assert written <= 65 << 20, name


def test_what_may_be_unpacked_is_a_setting(tmp_path: Path) -> None:
    content = gzip.compress(CSV + os.urandom(4 << 20).hex().encode())
    with pytest.raises(DataError, match="more than 3 MB.*`unpacked_limit_mb` under .build."):
        _read(tmp_path, content, limit=3 << 20)


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    content = bytearray(_zip({"a.mmdb": MMDB}))
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError):
        _read(tmp_path, bytes(content))


def _fuzzed(tmp_path: Path, count: int) -> int:
    """How many mutated archives were refused."""
    files = {"package/a.mmdb": MMDB, **DOCUMENTS}
    contents = [_zip(files), *(compress(_tar(files)) for compress in COMPRESS.values())]
    refused = 0
    for seed, content in enumerate(contents):
        for damaged in mutations(content, count // len(contents), seed):
            try:
                _read(tmp_path, damaged)
            except DataError as error:
                refused += 1
                assert str(error).startswith(f"{tmp_path}/some.bin: ")
                assert str(error).isprintable()
    return refused


def test_mutated_archives_are_refused_or_read(tmp_path: Path) -> None:
    assert 200 < _fuzzed(tmp_path, 400) <= 400


@pytest.mark.soak
def test_100_000_mutated_archives(tmp_path: Path) -> None:
    assert 50_000 < _fuzzed(tmp_path, 100_000) < 100_000


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for content, kind in (
        (gzip.compress(b""), "gzip"),
        (_zip({}), "zip"),
        (MMDB, None),
        (b"", None),
    ):
        path.write_bytes(content)
        assert archive.kind_of(path) == kind
