"""``/v1/snapshot``: the file that answers come from, for other nodes."""

from pathlib import Path
from typing import Any, BinaryIO, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IReactorTime
from twisted.web.iweb import IRequest
from zope.interface import implementer

from ipquery.data.snapshot import Snapshot
from ipquery.serve.api.negotiation import is_unchanged
from ipquery.serve.http.reply import Reply
from ipquery.serve.http.request import send

PATH = "/v1/snapshot"
MEDIA = "application/octet-stream"

# What one turn of the loop gives one of those who ask: to copy it takes 10 us, and a node with
# nothing else to do sends gigabytes a second.
_PIECE_BYTES = 64 * 1024

# For how long whoever asks may read nothing.
_STALLED_SECONDS = 30


def send_snapshot(
    request: IRequest, snapshot: Snapshot, none_match: str | None, time: IReactorTime
) -> bytes | Deferred[bytes]:
    """Answer with the file, piece by piece, no faster than it is read.

    Its identity is its ETag. A reload meanwhile changes nothing: it is the file that was asked
    for, to the end.

    :param none_match: the value of If-None-Match.
    """
    etag = f'"{snapshot.identity}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_unchanged(none_match, etag):
        return send(request, Reply(304, b"", headers, None))
    # A request has more than IRequest says.
    served: Any = request
    send(request, Reply(200, b"", headers, MEDIA.encode()))
    served.setHeader(b"Content-Length", b"%d" % snapshot.path.stat().st_size)
    if served.method == b"HEAD":
        return b""
    return Sending(request, snapshot.path, time).done


@implementer(IPullProducer)
class Sending:
    """A file on its way."""

    def __init__(self, request: IRequest, path: Path, time: IReactorTime) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self.stopProducing())
        """Fires when all of it is written, or never if the connection is gone before."""
        self._request = cast(Any, request)
        self._file: BinaryIO | None = path.open("rb")
        self._stalled = time.callLater(_STALLED_SECONDS, self._give_up)
        self._request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write another piece."""
        if self._file is None:
            return
        self._stalled.reset(_STALLED_SECONDS)
        piece = self._file.read(_PIECE_BYTES)
        if piece:
            self._request.write(piece)
            return
        self.stopProducing()
        self._request.unregisterProducer()
        self.done.callback(b"")

    def stopProducing(self) -> None:
        """The connection is gone."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._stalled.cancel()

    def _give_up(self) -> None:
        """Whoever asked doesn't read."""
        assert self._file is not None
        self._file.close()
        self._file = None
        transport = cast(Any, self._request.channel).transport
        transport.abortConnection()
