"""Gets files from web servers, whatever these do. By urllib3: ``ipquery[update]``.

A download goes on where it was cut, also in another process. Credentials go to the host they
are for and to no other; where queries may hold secrets or signatures, they aren't shown.
"""

import contextlib
import datetime
import email.utils
import json
import logging
import re
import ssl
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import attrs
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import make_headers

from ipquery.data.record import DataError
from ipquery.data.update.secrets import hide, without_query
from ipquery.data.update.web import (
    Address,
    NotThere,
    QuotaReached,
    Unreachable,
    Validators,
    Web,
)

_T = TypeVar("_T")

_FIELDS = {
    "User-Agent": "ipquery",
    # What is stored is what was sent: archives are told by their content.
    "Accept-Encoding": "identity",
}
_MOST_REDIRECTS = 5
_CHUNK = 1 << 18
_CONNECT_SECONDS = 20
_TEXT_MOST = 1 << 16
_SHOWN = 200
_AGAIN = (408, 429, *range(500, 600))
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class _Passing(Exception):
    """What may be over soon. ``after`` is when, in seconds, if the server told."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@attrs.frozen
class Partial:
    """A download that isn't whole yet, and a note of what it is the beginning of."""

    path: Path

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def begun(self, shown: str) -> tuple[int, Validators]:
        """How many bytes of this URL are there, and of which edition; 0 if unknown."""
        try:
            note = json.loads(self.note.read_text("utf-8"))
            validators = Validators(note["etag"], note["last_modified"])
            size = self.path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, Validators()
        usable = note["url"] == shown and validators.for_range is not None
        return (size, validators) if usable else (0, Validators())

    def begin(self, shown: str, validators: Validators) -> None:
        """Empty it. The note comes last: content without one isn't gone on with."""
        self.note.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps({"url": shown, **attrs.asdict(validators)}), "utf-8")


@attrs.frozen
class Downloaded:
    """A whole file. ``pieces`` says that it was put together out of several answers."""

    validators: Validators
    pieces: bool


def download(
    web: Web, address: Address, partial: Partial, known: Validators = Validators()
) -> Downloaded | None:
    """Get a file.

    :param partial: where it is put, and what there is of it already.
    :param known: the edition that isn't wanted again.
    :returns: ``None`` if the server still has the known one.
    :raises DataError: it can't be had; Unreachable, NotThere or QuotaReached if it is that.
    """
    deadline = web.clock() + web.seconds
    return _repeated(
        web, address, deadline, lambda: _download_once(web, address, partial, known, deadline)
    )


def head(web: Web, address: Address) -> Validators:
    """Which edition of a file a server has.

    :raises DataError: as for :func:`download`.
    """

    def once() -> Validators:
        with _open(web, address, "HEAD", {}) as response:
            _check_status(response, address)
            return _validators_of(response)

    return _repeated(web, address, web.clock() + web.seconds, once)


def read_text(web: Web, address: Address) -> str:
    """A short text: a checksum, or JSON.

    :raises DataError: as for :func:`download`, or it is long or no text.
    """

    def once() -> str:
        with _open(web, address, "GET", {}) as response:
            _check_status(response, address)
            content = b""
            for chunk in _chunks(web, response, address, web.clock() + web.seconds):
                content += chunk
                if len(content) > _TEXT_MOST:
                    raise DataError(f"{address.shown}: sent more than a checksum takes")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise DataError(f"{address.shown}: what it sent isn't a text") from None

    return _repeated(web, address, web.clock() + web.seconds, once)


