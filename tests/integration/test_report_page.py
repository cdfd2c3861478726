"""The page that ``ipquery report`` writes, in a real browser."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser

from ipquery.cli import main
from tests.browser import visit
from tests.data.reporting import HOSTILE, lines, write_hostile


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    database = write_hostile(folder / "geo.ipq")
    (folder / "access.log").write_text(
        lines(["1.0.0.1", "2.0.0.1", "3.0.0.1", "1.0.0.2", "::1"] * 400)
    )
    out = folder / "out.html"
    words = ["report", "--db", database, "--html", out, folder / "access.log"]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 0, done.stderr
    return out


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_hinders_nobody_and_needs_nothing_else(
    chromium: Browser, written: Path, theme: str, phone: bool
) -> None:
    with visit(chromium, "file://", theme=theme, phone=phone) as visiting:
        page = visiting.page
        page.goto(written.as_uri())
        page.locator("summary").click()
        assert page.get_by_role("img", name="Requests over time, by country").is_visible()
        assert page.locator("path").count() == 4, "three countries, and what isn't known"
        assert page.locator("script").count() == 0
        assert (
            HOSTILE.partition("\x1b")[0] in page.locator("h2:text('By country') + *").inner_text()
        )
        assert not visiting.is_too_wide
        assert visiting.violations() == []
        assert visiting.complaints == []
        assert visiting.elsewhere == []
        assert visiting.requests == [f"GET {written}"]


def test_it_needs_no_scripts(chromium: Browser, written: Path) -> None:
    with visit(chromium, "file://", scripts=False) as visiting:
        visiting.page.goto(written.as_uri())
        assert visiting.page.get_by_role("heading", name="By country").is_visible()
