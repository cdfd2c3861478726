"""The page at / and the reference at /docs, in a real browser, from a real daemon."""

import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.browser import Visit, visit
from tests.integration.daemon import Daemon

LOOKS = [
    pytest.param(theme, language, phone, id=f"{theme} {language} {'phone' if phone else 'desktop'}")
    for theme in ("light", "dark")
    for language in ("en-GB", "zh-CN")
    for phone in (False, True)
]

# A thousand lines: 300 addresses with a record, 100 private ones, 2 without sense.
LOG = "\n".join(
    f'{_address} - - [25/Nov/2026:14:30:{_number % 60:02}] "GET / HTTP/1.1" 200 Chrome/120.0.0.0'
    for _number in range(1000)
    for _address in [f"1.2.{_number % 300 // 2}.{_number % 2}" if _number % 4 else
                     f"10.0.0.{_number // 4 % 100}"]
) + "\n999.1.1.1, 1.2.3.256 at 12:30:45"  # fmt: skip


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, default_path: Path) -> Iterator[str]:
    with Daemon(tmp_path_factory.mktemp("page"), "--db", default_path, "-w", "1") as running:
        yield f"http://127.0.0.1:{running.wait_until_up().port}"


@pytest.fixture
def visiting(chromium: Browser, browser_thread: Executor, origin: str) -> Iterator[Visit]:
    one = visit(chromium, origin)
    visiting = browser_thread.submit(one.__enter__).result()
    browser_thread.submit(visiting.page.goto, f"{origin}/").result()
    yield visiting
    browser_thread.submit(one.__exit__, None, None, None).result()
    assert visiting.complaints == []
    assert visiting.elsewhere == []


@pytest.fixture
def page(visiting: Visit) -> Page:
    return visiting.page


def _look_up(page: Page, address: str) -> str:
    """What is said about it."""
    page.get_by_label("IP address", exact=True).fill(address)
    page.get_by_role("button", name="Look up").click()
    return _said(page, "#one-status")


def _said(page: Page, place: str) -> str:
    """What a status line says in the end."""
    status = page.locator(place)
    page.wait_for_function(
        "place => !/…|^$/.test(document.querySelector(place).textContent)", arg=place
    )
    return status.inner_text()


def _paste(page: Page, text: str) -> str:
    page.locator("#text").fill(text)
    page.locator("#many button").click()
    return _said(page, "#many-status")


def _fields(page: Page) -> dict[str, str]:
    names = page.locator("#fields dt").all_inner_texts()
    return dict(zip(names, page.locator("#fields dd").all_inner_texts(), strict=True))


def _column(page: Page, number: int) -> list[str]:
    return page.locator(f"#table tbody td:nth-child({number})").all_inner_texts()


def _head(page: Page, name: str) -> Locator:
    return page.get_by_role("columnheader", name=name, exact=True)