def _repeated(web: Web, address: Address, deadline: float, once: Callable[[], _T]) -> _T:
    """Do something until it succeeds, fails for good, or there was enough of it."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return once()
        except _Passing as passing:
            tried = f"{address.shown}: {passing}; asked {attempt} time{'s' if attempt > 1 else ''}"
            pause = min(web.longest_pause, web.pause * 2 ** (attempt - 1))
            # Between half and all of it: nodes that failed together don't come back together.
            pause *= (1 + web.random()) / 2
            if passing.after is not None and passing.after > web.longest_pause:
                raise Unreachable(
                    f"{tried}, and is to be left alone for {passing.after:,.0f} s; try again then"
                ) from None
            pause = max(pause, passing.after or 0)
            if attempt >= web.attempts or web.clock() + pause > deadline:
                raise Unreachable(
                    f"{tried}; is there a network? Try again, or name a mirror with --mirror"
                ) from None
        web.sleep(pause)


def _download_once(
    web: Web, address: Address, partial: Partial, known: Validators, deadline: float
) -> Downloaded | None:
    size, begun = partial.begun(address.shown)
    fields = known.conditions
    if size and begun.for_range is not None:
        fields = {"Range": f"bytes={size}-", "If-Range": begun.for_range}
    with _open(web, address, "GET", fields) as response:
        if response.status == 304 and known.conditions and not size:
            return None
        if response.status == 416 and size:
            if response.headers.get("Content-Range") == f"bytes */{size}":
                # All of it is here: a process that got it was killed before it made use of it.
                return Downloaded(begun, True)
            partial.discard()
            raise _Passing("has less of the file than before")
        _check_status(response, address)
        whole: int | None
        if response.status == 206:
            whole = _check_range(response, size, partial)
        else:
            size, begun = 0, _validators_of(response)
            partial.begin(address.shown, begun)
            whole = response.length_remaining
        _receive(web, response, address, partial, (size, whole), deadline)
    return Downloaded(begun, size > 0)


def _check_range(response: urllib3.BaseHTTPResponse, size: int, partial: Partial) -> int:
    """That the rest is the one that was asked for.

    :returns: the size of all of the file.
    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != size or not size:
        partial.discard()
        raise _Passing("sent another part of the file than was asked for")
    return int(match[2])


def _receive(
    web: Web,
    response: urllib3.BaseHTTPResponse,
    address: Address,
    partial: Partial,
    sizes: tuple[int, int | None],
    deadline: float,
) -> None:
    """Append what comes.

    :param sizes: what there is of the file, and all of it if that is known.
    """
    size, whole = sizes
    try:
        if whole is not None:
            _check_size(web, address, whole)
        with partial.path.open("ab") as out:
            for chunk in _chunks(web, response, address, deadline):
                size += len(chunk)
                _check_size(web, address, size)
                out.write(chunk)
                if whole:
                    web.progress(f"getting {address.shown}", min(size / whole, 1))
    except DataError:
        # More of the same isn't wanted next time.
        partial.discard()
        raise
    if whole is not None and size != whole:
        if size > whole:
            partial.discard()
        raise _Passing(f"ended after {size:,} of {whole:,} bytes")


def _check_size(web: Web, address: Address, size: int) -> None:
    if size > web.most:
        raise DataError(
            f"{address.shown}: sends more than {web.most:,} bytes, which no database has; is it "
            "the right address?"
        )


def _chunks(
    web: Web, response: urllib3.BaseHTTPResponse, address: Address, deadline: float
) -> Iterator[bytes]:
    """The body as it comes, undecoded."""
    while True:
        chunk = response.read1(_CHUNK, decode_content=False)
        if not chunk:
            return
        yield chunk
        if web.clock() > deadline:
            raise Unreachable(
                f"{address.shown}: not all of it came within {web.seconds:,.0f} s; the next try "
                "goes on where this ended"
            )


def _check_status(response: urllib3.BaseHTTPResponse, address: Address) -> None:
    """That an answer is one of success."""
    status = response.status
    if status in (200, 206):
        return
    said = _said(response, address)
    if address.quota and re.search(address.quota, said):
        raise QuotaReached(
            f"{address.shown}: no more is to be had for now ({status}: {said}); what is here stays "
            "in use, try again tomorrow"
        )
    told = f"answered {status}" + (f" ({said})" if said else "")
    if status in _AGAIN:
        raise _Passing(told, _retry_after(response))
    if status in (404, 410):
        raise NotThere(f"{address.shown}: {told}: there is no such file; is the name right?")
    if status in (401, 403):
        raise DataError(f"{address.shown}: {told}: are the credentials right, and allow this?")
    raise DataError(f"{address.shown}: {told}, which is no file; is the address right?")


def _said(response: urllib3.BaseHTTPResponse, address: Address) -> str:
    """What an answer that isn't a file says, as far as it fits into a line."""
    try:
        content = response.read1(_SHOWN * 4, decode_content=False)
    except HTTPError:
        return ""
    return said(content, address)


