"""Getting a file from a web server that does everything wrong that can be done wrong."""

import datetime
import logging
import random
import ssl
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ipquery.data.record import DataError
from ipquery.data.update.download import Downloaded, Partial, download, head, read_text
from ipquery.data.update.web import (
    Address,
    NotThere,
    QuotaReached,
    Unreachable,
    Validators,
    Web,
)
from tests.data.web_server import (
    Answer,
    Request,
    Server,
    file_answer,
    redirect,
    serving,
    text_answer,
    unused_port,
)

CONTENT = random.Random(1).randbytes(1000)
SECRET = "p4ssw0rd/+"
CREDENTIALS = {"Authorization": "Basic dTpwNHNzdzByZC8r"}


@attrs.define
class Time:
    """Clock and sleep without waiting."""

    seconds: float = 0.0
    slept: list[float] = attrs.field(factory=list)

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def web(server: Server, time: Time) -> Web:
    return Web(
        stall=10,
        context=server.context,
        clock=time.clock,
        sleep=time.sleep,
        random=lambda: 1.0,
    )


@pytest.fixture
def partial(tmp_path: Path) -> Partial:
    return Partial(tmp_path / "file")


def _address(server: Server, path: str = "file", **more: object) -> Address:
    return Address(f"{server.url}{path}", f"{server.url}{path.partition('?')[0]}", **more)  # type: ignore[arg-type] # as each test says


def _refused(web: Web, address: Address, partial: Partial) -> DataError:
    """The one line of a download that fails."""
    with pytest.raises(DataError) as caught:
        download(web, address, partial)
    line = str(caught.value)
    assert line.isprintable()
    assert line.startswith(address.shown)
    assert len(line) < 500
    return caught.value


def test_a_file(server: Server, web: Web, partial: Partial) -> None:
    server.answers["/file"] = file_answer(CONTENT, '"1"', "Sun, 29 Nov 2026 08:00:00 GMT")
    validators = Validators('"1"', "Sun, 29 Nov 2026 08:00:00 GMT")
    address = _address(server)
    assert download(web, address, partial) == Downloaded(validators, False)
    assert partial.path.read_bytes() == CONTENT
    assert download(web, address, partial, validators) is not None, "a part of it is asked for"
    partial.discard()
    assert download(web, address, partial, validators) is None
    assert head(web, address) == validators
    assert [asked.method for asked in server.asked] == ["GET", "GET", "GET", "HEAD"]


def test_progress_is_told(server: Server, web: Web, partial: Partial) -> None:
    seen: list[tuple[str, float]] = []
    server.answers["/file"] = file_answer(bytes(3 << 20))
    web = attrs.evolve(web, progress=lambda what, done: seen.append((what, done)))
    download(web, _address(server), partial)
    assert {what for what, _ in seen} == {f"getting {server.url}file"}
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert seen[-1][1] == 1


# Cut connections


def _cut_once(content: bytes, sent: int, then: Answer, **fields: str) -> Answer:
    """An answer that is cut, and another from then on."""
    left = [True]

    def answer(request: Request) -> None:
        if left and left.pop():
            request.send(200, content, fields, sent)
        else:
            then(request)

    return answer


@pytest.mark.parametrize("tenth", range(10))
def test_what_was_cut_goes_on_where_it_ended(
    server: Server, web: Web, partial: Partial, tenth: int
) -> None:
    whole = file_answer(CONTENT, '"1"')
    server.answers["/file"] = _cut_once(CONTENT, tenth * 100, whole, ETag='"1"')
    assert download(web, _address(server), partial) == Downloaded(Validators('"1"'), tenth > 0)
    assert partial.path.read_bytes() == CONTENT
    ranges = [asked.fields.get("Range") for asked in server.asked]
    assert ranges == [None, f"bytes={tenth}00-" if tenth else None]


@pytest.mark.parametrize("tenth", range(10))
def test_what_is_always_cut_ends_with_one_line(
    server: Server, web: Web, partial: Partial, time: Time, tenth: int
) -> None:
    server.answers["/file"] = lambda request: request.send(200, CONTENT, sent=tenth * 100)
    error = _refused(web, _address(server), partial)
    assert isinstance(error, Unreachable)
    assert "cut the connection; asked 5 times; is there a network?" in str(error)
    assert time.slept == [1, 2, 4, 8]


def test_a_chunk_that_is_cut(server: Server, web: Web, partial: Partial) -> None:
    def chunked(request: Request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"3e8\r\n" + CONTENT[:500])

    server.answers["/file"] = chunked
    assert "cut the connection" in str(_refused(web, _address(server), partial))