def _saved(page: Page, name: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    return Path(waiting.value.path()).read_bytes().decode("utf-8")


def test_nothing_is_asked_that_nobody_asked_for(visiting: Visit) -> None:
    visiting.page.wait_for_selector("#sources li")
    assert sorted(visiting.requests) == [
        "GET /", "GET /page/icon.svg", "GET /page/page.css", "GET /page/page.js",
        "GET /v1/databases",
    ]  # fmt: skip


def test_an_address_is_looked_up(visiting: Visit) -> None:
    page = visiting.page
    assert _look_up(page, " 1.2.3.4 ") == "1.2.3.4 looked up."
    found = _fields(page)
    assert found["Country"] == "Australia from DB-IP City Lite"
    assert found["Network"] == "1.2.3.0/24"
    assert found["Position"] == "-27.4767, 153.017"
    assert page.get_by_role(
        "img", name="Map of the world with a mark at South Brisbane"
    ).is_visible()
    assert page.locator("#marker").get_attribute("transform") == "translate(765.085 137.3835)"
    assert visiting.requests[-1] == "GET /v1/ip/1.2.3.4?lang=en"


@pytest.mark.parametrize(
    ("address", "ip", "kind"),
    [("2400:3200::1", "2400:3200::1", "public"), ("::ffff:10.0.0.1", "10.0.0.1", "private")],
)
def test_every_address_has_an_answer(page: Page, address: str, ip: str, kind: str) -> None:
    assert _look_up(page, address) == f"{ip} looked up."
    assert _fields(page)["Kind"] == kind
    assert page.locator("#figure").is_visible() == (kind == "public")


def test_an_address_that_no_database_knows(page: Page) -> None:
    names = ("country_code", "latitude", "longitude", "accuracy_radius")
    answer: dict[str, Any] = {
        "ip": "1.2.3.4",
        "kind": "public",
        **dict.fromkeys(names),
        "sources": {},
    }
    page.route("**/v1/ip/*", lambda route: route.fulfill(json=answer))
    assert _look_up(page, "1.2.3.4") == "No database knows this address."
    assert _fields(page) == {"Kind": "public"}


def test_what_is_no_address_is_said(page: Page) -> None:
    _look_up(page, "1.2.3.4")
    for text in ("1.2.3", "../me", "<b>1.2.3.4", "1.2.3.4?x"):
        assert _look_up(page, text) == "This is not an IP address."
        assert not page.locator("#found").is_visible()


def test_my_address(page: Page) -> None:
    page.get_by_role("button", name="My address").click()
    assert _said(page, "#one-status") == "127.0.0.1 looked up."
    assert _fields(page)["Kind"] == "loopback"


def test_a_log_becomes_a_table(visiting: Visit) -> None:
    page = visiting.page
    assert _paste(page, LOG) == "327 addresses looked up."
    assert page.locator("#caption").inner_text() == "327 of 327 addresses"
    assert len(_column(page, 1)) == 327
    assert [one for one in visiting.requests if "batch" in one] == ["POST /v1/batch?lang=en"]
    row = page.get_by_role("row", name="999.1.1.1", exact=False)
    assert row.locator("td.bad").inner_text() == "This is not an IP address."
    assert page.get_by_role("row", name="120.0.0.0").count() == 0


def test_more_than_a_batch_is_asked_for_in_pieces(visiting: Visit) -> None:
    text = " ".join(f"1.{number // 250}.{number % 250}.1:443" for number in range(2100))
    assert _paste(visiting.page, text) == "2100 addresses looked up."
    assert len([one for one in visiting.requests if "batch" in one]) == 3
    assert (
        visiting.page.locator("#caption").inner_text()
        == "2100 of 2100 addresses; the first 2000 are shown"
    )
    assert len(_column(visiting.page, 1)) == 2000


def test_a_text_without_addresses(page: Page) -> None:
    assert _paste(page, "at 12:30:45 std::cout, v1.2.3, a:b") == "There is no address in this text."


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("1.2.3.4:80,[2001:db8::1]:443;http://5.6.7.8/", ["1.2.3.4", "2001:db8::1", "5.6.7.8"]),
        ("2001:DB8::1%eth0 fe80::1/64", ["2001:db8::1", "fe80::1"]),
        ('{"ip":"::ffff:1.2.3.4"} 10.0.0.0/8', ["1.2.3.4", "10.0.0.0"]),
        ("1:2:3:4:5:6:7:8 aa:bb:cc:dd:ee:ff", ["1:2:3:4:5:6:7:8"]),
        ("1.2.3.4.5 x1.2.3.4 1.2.3.4x 1.2.3.4.", ["1.2.3.4"]),
    ],
)
def test_addresses_are_found_in_a_text(page: Page, text: str, addresses: list[str]) -> None:
    assert _paste(page, text) == f"{len(addresses)} addresses looked up."
    assert _column(page, 1) == addresses


def test_there_may_be_no_address_among_those_pasted(page: Page) -> None:
    assert _paste(page, "999.1.1.1 999.1.1.2") == "2 addresses looked up."
    assert page.locator("td.bad").all_inner_texts() == ["This is not an IP address."] * 2