def said(content: bytes, address: Address) -> str:
    """What a short text says in one line; nothing if it is a web page or no text."""
    text = hide(" ".join(content.decode(errors="replace").split()), address.secrets)
    return "" if text.startswith("<") or not text.isprintable() else text[:_SHOWN]


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); ``None`` if it says neither."""
    given = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    try:
        date = email.utils.parsedate_to_datetime(given)
        # By the server's own clock, where it tells it: ours may be wrong.
        server = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
        return max((_aware(date) - _aware(server)).total_seconds(), 0)
    except ValueError:
        return None


def _aware(date: datetime.datetime) -> datetime.datetime:
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)


def _validators_of(response: urllib3.BaseHTTPResponse) -> Validators:
    return Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))


@contextlib.contextmanager
def _open(
    web: Web, address: Address, method: str, fields: Mapping[str, str]
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Ask, and follow where one is sent to: over TLS only, and not in circles."""
    url, credentials = address.url, address.headers
    visited = {url}
    with contextlib.ExitStack() as stack:
        while True:
            pool = stack.enter_context(_pool(web, url))
            with _passing(web, url, address):
                response = pool.request(
                    method,
                    url,
                    headers={**_FIELDS, **fields, **credentials},
                    preload_content=False,
                    retries=False,
                    redirect=False,
                    timeout=urllib3.Timeout(
                        connect=min(web.stall, _CONNECT_SECONDS), read=web.stall
                    ),
                )
            stack.callback(response.close)
            to = response.get_redirect_location()
            if to is False:
                # What goes wrong while it is read is told by the same words.
                with _passing(web, url, address):
                    yield response
                return
            target = _redirected(url, to or "", address)
            if target in visited or len(visited) > _MOST_REDIRECTS:
                raise DataError(
                    f"{address.shown}: leads in a circle, or to more than {_MOST_REDIRECTS} places "
                    "one after the other; is the address right?"
                )
            visited.add(target)
            if _origin(target) != _origin(url):
                # Once given away they stay away, even if the way leads back.
                credentials = {}
            url = target


def _redirected(url: str, to: str, address: Address) -> str:
    """Where a redirect leads.

    :raises DataError: nowhere, or to where everybody could change what comes.
    """
    try:
        target = urljoin(url, to)
        parts = urlsplit(target)
        # A port that is none raises, too.
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
        usable = usable and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        shown = hide(without_query(to), address.secrets)[:_SHOWN]
        raise DataError(
            f"{address.shown}: leads to {shown!a}, which isn't https://; what comes from "
            "there could be anybody's"
        )
    return target


def _origin(url: str) -> tuple[str | None, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or 443


def _pool(web: Web, url: str) -> urllib3.PoolManager:
    """Connections to a host, by the proxy that the environment names for it."""
    # It writes whole URLs, and so tokens, into its debug log.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    context = web.context or ssl.create_default_context()
    proxy = urllib.request.getproxies().get("https")
    host = urlsplit(url).hostname or ""
    if proxy is None or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(ssl_context=context)
    parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    login = f"{parts.username}:{parts.password or ''}" if parts.username else None
    return urllib3.ProxyManager(
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        proxy_headers=make_headers(proxy_basic_auth=login) if login else None,
        ssl_context=context,
    )


@contextlib.contextmanager
def _passing(web: Web, url: str, address: Address) -> Iterator[None]:
    """Tell what goes wrong on the way in our words: urllib3's hold the URL."""
    host = urlsplit(url).hostname
    try:
        yield
    except LocationValueError:
        raise DataError(f"{address.shown}: leads to what isn't a URL") from None
    except SSLError as error:
        raise _untrusted(error, host, address) from None
    except NameResolutionError:
        raise _Passing(f"the name {host} isn't known here") from None
    except ProxyError:
        raise _Passing("the proxy that HTTPS_PROXY names can't be used") from None
    except NewConnectionError as error:
        reason = getattr(error.__cause__, "strerror", None) or "no connection"
        raise _Passing(f"can't connect to {host}: {reason}") from None
    except (ConnectTimeoutError, ReadTimeoutError):
        raise _Passing(f"{host} sent nothing for {web.stall:g} s") from None
    except HTTPError:
        raise _Passing(f"{host} cut the connection") from None


def _untrusted(error: SSLError, host: str | None, address: Address) -> Exception:
    """What a failed handshake means."""
    cause = next((one for one in error.args if isinstance(one, ssl.SSLError)), None)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return _Passing(f"{host} broke off the TLS connection")
    return DataError(
        f"{address.shown}: the certificate of {host} isn't good: {cause.verify_message}; is this "
        "machine's clock right, and does it know the authority (SSL_CERT_FILE)?"
    )