def test_another_process_goes_on_as_well(server: Server, web: Web, partial: Partial) -> None:
    server.answers["/file"] = _cut_once(CONTENT, 400, file_answer(CONTENT, '"1"'), ETag='"1"')
    with pytest.raises(Unreachable):
        download(attrs.evolve(web, attempts=1), _address(server), partial)
    assert partial.path.read_bytes() == CONTENT[:400]
    download(web, _address(server), Partial(partial.path))
    assert partial.path.read_bytes() == CONTENT
    assert server.asked[-1].fields["Range"] == "bytes=400-"
    assert server.asked[-1].fields["If-Range"] == '"1"'


def test_what_is_another_edition_meanwhile_begins_anew(
    server: Server, web: Web, partial: Partial
) -> None:
    newer = CONTENT[::-1]
    server.answers["/file"] = _cut_once(CONTENT, 400, file_answer(newer, '"2"'), ETag='"1"')
    assert download(web, _address(server), partial) == Downloaded(Validators('"2"'), False)
    assert partial.path.read_bytes() == newer


@pytest.mark.parametrize("fields", [{}, {"ETag": 'W/"1"'}])
def test_without_a_strong_validator_nothing_is_put_together(
    server: Server, web: Web, partial: Partial, fields: dict[str, str]
) -> None:
    server.answers["/file"] = _cut_once(CONTENT, 400, file_answer(CONTENT), **fields)
    assert download(web, _address(server), partial) == Downloaded(Validators(), False)
    assert [asked.fields.get("Range") for asked in server.asked] == [None, None]
    assert partial.path.read_bytes() == CONTENT


@pytest.mark.parametrize("span", ["bytes 0-599/1000", "bytes 401-999/1000", "nonsense", ""])
def test_another_part_than_was_asked_for_is_not_taken(
    server: Server, web: Web, partial: Partial, span: str
) -> None:
    def wrong(request: Request) -> None:
        if "Range" in request.headers:
            request.send(206, CONTENT[400:], {"Content-Range": span})
        else:
            request.send(200, CONTENT, {"ETag": '"1"'}, sent=400)

    server.answers["/file"] = wrong
    _refused(web, _address(server), partial)
    server.answers["/file"] = file_answer(CONTENT)
    download(web, _address(server), partial)
    assert partial.path.read_bytes() == CONTENT


def test_a_file_that_got_shorter_begins_anew(server: Server, web: Web, partial: Partial) -> None:
    short = file_answer(CONTENT[:300], '"1"')
    server.answers["/file"] = _cut_once(CONTENT, 400, short, ETag='"1"')
    assert download(web, _address(server), partial) == Downloaded(Validators('"1"'), False)
    assert partial.path.read_bytes() == CONTENT[:300]


def test_what_was_whole_when_its_process_was_killed_is_not_got_again(
    server: Server, web: Web, partial: Partial
) -> None:
    server.answers["/file"] = file_answer(CONTENT, '"1"')
    download(web, _address(server), partial)
    assert download(web, _address(server), partial) == Downloaded(Validators('"1"'), True)
    assert partial.path.read_bytes() == CONTENT
    assert server.asked[-1].fields["Range"] == "bytes=1000-"


def test_a_part_of_another_file_is_not_gone_on_with(
    server: Server, web: Web, partial: Partial
) -> None:
    server.answers["/file"] = server.answers["/other"] = file_answer(CONTENT, '"1"')
    download(web, _address(server, "other"), partial)
    download(web, _address(server), partial)
    assert "Range" not in server.asked[-1].fields


# Slow, and without end


def test_a_server_that_says_nothing_more(server: Server, web: Web, partial: Partial) -> None:
    web = attrs.evolve(web, stall=0.2, attempts=2)

    def stalled(request: Request) -> None:
        request.send(200, CONTENT, sent=400)
        request.wfile.flush()
        request.connection.recv(1)

    server.answers["/file"] = stalled
    error = _refused(web, _address(server), partial)
    assert "localhost sent nothing for 0.2 s; asked 2 times" in str(error)


def test_a_server_that_never_answers(server: Server, web: Web, partial: Partial) -> None:
    server.answers["/file"] = lambda request: request.connection.recv(1) and None
    error = _refused(attrs.evolve(web, stall=0.2, attempts=1), _address(server), partial)
    assert isinstance(error, Unreachable)
    assert "sent nothing for 0.2 s; asked 1 time;" in str(error)


def _endless(request: Request) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(bytes(1 << 16))


def test_a_file_without_end(server: Server, web: Web, partial: Partial) -> None:
    server.answers["/file"] = _endless
    error = _refused(attrs.evolve(web, most=1 << 20), _address(server), partial)
    assert "sends more than 1,048,576 bytes, which no database has" in str(error)
    assert not partial.path.exists()