def test_a_table_is_sorted(page: Page) -> None:
    _paste(page, "9.9.9.9 10.0.0.1 10.0.0.1 1.2.3.4 10.0.0.10 10.0.0.9")
    # The most frequent one first, others as they came.
    assert _column(page, 1) == ["10.0.0.1", "9.9.9.9", "1.2.3.4", "10.0.0.10", "10.0.0.9"]
    assert _head(page, "Count").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Address", exact=True).click()
    # By number, not letter by letter.
    assert _column(page, 1) == ["1.2.3.4", "9.9.9.9", "10.0.0.1", "10.0.0.9", "10.0.0.10"]
    assert _head(page, "Address").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Address", exact=True).click()
    assert _column(page, 1) == ["10.0.0.10", "10.0.0.9", "10.0.0.1", "9.9.9.9", "1.2.3.4"]
    assert _head(page, "Count").get_attribute("aria-sort") == "none"


def test_a_table_is_filtered_and_saved(page: Page) -> None:
    _paste(page, LOG)
    page.get_by_label("Filter").fill("PRIVATE")
    assert page.locator("#caption").inner_text() == "100 of 327 addresses"
    page.get_by_label("Filter").fill("1.2.3.")
    assert sorted(_column(page, 1)) == ["1.2.3.0", "1.2.3.1", "1.2.3.256"]
    # What is saved is what is shown.
    saved = _saved(page, "Download CSV")
    assert saved.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(saved[1:])))
    assert [row["ip"] for row in rows] == _column(page, 1)
    assert {row["country"] for row in rows if row["ip"] != "1.2.3.256"} == {"Australia"}
    objects = json.loads(_saved(page, "Download JSON"))
    assert [one["ip"] for one in objects] == _column(page, 1)
    (bad,) = [one for one in objects if "error" in one]
    assert bad["error"]["type"] == "/docs#problem-not-an-address"


def test_what_a_spreadsheet_would_run_is_saved_as_text(page: Page) -> None:
    """An answer is the database's, and a database is somebody else's."""

    def answer(route: Any) -> None:
        route.fulfill(
            json=[{"ip": "1.2.3.4", "kind": "public", "country": '=1+"1"', "city": "<b>"}]
        )

    page.route("**/v1/batch*", answer)
    _paste(page, "1.2.3.4")
    (row,) = csv.DictReader(io.StringIO(_saved(page, "Download CSV")[1:]))
    assert row["country"] == '\'=1+"1"'
    # What nobody knows has no column.
    heads = page.get_by_role("columnheader").all_inner_texts()
    assert [head.rstrip(" ▼") for head in heads] == ["Address", "Count", "Kind", "Country", "City"]
    assert _column(page, 5) == ["<b>"]


def test_the_service_may_be_out_of_reach(visiting: Visit) -> None:
    page = visiting.page
    page.wait_for_selector("#sources li")
    page.route("**/v1/**", lambda route: route.abort())
    assert _look_up(page, "1.2.3.4") == "The service can't be reached."
    assert _paste(page, "1.2.3.4") == "The service can't be reached."
    assert len(visiting.complaints) == 4, "each is a failed request and a line on the console"
    visiting.complaints.clear()


def test_the_language_is_switched_and_kept(visiting: Visit) -> None:
    page = visiting.page
    _look_up(page, "1.2.3.4")
    _paste(page, "1.2.3.4 10.0.0.1")
    page.get_by_label("Language").select_option("zh")
    page.wait_for_function(
        "() => document.querySelector('#place').textContent.includes('澳大利亚')"
    )
    page.wait_for_function(
        "() => document.querySelector('#table').textContent.includes('澳大利亚')"
    )
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.get_by_role("heading", name="单个地址").is_visible()
    assert _fields(page)["国家"] == "澳大利亚 来源：DB-IP City Lite"
    assert _head(page, "国家").is_visible()
    page.reload()
    assert page.get_by_role("heading", name="单个地址").is_visible()
    assert page.get_by_label("语言").input_value() == "zh"


