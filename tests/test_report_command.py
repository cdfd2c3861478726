"""``ipquery report``, as its users run it."""

import csv
import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipquery.cli import main
from ipquery.cli.report_page import page
from ipquery.cli.text import width
from tests.data.reporting import HOSTILE, lines, write_hostile
from tests.programs import IPQUERY

pytestmark = pytest.mark.usefixtures("builds_here")

ONE = ["1.0.0.1", "1.0.0.2", "2.0.0.1", "3.0.0.1", "10.0.0.1"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command in a folder with a snapshot, geo.ipq, and a log, access.log; ``given`` is
    what is in one more file."""
    monkeypatch.chdir(tmp_path)
    write_hostile(tmp_path / "geo.ipq")
    (tmp_path / "access.log").write_text(lines(ONE * 200))

    def call(*arguments: object, given: bytes | None = None) -> Result:
        words = ["report", "--db", "geo.ipq", *map(str, arguments)]
        if given is not None:
            (tmp_path / "given").write_bytes(given)
            words.append("given")
        return CliRunner().invoke(main, words)

    return call


def test_tables_for_the_terminal(run: Any) -> None:
    done = run("--top", 2, "access.log")
    assert (done.exit_code, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[:5] == [
        "1,000 of 1,000 rows have an address.",
        "Nothing is known of 200 of these.",
        "",
        "from 2026-11-29T09:00:00Z to 2026-11-29T12:19:48Z",
        "all                     " + "█" * 50,
    ]
    for line in (
        "country                                                      requests      share",
        "CN 中国                                                           400    40.00 %",
        "1 other                                                           200    20.00 %",
        "unknown                                                           200    20.00 %",
        "河南省, CN 中国                                                   400    40.00 %",
        "public                                                            800    80.00 %",
        "private                                                           200    20.00 %",
        "AS4837 CHINA UNICOM                                               400    40.00 %",
        "联通                                                              400    40.00 %",
    ):
        assert line in shown
    assert shown[-1] == "a: attribution not stated"
    assert "\x1b" not in done.stdout
    assert max(map(width, shown)) <= 80


def test_what_was_not_counted_is_said(run: Any) -> None:
    given = b'1.0.0.1 - - [yesterday] "\n' + lines(["here", "2.0.0.1"]).encode()
    shown = run("--format", "combined", given=given).stdout.splitlines()
    assert shown[0] == "2 of 3 rows have an address."
    assert "1 row with an address has no time." in shown
    shown = run("--format", "csv", given=b"ip\n1.0.0.1,2\n").stdout.splitlines()
    assert "1 row had another form than the rest." in shown
    assert "It isn't known where rows tell their time; --time names it." in shown


def test_nothing_to_count(run: Any, tmp_path: Path) -> None:
    for form, given, said in (
        ("csv", b"ip\n", "0 of 0 rows have an address."),
        ("csv", b"ip\nhere\n", "0 of 1 row has an address."),
        ("combined", b"", "0 of 0 rows have an address."),
        ("combined", b"-\n", "0 of 1 row has an address."),
    ):
        done = run("--format", form, "--html", "out.html", given=given)
        assert (done.exit_code, done.stderr) == (0, "")
        assert said in (tmp_path / "out.html").read_text()
        assert run("--format", form, given=given).stdout.splitlines()[0] == said


def test_a_pipe_is_read(run: Any, tmp_path: Path) -> None:
    told = run("--json", "access.log").stdout
    done = subprocess.run(
        [IPQUERY, "report", "--db", "geo.ipq", "--json", "-"],
        cwd=tmp_path,
        input=gzip.compress((tmp_path / "access.log").read_bytes()),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == json.loads(told)


def test_one_json_object(run: Any) -> None:
    done = run("--json", "--top", 1, "access.log")
    told = json.loads(done.stdout)
    series = told["time"]["countries"]
    assert [one["country_code"] for one in series] == ["CN", None, "US"]
    assert all(len(one["requests"]) == len(told["time"]["starts"]) for one in series)
    time = told.pop("time")
    assert {**time, "countries": [], "starts": time["starts"][:2], **dict.fromkeys(
        ("requests", "others", "unknown"))} == {
        "no_time": 0,
        "first": "2026-11-29T09:00:00Z",
        "last": "2026-11-29T12:19:48Z",
        "interval_seconds": 60,
        "starts": ["2026-11-29T09:00:00Z", "2026-11-29T09:01:00Z"],
        "requests": None,
        "countries": [],
        "others": None,
        "unknown": None,
    }  # fmt: skip
    assert sum(time["requests"]) == 1000
    china = {"country_code": "CN", "country": "中国", "requests": 400}
    assert told == {
        "rows": 1000,
        "addresses": 1000,
        "no_address": 0,
        "no_record": 200,
        "other_form": 0,
        "kinds": [{"kind": "public", "requests": 800}, {"kind": "private", "requests": 200}],
        "countries": {"different": 3, "top": [china], "others": 400, "unknown": 200},
        "provinces": {
            "different": 2,
            "top": [{**china, "province": "河南省"}],
            "others": 200,
            "unknown": 400,
        },
        "cities": {
            "different": 1,
            "top": [{**china, "province": "河南省", "city": "商丘市"}],
            "others": 0,
            "unknown": 600,
        },
        "providers": {
            "different": 2,
            "top": [{"provider": "联通", "requests": 400}],
            "others": 200,
            "unknown": 400,
        },
        "networks": {
            "different": 2,
            "top": [{"asn": 4837, "as_org": "CHINA UNICOM", "requests": 400}],
            "others": 200,
            "unknown": 400,
        },
        "sources": [{"name": "a", **dict.fromkeys(("format", "date", "licence", "attribution"))}],
    }


def test_nothing_from_a_database_becomes_a_part_of_the_page(run: Any, tmp_path: Path) -> None:
    done = run("--html", "out.html", "access.log")
    assert (done.exit_code, done.stdout) == (0, "")
    text = (tmp_path / "out.html").read_text("utf-8")
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;\\x1b[2J" in text
    assert "<script" not in text
    assert "\x1b" not in text
    assert not re.search(r"<(img|link|iframe)\b|\bsrc=|url\(|@import", text)
    assert "default-src 'none'" in text
    shown = run("access.log").stdout
    assert HOSTILE not in shown
    assert "\x1b" not in shown


def test_the_page_names_who_made_the_databases(run: Any) -> None:
    told = json.loads(run("--json", "access.log").stdout)
    source = {
        "name": "<b>DB</b>",
        "format": "mmdb",
        "date": "2026-11-01",
        "licence": "CC BY 4.0",
        "attribution": "IP Geolocation by DB-IP (https://db-ip.com)",
    }
    text = page({**told, "sources": [source]})
    assert '<a href="https://db-ip.com" rel="noreferrer">https://db-ip.com</a>' in text
    assert "&lt;b&gt;DB&lt;/b&gt;" in text
    assert "mmdb; 2026-11-01; CC BY 4.0" in text


def test_a_page_and_json_at_once_over_a_page_that_is_there(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out.html").write_text("before")
    done = run("--json", "--html", "out.html", "access.log")
    assert json.loads(done.stdout)["rows"] == 1000
    assert (tmp_path / "out.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_what_cannot_be_done_is_refused_in_one_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out.html").write_text("before")
    (tmp_path / "given").touch()
    names = sorted(path.name for path in tmp_path.iterdir())
    for arguments, given, said in (
        (["none"], None, "none: can't read it: No such file or directory"),
        (["--html", "none/out.html"], b"ip\n1\n", "none/out.html: can't write here: No such file"),
        (["--html", "out.html"], b"a,b\n1,2\n", "given: no column is called 'ip'; name"),
        (["--time", "t"], b"ip\n1\n", "no column is called 't'; name one by --time: 'ip'"),
        (["--format", "parquet"], b"PAR1", "given: no Parquet, or damaged"),
        (["--db", "other.ipq"], b"ip\n1\n", "a snapshot can't be combined with other sources"),
    ):
        done = run(*arguments, given=given)
        *_, message = done.stderr.splitlines()
        assert (done.exit_code, message[:7]) == (1, "Error: ")
        assert said in message
        assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "out.html").read_text() == "before"


@pytest.mark.parametrize("document", ["docs/bulk.md", "docs/bulk.zh-CN.md"])
def test_the_commands_of_the_documents(run: Any, tmp_path: Path, document: str) -> None:
    (tmp_path / "events.ndjson").write_text('{"client": {"ip": "1.2.3.4"}, "at": 1790000000}\n')
    (tmp_path / "visits.csv").write_text("time,visitor\n2026-11-29T09:00:00Z,1.2.3.4\n")
    text = (Path(__file__).parents[1] / document).read_text("utf-8")
    commands = re.findall(r"^    ipquery (report .*?)(?: > .*)?$", text, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        words = next(csv.reader([command], delimiter=" ", quotechar="'"))
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("document", ["docs/bulk.md", "docs/bulk.zh-CN.md"])
def test_the_documents_tell_each_key(run: Any, document: str) -> None:
    text = (Path(__file__).parents[1] / document).read_text("utf-8")
    told = json.loads(run("--json", "access.log").stdout)
    keys = {*told, *told["countries"], *told["time"]}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
