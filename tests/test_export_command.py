"""``ipquery export``, as its users run it."""

import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import maxminddb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ipquery import DataError
from ipquery.cli import main
from ipquery.data.export.mmdb_shapes import SHAPES
from ipquery.data.export.options import FORMATS, options_for
from ipquery.data.record import FIELDS
from tests.data.files import xdb
from tests.programs import IPQUERY

pytestmark = pytest.mark.usefixtures("builds_here")

ROWS = [(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")]


@attrs.frozen
class Done:
    status: int
    output: str
    errors: str


Run = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, sample: Path) -> Path:
    """A folder with a snapshot, geo.ipq, and a database, db.xdb."""
    shutil.copy(sample, tmp_path / "geo.ipq")
    (tmp_path / "db.xdb").write_bytes(xdb(ROWS))
    return tmp_path


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Runs the command in that folder."""
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}

    def call(*arguments: object, before: str = "") -> Done:
        command = [str(IPQUERY)]
        if before:
            start = f"{before}\nimport sys; from ipquery.cli import main; main(prog_name='ipquery')"
            command = [sys.executable, "-c", start]
        done = subprocess.run(
            [*command, "export", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **places},
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


# Runs the command once for each format there is, in one process, as starting one takes long.
EACH_FORMAT = """
import json, sys
from click.testing import CliRunner
from ipquery.cli import main
for format_ in sys.argv[2:]:
    arguments = ["export", "--format", format_, "-o", format_, *sys.argv[1].split(), "geo.ipq"]
    done = CliRunner().invoke(main, arguments)
    print(json.dumps([format_, done.exit_code, done.stdout, done.stderr.splitlines()[-1]]))
"""


def _each_format(
    folder: Path, options: str = "", most: int = resource.RLIM_INFINITY, **more: str
) -> list[list[Any]]:
    """Format, exit status, output and last line of errors of each.

    :param most: bytes that a file may have.
    """
    formats = [one for one in FORMATS if one != "parquet" or importlib.util.find_spec("pyarrow")]
    done = subprocess.run(
        [sys.executable, "-c", EACH_FORMAT, options, *formats],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **more},
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_same_input_gives_the_same_bytes(folder: Path) -> None:
    seen = []
    for seed in ("1", "2"):
        told = _each_format(folder, "--replace", PYTHONHASHSEED=seed)
        for format_, status, output, last in told:
            assert (status, bool(output)) == (0, format_ == "clickhouse"), last
            assert last.startswith(f"{format_}: ")
        seen.append({one[0]: (folder / one[0]).read_bytes() for one in told})
    assert seen[0] == seen[1]
    assert all(seen[0].values())


def test_databases_are_blended_first(run: Run, tmp_path: Path) -> None:
    done = run("--format", "mmdb", "-o", "geo.mmdb", "db.xdb", "--database-type", "X-City")
    assert done.status == 0, done.errors
    with maxminddb.open_database(tmp_path / "geo.mmdb") as reader:
        assert reader.metadata().database_type == "X-City"
        assert "db.xdb" in reader.metadata().description["en"]
        country = {"iso_code": "CN", "names": {"en": "China", "zh-CN": "中国"}}
        assert reader.get("1.2.3.4")["country"] == country  # type: ignore[index, call-overload]
    assert _names(tmp_path) == ["db.xdb", "geo.ipq", "geo.mmdb"]


REFUSED = [
    (["-o", "out", "--fields", "country_code,colour"], "'colour' is no field; there are country,"),
    (["-o", "none/out"], "none/out: can't write here: No such file or directory"),
    (["-o", "geo.ipq"], "geo.ipq: is there already; --replace replaces it"),
    (["-o", "cache", "--replace"], "cache: is there, and no file; name another"),
    (["-o", "/dev/null", "--replace"], "/dev/null: is there, and no file; name another"),
    (["-o", "out", "--prefixes"], "prefixes instead of ranges are for csv, not for mmdb"),
    (
        ["-o", "out", "--fields", "city_code"],
        "records of the shape city have no city_code; choose --shape flat",
    ),
    (["-o", "o" * 300], "can't write here: File name too long"),
    (["-o", "out", "--format", "nginx", "--fields", "city,isp"], "nginx holds one field, not ci"),
    (["-o", "out", "--format", "csv", "--shape", "flat"], "a shape and a type of database are for"),
    (["-o", "out", "--config", "none"], "none: "),
    (["-o", "out", "--database-type", ""], "'' can't be what a database calls itself"),
    (["-o", "out", "--database-type", "\udcff"], "'\\udcff' can't be what a database calls itself"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (folder / "cache").mkdir()
    before = (folder / "geo.ipq").read_bytes()
    names = _names(folder)
    done = CliRunner().invoke(main, ["export", "--format", "mmdb", *arguments, "geo.ipq"])
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert _names(folder) == names
    assert not [*(folder / "cache").iterdir()]
    assert (folder / "geo.ipq").read_bytes() == before


def test_a_disk_that_is_full_costs_nothing(folder: Path) -> None:
    """As far as a process can have that of its own: a limit of the size of files."""
    for format_ in FORMATS:
        (folder / format_).write_text("before")
    names = _names(folder)
    for format_, status, output, last in _each_format(folder, "--replace", most=2000):
        assert (status, output) == (1, "")
        assert last.startswith(f"Error: {format_}: can't write it: ")
        assert (folder / format_).read_text() == "before"
    assert _names(folder) == names


def test_a_file_is_replaced_if_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    assert run("--format", "csv", "-o", "out", "--replace", "geo.ipq").status == 0
    assert (tmp_path / "out").read_text().startswith("first,last,country,")


def test_pyarrow_is_asked_for_before_anything_is_done(run: Run, tmp_path: Path) -> None:
    done = run(
        *("--format", "parquet", "-o", "out", "db.xdb"),
        before="import sys; sys.modules['pyarrow'] = None",
    )
    assert done.status == 1
    assert done.errors == "Error: Parquet needs pyarrow: pip install 'ipquery[bulk]'\n"
    assert _names(tmp_path) == ["db.xdb", "geo.ipq"]


def test_a_damaged_snapshot_is_refused(run: Run, tmp_path: Path) -> None:
    whole = (tmp_path / "geo.ipq").read_bytes()
    (tmp_path / "geo.ipq").write_bytes(whole[:-1] + b"\xff")
    done = run("--format", "csv", "-o", "out", "geo.ipq")
    assert done.status == 1
    assert "the snapshot is damaged" in done.errors.splitlines()[-1]
    assert _names(tmp_path) == ["db.xdb", "geo.ipq"]


@pytest.mark.parametrize("page", ["docs/export.md", "docs/export.zh-CN.md"])
def test_the_commands_of_the_documents(
    folder: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(folder)
    text = (Path(__file__).parents[1] / page).read_text("utf-8")
    commands = re.findall(r"^    ipquery (export .*?)(?: > .*)?$", text, re.MULTILINE)
    assert {command.split()[2] for command in commands} == {*FORMATS}
    for command in commands:
        if "parquet" not in command or importlib.util.find_spec("pyarrow"):
            done = CliRunner().invoke(main, command.split())
            assert done.exit_code == 0, done.stderr


@given(
    st.sampled_from(FORMATS),
    st.lists(st.sampled_from((*FIELDS, "", "Country", "asn;"))),
    st.none() | st.sampled_from(SHAPES),
    st.booleans(),
)
def test_options_are_whole_or_refused(
    format_: str, fields: list[str], shape: str | None, prefixes: bool
) -> None:
    try:
        options = options_for(format_, fields, shape, None, prefixes)
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert {*fields} <= {*FIELDS}
    assert {*fields} <= {*options.fields}
    assert len({*options.fields}) == len(options.fields) > 0