def test_every_text_is_in_both_languages(page: Page) -> None:
    page.locator("summary").click()  # what is folded away has no text to be seen
    english = page.locator("[data-text]").all_inner_texts()
    page.get_by_label("Language").select_option("zh")
    chinese = page.locator("[data-text]").all_inner_texts()
    assert len(english) == len(chinese) > 10
    assert all(english)
    assert not set(english) & set(chinese)


def test_the_theme_is_switched_and_kept(visiting: Visit) -> None:
    page = visiting.page

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.get_by_label("Colours").select_option("dark")
    dark = ground()
    assert dark != light
    page.reload()
    assert ground() == dark
    page.get_by_label("Colours").select_option("auto")
    assert ground() == light
    page.emulate_media(color_scheme="dark")
    assert ground() == dark
    page.get_by_label("Colours").select_option("light")
    assert ground() == light


def test_a_keyboard_is_enough(page: Page) -> None:
    def press(*keys: str) -> str:
        """What has the focus then, and can be seen to have it."""
        for key in keys:
            page.keyboard.press(key)
        return str(
            page.evaluate(
                "(() => { const one = document.activeElement;"
                "const shown = getComputedStyle(one).outlineStyle !== 'none';"
                "return shown ? one.id || one.textContent : 'not shown: ' + one.id; })()"
            )
        )

    assert press("Tab") == "Skip to the look-up"
    page.keyboard.press("Enter")
    assert press("Tab") == "ip"
    page.keyboard.type("1.2.3.4")
    page.keyboard.press("Enter")
    assert _said(page, "#one-status") == "1.2.3.4 looked up."
    assert press("Tab") == "Look up"
    assert press("Tab") == "me"
    assert press("Tab") == "text"
    page.keyboard.insert_text("1.2.3.4 10.0.0.1 10.0.0.1")
    assert press("Tab") == "Look all up"
    page.keyboard.press("Enter")
    assert _said(page, "#many-status") == "2 addresses looked up."
    assert press("Tab") == "filter"
    assert press("Tab") == "csv"
    assert press("Tab") == "json"
    page.keyboard.press("Tab")  # the region that scrolls
    assert press("Tab") == "Address"
    page.keyboard.press("Space")
    assert _column(page, 1) == ["1.2.3.4", "10.0.0.1"]
    # The table is drawn anew, and the focus stays.
    assert press("Space") == "Address"
    assert _column(page, 1) == ["10.0.0.1", "1.2.3.4"]


def test_changes_are_told_to_those_who_do_not_see_them(page: Page) -> None:
    assert page.get_by_role("status").count() == 2
    _look_up(page, "1.2.3.4")
    assert "looked up" in page.get_by_role("status").first.inner_text()


def _asked_for_figures(visiting: Visit) -> int:
    return len([one for one in visiting.requests if "status" in one])


def test_figures_of_the_node_are_shown_while_somebody_looks(visiting: Visit) -> None:
    page = visiting.page
    page.wait_for_selector("#sources li")
    page.clock.install()
    assert _asked_for_figures(visiting) == 0
    summary = page.get_by_text("Live figures")
    summary.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#figures dd")
    names = page.locator("#figures dt").all_inner_texts()
    told = dict(zip(names, page.locator("#figures dd").all_inner_texts(), strict=True))
    assert told["Workers"] == "1 of 1 answer"
    assert re.fullmatch(r"[0-9.,]+, over [0-9.]+ s|nothing yet", told["Requests a second"])
    assert re.fullmatch(r"[0-9.]+ (µs|ms)|nothing yet", told["99 of 100 within"])
    assert re.fullmatch("[0-9a-f]{64}", told["Snapshot"])
    with page.expect_response("**/v1/status"):
        page.clock.fast_forward(3100)
    page.get_by_label("Language").select_option("zh")
    assert "1 个中 1 个就绪" in page.locator("#figures dd").all_inner_texts()
    # Closed, or out of sight, nobody is asked.
    for hide in (
        "document.querySelector('#node').open = false",
        "document.querySelector('#node').open = true;"
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden'});"
        "document.dispatchEvent(new Event('visibilitychange'))",
    ):
        page.evaluate(hide)
        page.clock.fast_forward(3100)
        before = _asked_for_figures(visiting)
        page.clock.fast_forward(60_000)
        assert _asked_for_figures(visiting) == before


