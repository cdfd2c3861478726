"""Gets the newest edition of a recipe's file from a web server, if it isn't there already."""

import datetime
import email.utils
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
from urllib3.util import make_headers

from ipquery.data.formats.archive import kind_of
from ipquery.data.record import DataError
from ipquery.data.update.download import Partial, download, head, read_text, said
from ipquery.data.update.kept import Kept
from ipquery.data.update.recipe import Basic, Checksum, Recipe, WebFile
from ipquery.data.update.secrets import secret, without_query
from ipquery.data.update.web import (
    Address,
    NotThere,
    QuotaReached,
    Unreachable,
    Validators,
    Web,
)

_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_HEAD_LENGTH = 800
_ARCHIVES = (".gz", ".zip", ".bz2", ".xz")


@attrs.frozen
class Told:
    """What a publisher says of a file, apart from the file: its checksum and date."""

    checksum: str | None = None
    date: datetime.date | None = None


@attrs.frozen
class Got:
    """A file that was downloaded, and what is to be noted of it once it is found good.

    ``address`` is where it is from. ``pieces`` says that it was put together out of several
    answers: if it isn't good, a whole one may be.
    """

    path: Path
    address: Address
    told: Told
    kept: Kept
    pieces: bool


def get(
    file: WebFile,
    recipe: Recipe,
    kept: Kept | None,
    path: Path,
    web: Web,
    say: Callable[[str], None],
) -> Got | None:
    """Download a file.

    :param kept: what was noted of the one in place, if that is still so.
    :param path: where to, and where what there is of it already is.
    :returns: ``None`` if the one in place is the newest.
    :raises DataError: it isn't to be had.
    """
    server = _server(file, recipe, web)
    if not file.is_monthly:
        return _get(file, server, None, kept, path, web, say)
    months = [
        month
        for month in _months(web.now())
        if kept is None or kept.edition is None or month >= kept.edition
    ]
    if not months and kept is not None:
        say(f"{recipe.name}: what is here is of {kept.edition}; is this machine's clock right?")
        return None
    for month in months[:-1]:
        try:
            return _get(file, server, month, kept, path, web, say)
        except NotThere:
            say(f"{recipe.name}: that of {month} isn't there yet")
    return _get(file, server, months[-1], kept, path, web, say)


def _months(now: datetime.datetime) -> Iterator[str]:
    """This month and the last, as 2026-11."""
    first = now.date().replace(day=1)
    for day in (first, first - datetime.timedelta(days=1)):
        yield f"{day:%Y-%m}"


def _get(
    file: WebFile,
    server: "_Server",
    month: str | None,
    kept: Kept | None,
    path: Path,
    web: Web,
    say: Callable[[str], None],
) -> Got | None:
    known = Validators()
    if kept is not None and kept.edition == month:
        known = Validators(kept.etag, kept.last_modified)
    if file.asks_head and known.conditions:
        newest = _asked_head(web, server.address(_filled(file.path, month)))
        if newest is not None and _is_same(newest, known):
            return None
    told = _told(file.checksum, server, web) if file.checksum else Told(file.sha256)
    if kept is not None and told.checksum is not None and told.checksum == kept.checksum:
        return None
    address = server.address(_filled(file.path, month, told.date))
    say(f"asking {server.host} for {file.download_name}")
    is_known_to_differ = file.asks_head or told.checksum is not None
    found = download(web, address, Partial(path), Validators() if is_known_to_differ else known)
    if found is None:
        return None
    note = Kept(
        sha256="",
        etag=found.validators.etag,
        last_modified=found.validators.last_modified,
        checksum=told.checksum,
        edition=month,
        date=_date(month, told.date, found.validators.last_modified),
    )
    return Got(path, address, told, note, found.pieces)


def _asked_head(web: Web, address: Address) -> Validators | None:
    """What HEAD tells; ``None`` where it isn't answered: GET is, then, or says why not."""
    try:
        return head(web, address)
    except (NotThere, QuotaReached, Unreachable):
        raise
    except DataError:
        return None


def _is_same(one: Validators, other: Validators) -> bool:
    if one.etag is not None and other.etag is not None:
        return one.etag == other.etag
    return one.last_modified is not None and one.last_modified == other.last_modified


def _filled(path: str, month: str | None, date: datetime.date | None = None) -> str:
    return path.format(month=month, date=f"{date:%Y%m%d}" if date else "")


def _date(
    month: str | None, told: datetime.date | None, last_modified: str | None
) -> datetime.date | None:
    if month is not None:
        return datetime.date.fromisoformat(f"{month}-01")
    if told is not None or last_modified is None:
        return told
    try:
        return email.utils.parsedate_to_datetime(last_modified).date()
    except ValueError:
        return None