def test_a_file_that_says_it_is_huge_is_not_begun(
    server: Server, web: Web, partial: Partial
) -> None:
    server.answers["/file"] = lambda request: request.send(200, b"", {"Content-Length": "9" * 15})
    assert "sends more than" in str(_refused(web, _address(server), partial))


def test_a_file_that_takes_for_ever(server: Server, web: Web, partial: Partial, time: Time) -> None:
    server.answers["/file"] = _endless

    def later() -> float:
        time.seconds += 1000
        return time.seconds

    error = _refused(attrs.evolve(web, clock=later), _address(server), partial)
    assert isinstance(error, Unreachable)
    assert "not all of it came within 3,600 s" in str(error)


# Redirects


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server; port and certificate are its own."""
    names = ("storage.example", "localhost")
    with serving(tmp_path_factory.mktemp("storage"), names=names) as server:
        yield server


@pytest.fixture
def both(server: Server, storage: Server, web: Web) -> Web:
    """Trusts both servers."""
    storage.answers.clear()
    storage.asked.clear()
    context = server.context
    context.load_verify_locations(str(storage.certificate))
    return attrs.evolve(web, context=context)


def test_another_host_is_not_told_the_credentials(
    server: Server, storage: Server, both: Web, partial: Partial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers["/file"] = redirect("/moved")
    server.answers["/moved"] = redirect(f"{storage.url}stored?signature=abc")
    storage.answers["/stored"] = redirect(f"{server.url}back")
    server.answers["/back"] = file_answer(CONTENT)
    address = _address(server, f"file?token={SECRET}", headers=CREDENTIALS, secrets=(SECRET,))
    download(both, address, partial)
    assert partial.path.read_bytes() == CONTENT
    (stored,) = storage.asked
    assert SECRET not in stored.path + str(stored.fields)
    assert "Authorization" not in stored.fields
    given = [asked.fields.get("Authorization") for asked in server.asked]
    assert given == [*CREDENTIALS.values(), *CREDENTIALS.values(), None]
    assert SECRET not in caplog.text
    assert "signature" not in caplog.text
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    "to",
    [
        "http://localhost/file",
        "//[",
        "https://localhost:99999/x",
        "ftp://localhost/x",
        "https://u:p@localhost/x",
        "",
    ],
)
def test_a_redirect_away_from_tls(server: Server, web: Web, partial: Partial, to: str) -> None:
    server.answers["/file"] = redirect(to) if to else text_answer(302, "", Location="")
    line = str(_refused(web, _address(server), partial))
    assert ("which isn't https://" if to else "leads in a circle") in line


def test_redirects_in_a_circle(server: Server, web: Web, partial: Partial) -> None:
    server.answers.update({"/file": redirect("/other"), "/other": redirect("/file")})
    assert "leads in a circle" in str(_refused(web, _address(server), partial))
    assert len(server.asked) == 2


def test_redirects_without_end(server: Server, web: Web, partial: Partial) -> None:
    for number in range(20):
        server.answers[f"/{number}"] = redirect(f"/{number + 1}")
    assert "more than 5 places" in str(_refused(web, _address(server, "0"), partial))
    assert len(server.asked) == 6


# Certificates and connections


@pytest.mark.parametrize(
    ("host", "names", "hours", "reason"),
    [
        ("localhost", [], -1, "certificate has expired"),
        ("127.0.0.1", ["localhost"], 1, "127.0.0.1"),
    ],
)
def test_a_certificate_that_is_not_good(
    tmp_path: Path, time: Time, partial: Partial, host: str, names: list[str],
    hours: float,
    reason: str,
) -> None:  # fmt: skip
    with serving(tmp_path, host, hours, names) as server:
        web = Web(context=server.context, clock=time.clock, sleep=time.sleep)
        line = str(_refused(web, _address(server), partial))
        assert f"the certificate of {host} isn't good: " in line
        assert reason in line
        assert "is this machine's clock right" in line
        assert server.asked == []
    assert time.slept == []


def test_an_authority_that_is_not_known(server: Server, web: Web, partial: Partial) -> None:
    web = attrs.evolve(web, context=ssl.create_default_context())
    line = str(_refused(web, _address(server), partial))
    assert "isn't good: self-signed certificate" in line
    assert "SSL_CERT_FILE" in line


def test_nobody_at_the_port(web: Web, partial: Partial, time: Time) -> None:
    url = f"https://localhost:{unused_port()}/file"
    error = _refused(web, Address(url, url), partial)
    assert isinstance(error, Unreachable)
    assert "can't connect to localhost: Connection refused; asked 5 times" in str(error)
    assert time.slept == [1, 2, 4, 8]


def test_a_name_that_nobody_has(web: Web, partial: Partial) -> None:
    url = "https://nobody.invalid/file"
    error = _refused(attrs.evolve(web, attempts=1), Address(url, url), partial)
    assert isinstance(error, Unreachable)
    assert "the name nobody.invalid isn't known here" in str(error)


def test_a_proxy_of_the_environment_is_used(
    server: Server, web: Web, partial: Partial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:word@127.0.0.1:{unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answers["/file"] = file_answer(CONTENT)
    line = str(_refused(attrs.evolve(web, attempts=1), _address(server), partial))
    assert "the proxy that HTTPS_PROXY names can't be used" in line
    monkeypatch.setenv("no_proxy", "localhost")
    assert download(web, _address(server), partial)


# Statuses


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451])
def test_what_the_caller_did_wrong_is_not_tried_again(
    server: Server, web: Web, partial: Partial, time: Time, status: int
) -> None:
    server.answers["/file"] = text_answer(status, f"no, and {SECRET}\nmore")
    error = _refused(web, _address(server, secrets=(SECRET,)), partial)
    assert f"answered {status} (no, and *** more)" in str(error)
    assert isinstance(error, NotThere) == (status in (404, 410))
    assert (len(server.asked), time.slept) == (1, [])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 522])
def test_what_may_pass_is_tried_again_with_growing_pauses(
    server: Server, web: Web, partial: Partial, time: Time, status: int
) -> None:
    server.answers["/file"] = text_answer(status, "<html>much</html>")
    error = _refused(attrs.evolve(web, attempts=4, random=lambda: 0.0), _address(server), partial)
    assert isinstance(error, Unreachable)
    assert f"answered {status}; asked 4 times" in str(error)
    assert time.slept == [0.5, 1, 2]


def test_pauses_end(server: Server, web: Web, partial: Partial, time: Time) -> None:
    server.answers["/file"] = text_answer(503, "")
    _refused(attrs.evolve(web, attempts=1000), _address(server), partial)
    assert max(time.slept) == 120
    assert time.seconds <= 3600


def _then(first: Answer, second: Answer) -> Answer:
    left = [first]
    return lambda request: (left.pop() if left else second)(request)


@pytest.mark.parametrize(
    ("after", "pause"),
    [
        ("7", 7),
        ("Sun, 29 Nov 2026 08:00:30 GMT", 30),
        # A server whose clock is another's: its own date counts, not ours.
        ("Sun, 29 Nov 2026 07:00:00 GMT", 1),
        ("nonsense", 1),
        ("-5", 1),
    ],
)
def test_a_server_that_says_when_is_asked_then(
    server: Server, web: Web, partial: Partial, time: Time, after: str, pause: float
) -> None:
    def busy(request: Request) -> None:
        request.send_response_only(429)
        for name, value in {
            "Date": "Sun, 29 Nov 2026 08:00:00 GMT",
            "Retry-After": after,
            "Content-Length": "0",
        }.items():
            request.send_header(name, value)
        request.end_headers()

    server.answers["/file"] = _then(busy, file_answer(CONTENT))
    assert download(web, _address(server), partial)
    assert time.slept == [pause]


def test_a_server_that_wants_to_be_left_alone_for_long_is(
    server: Server, web: Web, partial: Partial, time: Time
) -> None:
    server.answers["/file"] = text_answer(503, "", Retry_After="86400")
    line = str(_refused(web, _address(server), partial))
    assert "is to be left alone for 86,400 s; try again then" in line
    assert (len(server.asked), time.slept) == (1, [])


def test_a_quota_that_is_used_up_is_not_asked_for_again(
    server: Server, web: Web, partial: Partial, time: Time
) -> None:
    server.answers["/file"] = text_answer(429, "Daily GeoIP database download limit reached\n")
    error = _refused(web, _address(server, quota="download limit reached"), partial)
    assert isinstance(error, QuotaReached)
    assert "no more is to be had for now (429: Daily GeoIP database download limit" in str(error)
    assert (len(server.asked), time.slept) == (1, [])


def test_not_modified_though_nothing_was_known(server: Server, web: Web, partial: Partial) -> None:
    server.answers["/file"] = lambda request: request.send(304, b"")
    assert "answered 304" in str(_refused(web, _address(server), partial))


# Short texts


def test_a_short_text(server: Server, web: Web) -> None:
    server.answers["/file"] = text_answer(200, "abc  file\n")
    assert read_text(web, _address(server)) == "abc  file\n"


def test_a_text_that_is_none(server: Server, web: Web) -> None:
    server.answers["/long"] = _endless
    server.answers["/bytes"] = lambda request: request.send(200, b"\xff\xfe")
    with pytest.raises(DataError, match="sent more than a checksum takes"):
        read_text(web, _address(server, "long"))
    with pytest.raises(DataError, match="what it sent isn't a text"):
        read_text(web, _address(server, "bytes"))


def test_the_clock_is_a_utc_one() -> None:
    assert Web().now().tzinfo is datetime.UTC
