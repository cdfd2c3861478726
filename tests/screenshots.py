"""Makes the pictures of the page in docs/: ``python -m tests.screenshots``."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from ipquery.data.build import default_cache, ensure_snapshot
from ipquery.data.sources import default_sources
from ipquery.data.update.fetch import fetch
from ipquery.data.update.recipes import DBIP_CITY_2023
from tests.browser import browser, visit
from tests.integration.daemon import Daemon

DOCS = Path(__file__).parents[1] / "docs"

LOG = """\
193.0.6.139 - - [25/Nov/2026:14:30:45 +0000] "GET / HTTP/1.1" 200 1234
200.160.2.3 - - [25/Nov/2026:14:30:46 +0000] "GET /a HTTP/1.1" 200 56
123.12.23.45 - - [25/Nov/2026:14:30:46 +0000] "GET /b HTTP/1.1" 200 78
123.12.23.45 - - [25/Nov/2026:14:30:47 +0000] "GET /c HTTP/1.1" 200 90
2400:3200::1 - - [25/Nov/2026:14:30:48 +0000] "GET /d HTTP/1.1" 304 0
10.0.0.1 - - [25/Nov/2026:14:30:49 +0000] "GET /healthz HTTP/1.1" 200 15
"""


def main() -> None:
    """Make both."""
    fonts = shutil.which("fc-list")
    if not fonts or not subprocess.run([fonts, ":lang=zh"], capture_output=True).stdout:
        sys.exit("Chinese needs a font: apt-get install fontconfig fonts-wqy-microhei")
    data = Path(sys.prefix) / "fetched/ipquery"
    if not DBIP_CITY_2023.is_fetched(data):
        fetch(DBIP_CITY_2023, data, print)
    snapshot = ensure_snapshot(default_sources(data), default_cache(), lambda what, done: None)
    with (
        tempfile.TemporaryDirectory() as folder,
        Daemon(Path(folder), "--db", snapshot, "-w", "1") as daemon,
        browser() as chromium,
    ):
        origin = f"http://127.0.0.1:{daemon.wait_until_up().port}"
        _take(chromium, origin, "13.230.0.1", "page-light.png")
        _take(chromium, origin, "219.141.136.10", "page-dark.png", is_other=True)


def _take(chromium: Browser, origin: str, address: str, name: str, is_other: bool = False) -> None:
    """Make one, in English and light on a desktop; the other, in Chinese and dark on a phone."""
    language, theme = ("zh-CN", "dark") if is_other else ("en-GB", "light")
    with visit(chromium, origin, phone=is_other, theme=theme, language=language) as visiting:
        page = visiting.page
        page.goto(f"{origin}/")
        page.locator("#ip").fill(address)
        page.locator("#ip").press("Enter")
        page.locator("#text").fill(LOG)
        page.locator("#many button").click()
        page.wait_for_selector("#found:not([hidden])")
        page.wait_for_selector("#table-part:not([hidden])")
        # A phone's whole page would be five screens.
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=DOCS / name, full_page=not is_other)
        print(DOCS / name)


if __name__ == "__main__":
    main()