def test_where_there_are_no_figures_nobody_is_asked_for_them(
    chromium: Browser, browser_thread: Executor, tmp_path: Path, default_path: Path
) -> None:
    """They are at another address."""
    arguments = ("--db", default_path, "-w", "1", "-b", f"admin:unix:{tmp_path}/admin.sock")
    with Daemon(tmp_path, *arguments) as running:
        origin = f"http://127.0.0.1:{running.wait_until_up().port}"
        with visit(chromium, origin) as visiting:
            page = visiting.page
            page.goto(f"{origin}/")
            page.wait_for_selector("#sources li")
            assert page.get_by_text("Live figures").count() == 0
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            assert _look_up(page, "1.2.3.4") == "1.2.3.4 looked up."
            page.get_by_label("Language").select_option("zh")
            page.wait_for_selector("text=数据库")
    assert visiting.complaints == []
    assert _asked_for_figures(visiting) == 0


def test_figures_may_be_out_of_reach(visiting: Visit) -> None:
    page = visiting.page
    page.wait_for_selector("#sources li")
    page.route("**/v1/status", lambda route: route.abort())
    page.get_by_text("Live figures").click()
    page.wait_for_function("() => document.querySelector('#node-status').textContent")
    assert page.locator("#node-status").inner_text() == "The service can't be reached."
    visiting.complaints.clear()


@pytest.mark.parametrize(("theme", "language", "phone"), LOOKS)
def test_nothing_hinders_people(
    chromium: Browser, origin: str, theme: str, language: str, phone: bool
) -> None:
    with visit(chromium, origin, theme=theme, language=language, phone=phone) as visiting:
        page = visiting.page
        page.goto(f"{origin}/")
        page.wait_for_selector("#sources li")
        assert visiting.violations() == []
        page.locator("summary").click()
        page.wait_for_selector("#figures dd")
        page.locator("#ip").fill("2400:3200::1")
        page.locator("#ip").press("Enter")
        _paste(page, f"{LOG[:2000]} 999.1.1.1 2001:db8:1234:5678:9abc:def0:1234:5678")
        page.wait_for_selector("#found:not([hidden])")
        assert visiting.violations() == []
        assert not visiting.is_too_wide
        assert visiting.complaints == []
        assert visiting.elsewhere == []


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_in_the_reference_hinders_people(
    chromium: Browser, origin: str, theme: str, phone: bool
) -> None:
    with visit(chromium, origin, theme=theme, phone=phone) as visiting:
        visiting.page.goto(f"{origin}/docs#problem-not-found")
        assert visiting.violations() == []
        assert not visiting.is_too_wide
        assert visiting.complaints == []
        assert visiting.elsewhere == []


def test_the_reference_needs_no_scripts(chromium: Browser, origin: str) -> None:
    with visit(chromium, origin, scripts=False) as visiting:
        page = visiting.page
        page.goto(f"{origin}/docs#problem-unknown-field")
        assert page.locator(":target").inner_text() == "unknown-field"
        page.get_by_role("link", name="POST /v1/batch").click()
        assert page.locator(":target").inner_text() == "POST /v1/batch"
        page.get_by_role("link", name="ipquery", exact=True).click()
        assert page.url == f"{origin}/"
        assert page.locator("noscript p").is_visible()
        assert visiting.elsewhere == []


def test_the_policy_is_enforced(visiting: Visit) -> None:
    """Were there a way to bring a script in, it would be refused."""
    visiting.page.evaluate(
        "() => { const one = document.createElement('script');"
        "one.textContent = 'window.ran = true'; document.body.append(one);"
        "document.body.setAttribute('style', 'color: red'); }"
    )
    assert visiting.page.evaluate("window.ran") is None
    assert any("policy: script-src" in one for one in visiting.complaints)
    assert any("policy: style-src" in one for one in visiting.complaints)
    visiting.complaints.clear()
