"""Elsewhere: the finished snapshot of another node, taken from there over HTTP."""

import shutil
import ssl
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

import attrs

from ipquery.data.record import DataError

_PATH = "/v1/snapshot"

# Between two pieces; the whole has the limit of a build.
_PIECE_SECONDS = 10

_CHUNK = 1 << 20


@attrs.frozen
class Elsewhere:
    """Another node: its address, and the file of whom to trust for ``https://``, without which it
    is whom the system trusts."""

    url: str
    ca_file: Path | None = None


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """What is served comes from the node that was named, and from nobody to whom that points."""

    def redirect_request(self, *_: object) -> None:
        """Don't."""


def take(
    elsewhere: Elsewhere, target: BinaryIO, seconds: float, most: int, known: str | None = None
) -> bool:
    """Write the snapshot that another node answers from into a file.

    :param seconds: that it may take.
    :param most: bytes that it may have.
    :param known: the identity of one that needn't be taken again.
    :returns: whether it is another one.
    :raises DataError: it can't be had; whether it is one is for whoever opens it to say.
    """
    url = elsewhere.url.rstrip("/") + _PATH
    deadline = time.monotonic() + seconds
    try:
        context = ssl.create_default_context(cafile=elsewhere.ca_file)
        opener = urllib.request.build_opener(
            _Unmoved(), urllib.request.HTTPSHandler(context=context)
        )
        headers = {} if known is None else {"If-None-Match": f'"{known}"'}
        # http or https, as the configuration is read.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with opener.open(request, timeout=_PIECE_SECONDS) as response:
            _receive(response, target, url, deadline, most)
        return True
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_MODIFIED and known is not None:
            return False
        hint = "; is `snapshot` under [api] set there?" if error.code == 404 else ""
        raise DataError(f"{url}: answered with {error.code}{hint}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{url}: can't take the snapshot: {reason}") from None


def _receive(
    response: HTTPResponse, target: BinaryIO, url: str, deadline: float, most: int
) -> None:
    size = int(response.headers.get("Content-Length", "-1"))
    if not 0 < size <= most:
        raise DataError(f"{url}: no snapshot of 1 to {most:,} bytes")
    if size > shutil.disk_usage(target.name).free:
        raise DataError(f"{url}: {size:,} bytes are more than the disk has room for")
    left = size
    while left:
        piece = response.read1(min(left, _CHUNK))
        if not piece:
            raise DataError(f"{url}: cut off with {left:,} bytes left of {size:,}")
        if time.monotonic() > deadline:
            raise DataError(f"{url}: not all there in time (`time_limit` under [build])")
        target.write(piece)
        left -= len(piece)
