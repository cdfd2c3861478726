"""What is sent as it stands: the page, the reference, the description for programs."""

import re
from html.parser import HTMLParser

import pytest

from ipquery.serve.api.page import HEADERS
from ipquery.serve.api.problems import KINDS
from ipquery.serve.api.settings import ApiSettings
from tests.serve.http.connection import Connection, Server, get, post

PAGE = ("/", "/docs", "/page/page.css", "/page/page.js", "/page/icon.svg")
TYPES = {
    "/": "text/html; charset=utf-8",
    "/docs": "text/html; charset=utf-8",
    "/page/page.css": "text/css; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
    "/page/icon.svg": "image/svg+xml",
    "/openapi.json": "application/json",
}


@pytest.fixture
def connection() -> Connection:
    return Server().connect()


class _Page(HTMLParser):
    """What a page names, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")


@pytest.mark.parametrize("path", TYPES)
def test_a_document(connection: Connection, path: str) -> None:
    answer = connection.ask(get(path))
    assert answer.status == 200
    assert answer.body
    assert answer.headers["Content-Type"] == TYPES[path]
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["ETag"])
    connection.send(get(path, method="HEAD"))
    (head,) = connection.received(heads_only=True)
    assert head.headers == answer.headers
    same = connection.ask(get(path, f"If-None-Match: {answer.headers['ETag']}"))
    assert (same.status, same.body) == (304, b"")
    assert same.headers["ETag"] == answer.headers["ETag"]
    assert connection.ask(get(path, 'If-None-Match: "other"')).body == answer.body


@pytest.mark.parametrize("path", PAGE)
def test_browsers_are_told_what_a_page_may_do(connection: Connection, path: str) -> None:
    told = connection.ask(get(path)).headers
    assert told["Referrer-Policy"] == "no-referrer"
    policy = told["Content-Security-Policy"]
    assert policy == HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PAGE)
def test_the_page_can_be_switched_off(path: str) -> None:
    connection = Server(page=False).connect()
    assert connection.ask(get(path)).status == 404
    assert connection.ask(post(b"{}", target=path)).status == 404
    described = connection.ask(get("/openapi.json"))
    assert described.status == 200
    assert path not in described.json["paths"]


@pytest.mark.parametrize(
    "path", ["/page/", "/page", "/page/index.html", "/page/none.js", "/page/__init__.py", "/docs/"]
)
def test_nothing_else_is_sent(connection: Connection, path: str) -> None:
    assert connection.ask(get(path)).status == 404
    assert connection.ask(post(b"{}", target=path)).status == 404


@pytest.mark.parametrize("path", TYPES)
def test_nothing_is_taken(connection: Connection, path: str) -> None:
    answer = connection.ask(post(b"{}", target=path))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_scripts_of_other_pages_may_read_the_description_where_the_operator_says_so() -> None:
    connection = Server(api=ApiSettings(cors=("https://a.example",))).connect()
    told = connection.ask(get("/openapi.json", "Origin: https://a.example")).headers
    assert told["Access-Control-Allow-Origin"] == "https://a.example"
    assert "Origin" in told["Vary"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_needs_nothing_of_others_and_nothing_inline(
    connection: Connection, path: str
) -> None:
    page = _Page(connection.ask(get(path)).body.decode())
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert "style" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        # Relative, so that the page works behind a proxy's prefix.
        assert re.match(r"#|(\./|page/|docs$|openapi\.json$)", link), link
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif link != "./":
            assert connection.ask(get(f"/{link}")).status == 200


def test_the_reference_works_without_scripts_and_explains_every_problem(
    connection: Connection,
) -> None:
    page = _Page(connection.ask(get("/docs")).body.decode())
    assert "script" not in page.tags
    assert {f"problem-{name}" for name in KINDS} <= set(page.ids)
    for path in ("/v1/ip/1.2.3", "/v1/nothing", "/v1/ip/1.2.3.4?lang=xx"):
        reference, _, anchor = connection.ask(get(path)).json["type"].partition("#")
        assert reference == "/docs"
        assert anchor in page.ids
