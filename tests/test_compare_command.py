"""ipquery compare, as its users run it; and its page, in a browser."""

import datetime
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from ipquery.cli import main
from ipquery.cli.compare import named_apart
from ipquery.cli.compare_page import page
from ipquery.cli.shares import distance, letter, percent, short
from ipquery.cli.text import width
from ipquery.data.sources import Source
from tests.data.files import xdb
from tests.programs import require

pytestmark = pytest.mark.usefixtures("builds_here")

HOSTILE = '<script>alert("x")</script>\x1b[2J'


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["compare", *map(str, arguments)])

    return call


@pytest.fixture
def databases(tmp_path: Path) -> tuple[Path, Path]:
    """They agree on Henan, not on the city in half of it, nor on the country
    of 2.0.0.0/8 or the province of 3.0.0.0/16."""
    one, other = tmp_path / "one.xdb", tmp_path / "other.csv"
    one.write_bytes(
        xdb(
            [
                (0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通"),
                (0x02000000, 0x02FFFFFF, "美国|0|0|0|0"),
                (0x03000000, 0x0300FFFF, f"美国|0|{HOSTILE}|0|0"),
            ]
        )
    )
    other.write_text(
        "ip_range_start,ip_range_end,country_code,state1,state2,city,postcode,latitude,longitude,"
        "timezone\n"
        "1.0.0.0,1.127.255.255,CN,Henan,,Shangqiu,,34.4,115.6,\n"
        "1.128.0.0,1.255.255.255,CN,Henan,,Zhengzhou,,34.7,113.6,\n"
        "2.0.0.0,2.255.255.255,FR,,,Paris,,48.9,2.3,\n"
        "3.0.0.0,3.0.255.255,US,California,,,,,,\n"
        "2a00::,2a00:ffff::,FR,,,Paris,,48.9,2.3,\n",
        "utf-8",
    )
    return one, other


def _one_line(done: Result) -> str:
    assert done.exit_code == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_table_for_the_terminal(run: Any, databases: tuple[Path, Path]) -> None:
    done = run(*databases)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "A  one.xdb (xdb, 2022-06-22)"
    assert lines[2] == "B  other.csv (csv, date unknown)"
    for line in (
        "IPv4: shares are of all 3,702,258,432 public addresses",
        "country                        0.91 %       0.91 %",
        "province                       0.45 %       0.45 %",
        "organisation or ISP            0.45 %            -",
        "ranges                            513            4",
        "CN by A                      100.00 %     100.00 %            -     100.00 %",
        "FR by B                             -     100.00 %     100.00 %            -",
        "A and B                       50.10 %      99.61 %      50.00 %            -            -",
        "A and B disagree on the city",
        "     0.23 %  中国 / 河南省 / 商丘市 | CN / Henan / Zhengzhou; 1.128.0.0 -",
        "             1.255.255.255",
        "IPv6: shares are of the public addresses that at least one knows",
    ):
        assert line in lines
    assert "\x1b" not in done.stdout
    assert max(map(width, lines)) <= 89, "five numbers beside their name"
    assert "comparing" in done.stderr


def test_one_json_object(run: Any, databases: tuple[Path, Path]) -> None:
    told = json.loads(run("--json", *databases).stdout)
    assert [source["name"] for source in told["sources"]] == ["one.xdb", "other.csv"]
    assert told["sources"][1]["ranges"] == {"ipv4": 4, "ipv6": 1}
    (pair,) = told["ipv4"]["pairs"]
    assert (pair["left"], pair["right"]) == (0, 1)
    country, city = pair["levels"]["country"], pair["levels"]["city"]
    assert (country["both"], country["same"]) == ((2 << 24) + 65536, (1 << 24) + 65536)
    (disagreement,) = city["disagreements"]
    assert disagreement["addresses"] == 1 << 23
    assert disagreement["examples"][0]["right"]["city"] == "Zhengzhou"
    assert told["ipv6"]["coverage"][1]["whole"]["known"]["city"]["addresses"] == (
        0xFFFF * 2**96 + 1
    )


def test_a_blend_can_be_compared_with_a_reference(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tmp_path / "ipquery.toml"
    config.write_text(
        "".join(
            f'[[database]]\npath = "{path}"\nattribution = "By {path.name}"\nlicence = "L"\n'
            for path in databases
        )
    )
    built = CliRunner().invoke(main, ["build", "-o", "blend.ipq", "--config", str(config)])
    assert built.exit_code == 0, built.stderr
    told = json.loads(run("--json", "blend.ipq", databases[1]).stdout)
    blend = told["sources"][0]
    assert (blend["format"], blend["licence"]) == ("snapshot", "L")
    assert blend["attribution"] == "By one.xdb; By other.csv"
    known = told["ipv4"]["coverage"][0]["whole"]["known"]
    assert known["provider"]["addresses"] == 1 << 24
    assert known["country"]["addresses"] == (2 << 24) + 65536


def test_the_configurations_databases_by_default(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tmp_path / "ipquery.toml"
    config.write_text(f'[[database]]\npath = "{databases[0]}"\nname = "mine"\n')
    done = run("--config", config)
    assert done.stdout.splitlines()[0] == "A  mine (xdb, 2022-06-22)"


def test_a_country_that_is_asked_for(run: Any, databases: tuple[Path, Path]) -> None:
    lines = run("--country", "fr", "--country", "DE", *databases).stdout.splitlines()
    named = [line for line in lines if re.match(r"[A-Z]{2} by ", line)]
    assert [line[:7] for line in named] == ["FR by B", "FR by B"], "of IPv4 and of IPv6"


def test_two_files_of_one_name_are_called_by_their_paths(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "b" / databases[0].name
    other.parent.mkdir()
    other.write_bytes(databases[0].read_bytes())
    told = json.loads(run("--json", databases[0], other).stdout)
    assert [source["name"] for source in told["sources"]] == [
        f"one.xdb ({databases[0]})",
        f"one.xdb ({other})",
    ]


def test_editions_of_one_database_are_told_apart_by_their_dates() -> None:
    one = Source(Path("a"), name="DB", date=datetime.date(2023, 4, 1))
    other = attrs.evolve(one, path=Path("b"), date=datetime.date(2026, 6, 5))
    third = attrs.evolve(other, path=Path("c"))
    apart = Source(Path("d"), name="other")
    assert [source.name for source in named_apart([one, other, third, apart])] == [
        "DB (2023-04-01)", "DB (2026-06-05) (b)", "DB (2026-06-05) (c)", "other",
    ]  # fmt: skip


def test_what_cannot_be_compared_is_named(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    assert "gone.xdb: can't read" in _one_line(run("gone.xdb"))
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    assert "noise: not a database ipquery can read" in _one_line(run(databases[0], "noise"))
    CliRunner().invoke(main, ["build", "-o", "blend.ipq", str(databases[0])])
    whole = (tmp_path / "blend.ipq").read_bytes()
    (tmp_path / "blend.ipq").write_bytes(whole[:-1] + b"\xff")
    assert "blend.ipq: the snapshot is damaged" in _one_line(run("blend.ipq"))
    written = run("--html", "no/page.html", databases[0])
    assert "no/page.html: can't write this page: No such file" in _one_line(written)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 5, "-"),
        (1, 2**125, "< 0.01 %"),
        (2**125 - 1, 2**125, "100.00 %"),
        (99_999, 100_000, "> 99.99 %"),
        (1, 3, "33.33 %"),
        (5, 5, "100.00 %"),
    ],
)
def test_shares(part: int, whole: int, shown: str) -> None:
    assert percent(part, whole) == shown


def test_names_and_distances() -> None:
    assert [letter(number) for number in (0, 25, 26, 53)] == ["A", "Z", "A1", "B2"]
    assert [distance(km) for km in (None, 0.0, 12.34, 1649.1)] == [
        "-", "0.0 km", "12.3 km", "1,649 km",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1_234, "1.23k"), (711_000, "711k"), (3_267_813, "3.27M")],
)
def test_counts_that_fit_a_phone(count: int, shown: str) -> None:
    assert short(count) == shown