def _told(checksum: Checksum, server: "_Server", web: Web) -> Told:
    """Ask for a checksum.

    :raises DataError: it isn't to be had, or isn't one.
    """
    address = server.address(checksum.path)
    text = read_text(web, address)
    try:
        if not checksum.keys:
            found, date = text.split()[0], None
        else:
            document = json.loads(text)
            found = _at(document, checksum.keys)
            date = _at(document, checksum.date_keys) if checksum.date_keys else None
        digest = str(found).lower()
        if _HEX.fullmatch(digest) is None:
            raise ValueError
        return Told(digest, datetime.date.fromisoformat(date) if date is not None else None)
    except (ValueError, LookupError, TypeError):
        shown = said(text.encode()[:_HEAD_LENGTH], address)
        raise DataError(
            f"{address.shown}: sent no checksum"
            + (f" but {shown!r}" if shown else "")
            + "; what is here stays in use"
        ) from None


def _at(document: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        document = document[key]
    return document


def check_head(file: WebFile, got: Got) -> None:
    """That what was sent isn't a page or a message in place of the file.

    :raises DataError: it is.
    """
    with got.path.open("rb") as opened:
        content = opened.read(_HEAD_LENGTH)
    shown = got.address.shown
    text = said(content, got.address)
    if file.quota and re.search(file.quota, text):
        raise QuotaReached(
            f"{shown}: no more is to be had for now ({text}); what is here stays in use, try again "
            "tomorrow"
        )
    if not content:
        raise DataError(f"{shown}: sent an empty file; what is here stays in use")
    if content.lstrip()[:1] == b"<":
        raise DataError(f"{shown}: sent a web page in place of the file; is the address right?")
    if file.download_name.lower().endswith(_ARCHIVES) and kind_of(got.path) is None:
        what = f"{text!r}" if text else "something else"
        raise DataError(
            f"{shown}: sent {what}, where an archive was due; what is here stays in use"
        )


@attrs.frozen
class _Server:
    """Where a recipe's files are, and how to be let in."""

    base: str
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)
    query: str = attrs.field(default="", repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    quota: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.base).hostname or ""

    def address(self, path: str) -> Address:
        url = self.base + path
        sign = "&" if "?" in url else "?"
        return Address(
            f"{url}{sign}{self.query}" if self.query else url,
            without_query(url),
            self.headers,
            self.secrets,
            self.quota,
        )


def _server(file: WebFile, recipe: Recipe, web: Web) -> _Server:
    """:raises DataError: a secret is missing, or a mirror can't be one."""
    mirror = _mirror(recipe, web)
    base = mirror or file.base
    wanted = file.credentials
    if wanted is None:
        return _Server(base, quota=file.quota)
    names = (wanted.user, wanted.password) if isinstance(wanted, Basic) else (wanted.secret,)
    values = [secret(name, web.environ) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if missing and mirror is not None:
        # Companies' own may ask for nothing.
        return _Server(base, quota=file.quota)
    if missing:
        raise DataError(
            f"{recipe.name}: its publisher wants to know who asks; set {' and '.join(missing)} in "
            "the environment, or each with _FILE behind it to a file that holds it"
        )
    given = [value for value in values if value is not None]
    hidden = (given[-1], quote(given[-1], safe=""))
    if isinstance(wanted, Basic):
        headers = make_headers(basic_auth=":".join(given))
        return _Server(base, dict(headers), "", hidden, file.quota)
    query = f"{wanted.parameter}={hidden[1]}"
    return _Server(base, {}, query, hidden, file.quota)


def _mirror(recipe: Recipe, web: Web) -> str | None:
    """What takes the place of a recipe's server: by its name, or by what that begins with."""
    for name in (recipe.name, recipe.name.partition("-")[0]):
        variable = f"IPQUERY_MIRROR_{re.sub('[^A-Z0-9]', '_', name.upper())}"
        url = web.mirrors.get(name) or web.environ.get(variable)
        if not url:
            continue
        if not _is_base(url):
            raise DataError(
                f"{without_query(url).rpartition('@')[2]}: not a mirror; it is https://HOST/ or "
                "https://HOST/FOLDER/"
            )
        return url if url.endswith("/") else f"{url}/"
    return None


def _is_base(url: str) -> bool:
    """Whether paths can be put behind a URL."""
    try:
        parts = urlsplit(url)
        has_host = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return has_host and not parts.query and not parts.fragment and "@" not in parts.netloc


def discard(got: Got) -> None:
    """Remove a download, so that it isn't gone on with."""
    Partial(got.path).discard()
