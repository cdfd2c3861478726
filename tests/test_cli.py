"""The ipquery command, as its users run it."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from ipquery.cli import main
from ipquery.cli.text import width
from ipquery.data.record import CONTRACT_FIELDS, FIELDS
from tests.data.files import ipip_dat, xdb
from tests.programs import IPQUERY

pytestmark = pytest.mark.usefixtures("builds_here")

LAST = 2**32 - 1


@attrs.frozen
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A cache of a test's own, and nothing fetched."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.fixture
def program(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs the program that is installed, in a folder of its own."""

    def call(*arguments: object, stdin: str = "") -> Done:
        done = subprocess.run(
            [IPQUERY, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same in this process, which takes a tenth of the time."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: str = "") -> Done:
        done = CliRunner().invoke(main, [*map(str, arguments)], input=stdin, env=environment)
        return Done(done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "china.xdb"
    rows = [
        (0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通"),
        (0x02000000, 0x02FFFFFF, '美国|0|0|0|a "quoted" \\ name'),
    ]
    path.write_bytes(xdb(rows))
    return path


UNKNOWN = dict.fromkeys(FIELDS)

HENAN = {
    "country": "中国",
    "country_code": "CN",
    "province": "河南省",
    "province_code": "410000",
    "city": "商丘市",
    "city_code": "411400",
    "org": None,
    "subdivision_code": "CN-HA",
    "isp": "联通",
}


def _one_line(done: Done) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_build_then_look_up(program: Run, tmp_path: Path, database: Path) -> None:
    built = program("build", "-o", "out.ipq", database)
    assert built.returncode == 0
    assert built.stdout == ""
    *progress, last = built.stderr.splitlines()
    assert progress == [
        "  0%  reading china.xdb",
        " 40%  finding codes",
        " 50%  blending",
        " 80%  writing",
        "100%  done",
    ]
    assert last.startswith("out.ipq: built in ")
    found = program("lookup", "--db", "out.ipq", "1.2.3.4", "::ffff:2.0.0.0", "9.9.9.9")
    assert (found.returncode, found.stderr) == (0, "")
    first, second, third = (json.loads(line) for line in found.stdout.splitlines())
    assert list(first)[:9] == ["ip", *CONTRACT_FIELDS]
    assert first == {
        "ip": "1.2.3.4",
        **UNKNOWN,
        **HENAN,
        "sources": {
            name: "china.xdb" for name, value in {**UNKNOWN, **HENAN}.items() if value is not None
        },
        "first": "1.0.0.0",
        "last": "1.255.255.255",
        "network": "1.0.0.0/8",
        "kind": "public",
    }
    assert second["ip"] == "::ffff:2.0.0.0"
    assert second["isp"] == 'a "quoted" \\ name'
    assert second["province"] is None
    assert third == {"ip": "9.9.9.9", "found": False}


def test_a_source_is_built_on_first_use_and_kept(run: Run, database: Path) -> None:
    first = run("lookup", "--db", database, "1.2.3.4")
    assert "reading china.xdb" in first.stderr
    second = run("lookup", "--db", f"xdb:{database}", "1.2.3.4")
    assert "reading" in second.stderr, "another format is another build"
    third = run("lookup", "--db", database, "1.2.3.4")
    assert third.stderr == ""
    assert first.stdout == second.stdout == third.stdout


def test_several_databases_in_order(run: Run, tmp_path: Path, database: Path) -> None:
    whole = tmp_path / "whole.dat"
    whole.write_bytes(ipip_dat([(LAST, "IPIP.NET\t20200102\t\t")]))
    found = run("lookup", "--db", database, "--db", whole, "1.2.3.4", "3.3.3.3")
    assert [json.loads(line)["country"] for line in found.stdout.splitlines()] == [
        "中国", "IPIP.NET",
    ]  # fmt: skip


def test_addresses_from_standard_input_in_order(program: Run, database: Path) -> None:
    found = program(
        "lookup", "--db", database, "2.2.2.2", "-", stdin="1.2.3.4\r\n\n 9.9.9.9 \n1.1.1.1"
    )
    assert [json.loads(line)["ip"] for line in found.stdout.splitlines()] == [
        "2.2.2.2", "1.2.3.4", "9.9.9.9", "1.1.1.1",
    ]  # fmt: skip


def test_many_addresses_from_standard_input(program: Run, database: Path) -> None:
    addresses = [f"1.{n >> 8 & 255}.{n & 255}.7" for n in range(50_000)]
    found = program("lookup", "--db", database, "-", stdin="\n".join(addresses))
    assert [json.loads(line)["ip"] for line in found.stdout.splitlines()] == addresses


def test_a_line_is_answered_before_the_next_is_sent(tmp_path: Path, database: Path) -> None:
    with subprocess.Popen(
        [IPQUERY, "lookup", "--db", database, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ip in (b"1.2.3.4", b"2.2.2.2"):
            process.stdin.write(ip + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ip"] == ip.decode()
        process.stdin.close()
        assert process.wait() == 0


def test_on_a_terminal_it_says_whose_data_it_is(
    tmp_path: Path, ip2region_path: Path, run: Run
) -> None:
    main, end = os.openpty()
    with subprocess.Popen(
        [IPQUERY, "lookup", "--db", ip2region_path, "1.2.3.4"], stdout=end, stderr=subprocess.PIPE
    ) as process:
        os.close(end)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    os.close(main)
    assert said == "ip2region: ip2region by Lion (lionsoul2014)\n"
    assert run("lookup", "--db", ip2region_path, "1.2.3.4").stderr == ""


def test_what_is_no_address_is_named_and_left_out(program: Run, database: Path) -> None:
    program("lookup", "--db", database, "1.1.1.1")
    found = program("lookup", "--db", database, "1.2.3", "1.2.3.4", "-", stdin="x\n1.1.1.1\n\xff\n")
    assert found.returncode == 1
    assert len(found.stdout.splitlines()) == 2
    assert found.stderr.splitlines() == [
        "not an IP address: '1.2.3'",
        "not an IP address: 'x'",
        r"not an IP address: '\xff'",
    ]


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path, database: Path) -> None:
    done = subprocess.run(
        f"yes 1.2.3.4 | {IPQUERY} lookup --db {database} - | head -n 2",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_what_depends_on_the_address_within_a_range(run: Run, tmp_path: Path) -> None:
    whole = tmp_path / "whole.dat"
    whole.write_bytes(
        ipip_dat([(0x09FFFFFF, "A\t\t\t"), (0x0A0001FF, "B\t\t\t"), (LAST, "C\t\t\t")])
    )
    addresses = ("10.0.0.7", "10.0.1.7", "10.0.2.0", "11.0.0.0", "224.0.0.1", "::ffff:10.0.0.7")
    found = [
        json.loads(line) for line in run("lookup", "--db", whole, *addresses).stdout.splitlines()
    ]
    assert [(one["country"], one["first"], one["last"]) for one in found] == [
        ("B", "10.0.0.0", "10.0.1.255"),
        ("B", "10.0.0.0", "10.0.1.255"),
        *[("C", "10.0.2.0", "255.255.255.255")] * 3,
        ("B", "10.0.0.0", "10.0.1.255"),
    ]
    assert [(one["network"], one["kind"]) for one in found] == [
        ("10.0.0.0/23", "private"),
        ("10.0.0.0/23", "private"),
        ("10.0.2.0/23", "private"),
        ("11.0.0.0/8", "public"),
        ("128.0.0.0/1", "multicast"),
        ("10.0.0.0/23", "private"),
    ]


def test_info_tells_what_is_in_a_database(run: Run, database: Path) -> None:
    text = run("info", database)
    assert text.returncode == 0
    for line in (
        "source         china.xdb (xdb, ",
        "date           2022-06-22, ",
        "licence        not stated",
        "attribution    not stated",
        "ranges         512 IPv4, 0 IPv6",
        "ranges         2 IPv4, 0 IPv6",
        "records        2",
        "answers        2 different ones, of 2 places and 2 owners",
        "coverage       0.78% of IPv4",
        "city code      100.00% of the 1 ranges that name one, of 1 in China",
    ):
        assert line in text.stdout
    assert re.fullmatch(
        r"Warning: china.xdb is of 2022-06-22, \d,\d{3} days old: get a newer one from its "
        "publisher",
        text.stderr.splitlines()[-1],
    )
    about = json.loads(run("info", "--json", database).stdout)
    assert about["sources"][0]["name"] == "china.xdb"
    assert about["addresses"] == {"ipv4": 2 << 24, "ipv6": 0}
    assert len(about["identity"]) == 64


def test_the_default_databases_licence_and_attribution(run: Run, ip2region_path: Path) -> None:
    text = run("info", ip2region_path).stdout
    assert "source         ip2region (xdb, 11,065,998 bytes)" in text
    assert "date           2022-06-22" in text
    assert "licence        Apache-2.0" in text
    assert "attribution    ip2region" in text
    assert "coverage       100.00% of IPv4" in text


def test_without_a_database_the_default_is_asked(run: Run) -> None:
    found = run("lookup", "123.12.23.45")
    assert json.loads(found.stdout)["city_code"] == "411400"
    told = run("info")
    assert "source         ip2region (xdb, " in told.stdout
    for done in (found, told):
        assert done.returncode == 0
        note = done.stderr.splitlines()[0]
        assert note.startswith("Note: the default database is ip2region alone")
        assert "`ipquery fetch default`" in note


def test_recipes_are_listed_with_what_their_publishers_ask_for(run: Run, tmp_path: Path) -> None:
    listed = run("fetch", "--list")
    assert listed.returncode == 0
    assert "dbip-city-2023    DB-IP City Lite, 2023-04-01; not fetched" in listed.stdout
    assert "CC BY 4.0; IP Geolocation by DB-IP (https://db-ip.com)" in listed.stdout
    folder = tmp_path / "elsewhere/dbip-city-2023"
    folder.mkdir(parents=True)
    (folder / "dbip-city-lite-latest.mmdb").touch()
    there = run("fetch", "--list", "--to", folder.parent)
    assert f"2023-04-01; in {folder.parent}" in there.stdout


def test_a_configuration_names_databases_and_codes(
    run: Run, tmp_path: Path, database: Path
) -> None:
    (tmp_path / "countries.txt").write_text("中国\tCHN\n", "utf-8")
    (tmp_path / "c.toml").write_text(
        "[[database]]\npath = 'china.xdb'\n[codes]\ncountries = 'countries.txt'\n"
    )
    for command in (
        ["lookup", "--config", "c.toml", "1.2.3.4"],
        ["lookup", "--config", "c.toml", "--db", database, "1.2.3.4"],
    ):
        assert json.loads(run(*command).stdout)["country_code"] == "CHN"
    assert run("build", "--config", "c.toml", "-o", "out.ipq").returncode == 0
    assert json.loads(run("lookup", "--db", "out.ipq", "1.2.3.4").stdout)["country_code"] == "CHN"
    assert run("info", "--config", "c.toml").returncode == 0


# What goes wrong is one line, status 1, and nothing half done


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.dat", None, "can't read this database: No such file"),
        ("empty.dat", b"", "the file is empty"),
        ("page.dat", b"<html>not found</html>" * 500, "it is a web page"),
        ("zeros.dat", bytes(2_000_000), "zero bytes"),
        ("cut.xdb", xdb([(0, 5, "a|b|c|d|e")])[:-3], "the file is cut short"),
    ],
)
def test_a_bad_file(
    run: Run, tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out.ipq").write_bytes(b"precious")
    for command in (["build", "-o", "out.ipq", name], ["lookup", "--db", name, "1.1.1.1"]):
        done = run(*command)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("  0%")]
        assert done.returncode == 1
        assert len(lines) == 1
        assert lines[0].startswith(f"Error: {name}: ")
        assert complaint in lines[0]
        assert done.stdout == ""
    assert (tmp_path / "out.ipq").read_bytes() == b"precious"
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_damaged_snapshot(run: Run, tmp_path: Path, database: Path) -> None:
    run("build", "-o", "out.ipq", database)
    whole = (tmp_path / "out.ipq").read_bytes()
    (tmp_path / "out.ipq").write_bytes(whole[:-1] + b"\xff")
    assert "out.ipq: the snapshot is damaged" in _one_line(run("info", "out.ipq"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["build", "-o", "x.ipq"], "no database given; name a SOURCE"),
        (["fetch", "nothing"], "nothing: no such recipe; give a name from `ipquery fetch --list`"),
        (["lookup", "--db", "asn-2026", "1.1.1.1"], "get it with `ipquery fetch asn-2026`"),
        (["lookup", "--db", "zip:x", "1.1.1.1"], "zip:x: unknown format zip; formats: ipip-dat"),
        (["info", "--config", "c.toml"], "c.toml: can't read this configuration"),
    ],
)
def test_usage(run: Run, arguments: list[str], complaint: str) -> None:
    assert complaint in _one_line(run(*arguments))


def test_help_and_version(program: Run, run: Run) -> None:
    assert "SOURCE is a database file" in run("--help").stdout
    assert program("--version").stdout.startswith("ipquery, version 0.")
    for command in ("build", "lookup", "explain", "info", "diff", "fetch", "check"):
        assert run(command, "--help").returncode == 0


def test_diff_tells_what_changes(run: Run, tmp_path: Path, database: Path) -> None:
    rows = [
        (0x01000000, 0x017FFFFF, "中国|0|河南省|郑州市|联通"),
        (0x02000000, 0x02FFFFFF, "美国|0|0|0|a\x1b[2J"),
    ]
    (tmp_path / "new.xdb").write_bytes(xdb(rows))
    run("build", "-o", "new.ipq", "new.xdb")
    done = run("diff", database, "new.ipq")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert (
        "city             50.00 %          1    50.00 %          1     0.00 %          0" in lines
    )
    assert "    商丘市 -> 郑州市                    1 range; 1.0.0.0 - 1.127.255.255" in lines
    assert r"\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout
    assert lines[-1] == "IPv6: nothing changes"
    assert max(width(line) for line in lines[3:]) <= 80
    told = json.loads(run("diff", "--json", database, "new.ipq").stdout)
    assert told["ipv4"]["countries"]["CN"]["city"]["changed"] == {"ranges": 1, "addresses": 1 << 23}
    assert told["ipv6"]["levels"]["city"]["changed"] == {"ranges": 0, "addresses": 0}


def test_nothing_changes_between_a_database_and_itself(run: Run, database: Path) -> None:
    assert run("diff", database, database).stdout.splitlines()[2:] == [
        "", "IPv4: nothing changes", "", "IPv6: nothing changes",
    ]  # fmt: skip


def test_diff_of_a_damaged_snapshot(run: Run, tmp_path: Path, database: Path) -> None:
    for name in ("one.ipq", "other.ipq"):
        run("build", "-o", name, database)
    whole = (tmp_path / "other.ipq").read_bytes()
    (tmp_path / "other.ipq").write_bytes(whole[:-1] + b"\xff")
    assert "other.ipq: the snapshot is damaged" in _one_line(run("diff", "one.ipq", "other.ipq"))
    assert "gone.ipq: can't read" in _one_line(run("diff", "one.ipq", "gone.ipq"))


def test_explain_shows_what_each_says_and_what_was_chosen(
    program: Run, tmp_path: Path, database: Path
) -> None:
    english = tmp_path / "english.csv"
    english.write_text(
        "first,last,country_code,province,city,isp\n"
        "1.0.0.0,1.255.255.255,CN,Henan,\x1b[31mShangqiu,\n"
        "2.0.0.0,2.255.255.255,GB,England,London,x\n"
    )
    (tmp_path / "c.toml").write_text(
        "[[database]]\npath = 'china.xdb'\n"
        "[[database]]\npath = 'english.csv'\nformat = 'csv'\n"
        "columns = ['first', 'last', 'country_code', 'province', 'city', 'isp']\n"
    )
    done = program("explain", "--config", "c.toml", "1.2.3.4", "2.0.0.1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:6] == [
        "1.2.3.4",
        "",
        "country   中国, CN, from china.xdb",
        "  china.xdb         中国                                chosen",
        "  english.csv       CN                                  agrees with the one",
        "                                                        chosen",
    ]
    assert "set aside: another" in done.stdout
    assert r"\x1b[31mShangqiu" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(width, done.stdout.splitlines())) <= 80
    done = program("explain", "--json", "--config", "c.toml", "2.0.0.1", "1.2.3.4")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["ip"], second["ip"]) == ("2.0.0.1", "1.2.3.4")
    assert first["levels"]["country"]["answer"] == {"country": "美国", "country_code": "US"}
    assert first["levels"]["country"]["said"][1] == {
        "source": "english.csv",
        "says": {"country_code": "GB"},
        "outcome": "set aside: another country",
    }


def test_explain_is_as_wide_as_the_terminal(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run("explain", "--db", database, "1.2.3.4").stdout.splitlines()
        assert columns - 30 < max(map(width, lines)) <= columns


def test_explain_wants_databases_and_addresses(run: Run, tmp_path: Path, database: Path) -> None:
    run("build", "-o", "out.ipq", database)
    line = _one_line(run("explain", "--db", "out.ipq", "1.2.3.4"))
    assert "out.ipq: a snapshot holds what was chosen" in line
    assert "not an IP address: '1.2.3'" in _one_line(run("explain", "--db", database, "1.2.3"))
    (tmp_path / "empty.dat").write_bytes(b"")
    done = run("explain", "--db", "empty.dat", "1.2.3.4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the file is empty" in done.stderr.splitlines()[-1]