def _browser(shown: Path, *flags: str) -> str:
    chromium = require("chromium", "chromium")
    return subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={shown.parent / 'profile'}", *flags, shown.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(shown.parent)},
    ).stdout  # fmt: skip


def _three(run: Any, databases: tuple[Path, Path], tmp_path: Path) -> dict[str, Any]:
    """A comparison of three, whose attribution is a publisher's with a link."""
    config = tmp_path / "ipquery.toml"
    config.write_text(
        f'[[database]]\npath = "{databases[0]}"\nname = "{"long-name-" * 8}"\n'
        f'[[database]]\npath = "{databases[1]}"\nname = "<b>bold</b>"\n'
        'attribution = "IP Geolocation by DB-IP (https://db-ip.com)"\n'
        f'[[database]]\npath = "{databases[1]}"\nname = "again"\n'
        "attribution = 'javascript:alert(1) http://a.test \"><img src=x>'\n"
    )
    told: dict[str, Any] = json.loads(run("--json", "--config", config).stdout)
    return told


def test_the_page_fits_a_phone_and_needs_nothing_else(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    shown = tmp_path / "page.html"
    shown.write_text(page(_three(run, databases, tmp_path)).replace("<details>", "<details open>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" src="{shown.as_uri()}" style="width:375px;height:700px;border:0">'
        "</iframe><script>f.onload = () => { const d = f.contentDocument;"
        "const look = s => d.querySelectorAll(s).length; document.title = JSON.stringify({"
        "wide: d.documentElement.scrollWidth, charts: look('svg'), lines: look('polyline'),"
        "made: look('script, img, b b'), links: [...d.querySelectorAll('a')].map(a => a.href),"
        "text: d.body.innerText}); }</script>"
    )
    dumped = _browser(
        frame, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"
    )
    match = re.search(r"<title>(.*?)</title>", dumped, re.DOTALL)
    assert match, dumped
    seen = json.loads(
        match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"), strict=False
    )
    assert seen["wide"] <= 375, "no scrolling to the side"
    assert seen["charts"] == 6, "of each IP version coverage, agreement and distance"
    assert seen["lines"] == 2
    assert seen["made"] == 0, "texts of databases and settings stay texts"
    assert seen["links"] == ["https://db-ip.com/"]
    for text in ("IP Geolocation by DB-IP", "<b>bold</b>", "the largest disagreements on the city"):
        assert text in seen["text"]


def test_nothing_from_a_database_becomes_a_part_of_the_page(
    run: Any, databases: tuple[Path, Path], tmp_path: Path
) -> None:
    made = run("--html", tmp_path / "page.html", *databases)
    assert (made.exit_code, made.stdout) == (0, "")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;\\x1b[2J" in text
    assert "\x1b" not in text
    assert not re.search(r"<(script|img|link|iframe)\b|\bsrc=|url\(|@import", text)
    assert "default-src 'none'" in text
