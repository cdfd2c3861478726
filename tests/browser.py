"""Debian's Chromium, as a user's browser: watched for everything that it complains of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.data.package_files import npm_file
from tests.programs import require

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium that runs until the end; it is used in this thread only."""
    chromium = require("chromium", "chromium")
    with sync_playwright() as playwright:
        # Containers have neither namespaces for a sandbox nor a large /dev/shm.
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


def axe() -> str:
    """The script that looks for what hinders people: axe-core, by Deque (MPL 2.0)."""
    return npm_file("axe-core", "4.14.1", "axe.min.js").read_text("utf-8")


@attrs.define(slots=False)  # playwright leaves marks on whose methods it calls
class Visit:
    """One visitor's tab, and what was seen in it."""

    page: Page
    origin: str
    complaints: list[str] = attrs.field(factory=list)
    """Errors on the console, exceptions, requests that failed, violations of the policy."""
    requests: list[str] = attrs.field(factory=list)
    """Method and path of each request."""
    elsewhere: list[str] = attrs.field(factory=list)
    """URLs of other origins that were asked for."""

    def watch(self) -> None:
        """Begin to look."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda asked: self.complaints.append(f"failed: {asked.url}"))
        # Before any script of the page: whatever the policy refuses is told.
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            "(event) => console.error('policy: ' + event.violatedDirective))"
        )

    def _console(self, said: Any) -> None:
        # What the browser says of a 400 that the page itself shows is no fault of the page.
        if said.type in ("error", "warning") and "status of 4" not in said.text:
            self.complaints.append(said.text)

    def _request(self, asked: Request) -> None:
        url = urlsplit(asked.url)
        if f"{url.scheme}://{url.netloc}" == self.origin:
            query = f"?{url.query}" if url.query else ""
            self.requests.append(f"{asked.method} {url.path}{query}")
        elif url.scheme != "blob":
            self.elsewhere.append(asked.url)

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, and its best practices."""
        # By the protocol, which the page's policy doesn't hold back.
        self.page.evaluate(f"() => {{ {axe()} }}")
        found = self.page.evaluate("() => axe.run(document)")
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    @property
    def is_too_wide(self) -> bool:
        """Whether the page scrolls sideways."""
        return bool(
            self.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        )


@contextmanager
def visit(
    browser: Browser,
    origin: str,
    *,
    phone: bool = False,
    theme: str = "light",
    language: str = "en-GB",
    scripts: bool = True,
) -> Iterator[Visit]:
    """A new visitor, who hasn't been there before.

    :param theme: ``light`` or ``dark``, of the visitor's system.
    :param scripts: whether JavaScript is on.
    """
    context: BrowserContext = browser.new_context(
        viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]  # a TypedDict of its own
        device_scale_factor=2 if phone else 1,
        has_touch=phone,
        is_mobile=phone,
        color_scheme="dark" if theme == "dark" else "light",
        locale=language,
        java_script_enabled=scripts,
        service_workers="block",
    )
    context.set_default_timeout(15_000)
    visiting = Visit(context.new_page(), origin)
    visiting.watch()
    yield visiting
    context.close()
