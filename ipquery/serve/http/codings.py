"""Content codings (RFC 9110 section 8.4.1): gzip, and zstd where it is installed.

Bodies are decoded and encoded in portions, and never more than asked for comes out of one:
a gzip body of 1 KB can hold 1 MB, a zstd body of 1 KB 100 MB.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from ipquery.serve.http.refused import Refused

try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError:  # the extra "zstd" isn't installed
    zstd = None  # type: ignore[assignment] # there is no module then

# zlib: a window of 2**15 bytes (RFC 1952 section 8), and 16 for gzip's head and tail.
_GZIP_BITS = 16 + 15
# RFC 9659 section 3: the largest window that Content-Encoding zstd may need, 8 MB.
_ZSTD_WINDOW_LOG = 23

# The fastest levels: measured on whole objects, gzip 1 takes 3 us for each and makes it a
# twentieth; 6 takes twice as long for a fifth less.
_LEVEL = 1

# What comes out of a decoder at a time: a batch of that many bytes is a few portions.
PORTION_BYTES = 1 << 15

# zlib's own account (zconf.h): 256 KB to compress, 44 KB to decompress. With zstd 1.3 MB at
# level 1 (measured), and a window.
CODING_BYTES = (2 << 20) + (1 << _ZSTD_WINDOW_LOG)


class Decoder(Protocol):
    """Decodes one body."""

    @property
    def has_more(self) -> bool:
        """Whether :meth:`read` has something to do."""

    def feed(self, data: bytes) -> None:
        """A piece as it was sent. Only if there is no more to read."""

    def read(self) -> bytes:
        """The next piece decoded, of :data:`PORTION_BYTES` at most, perhaps empty.

        :raises Refused: it isn't in this coding, or is larger than it may be.
        """

    def finish(self) -> None:
        """Nothing more comes.

        :raises Refused: the body is cut short.
        """


class Identity:
    """A body without a coding."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def has_more(self) -> bool:
        """See :class:`Decoder`."""
        return bool(self._data)

    def feed(self, data: bytes) -> None:
        """See :class:`Decoder`."""
        self._data = data

    def read(self) -> bytes:
        """See :class:`Decoder`; as it was fed."""
        data, self._data = self._data, b""
        return data

    def finish(self) -> None:
        """Whether it is whole the framing knows."""


class Inflater:
    """Decodes gzip or zstd: several members, or frames, are one body (RFC 1952 section 2.2,
    RFC 8878 section 3)."""

    def __init__(self, coding: str, most: int) -> None:
        """
        :param coding: ``gzip`` or ``zstd``.
        :param most: bytes that may come out.
        """
        self._coding = coding
        self._make = _gunzip if coding == "gzip" else _unzstd
        self._errors: tuple[type[Exception], ...] = (zlib.error, EOFError)
        if zstd is not None:
            self._errors = (*self._errors, zstd.ZstdError)
        self._inflate: Any = self._make()
        self._left = most
        self._data = b""
        self._is_full = False
        self._begun = False

    @property
    def has_more(self) -> bool:
        """See :class:`Decoder`."""
        return bool(self._data) or self._is_full

    def feed(self, data: bytes) -> None:
        """See :class:`Decoder`."""
        self._data = data

    def read(self) -> bytes:
        """See :class:`Decoder`."""
        if self._inflate.eof:
            self._inflate = self._make()
        try:
            out: bytes = self._inflate.decompress(self._data, PORTION_BYTES)
        except self._errors:
            raise Refused(400, f"the body is not {self._coding}") from None
        self._begun = True
        inflate = self._inflate
        if inflate.eof:
            self._data, self._is_full = inflate.unused_data, False
        else:
            # zstd keeps what it hasn't used itself.
            self._data = getattr(inflate, "unconsumed_tail", b"")
            self._is_full = len(out) == PORTION_BYTES or not getattr(inflate, "needs_input", True)
        self._left -= len(out)
        if self._left < 0:
            raise Refused(413)
        return out

    def finish(self) -> None:
        """See :class:`Decoder`."""
        if not (self._begun and self._inflate.eof):
            raise Refused(400, f"the {self._coding} body is cut short")


def _gunzip() -> Any:
    return zlib.decompressobj(_GZIP_BITS)


def _unzstd() -> Any:
    return zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    )


def supported() -> tuple[str, ...]:
    """The codings there are, the better one first."""
    return ("gzip",) if zstd is None else ("zstd", "gzip")


def make_decoder(content_encoding: bytes, most: int) -> Decoder | None:
    """What decodes a body, ``None`` if nothing here does.

    :param content_encoding: the value of the header field, empty without one.
    :param most: bytes that may come out.
    """
    coding = content_encoding.decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return Identity()
    # RFC 9110 section 8.4.1.3: x-gzip is to be taken for gzip.
    coding = "gzip" if coding == "x-gzip" else coding
    return Inflater(coding, most) if coding in supported() else None


class Encoder:
    """Encodes one body."""

    def __init__(self, coding: str) -> None:
        """
        :param coding: one of :func:`supported`.
        """
        self.coding = coding
        self._pending: Callable[[], bytes]
        self._rest: Callable[[], bytes]
        if coding == "zstd":
            deflate: Any = zstd.ZstdCompressor(_LEVEL)
            self._pending = lambda: deflate.flush(deflate.FLUSH_BLOCK)
            self._rest = lambda: deflate.flush(deflate.FLUSH_FRAME)
        else:
            deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_BITS)
            self._pending = lambda: deflate.flush(zlib.Z_SYNC_FLUSH)
            self._rest = deflate.flush
        self.encode: Callable[[bytes], bytes] = deflate.compress
        """A piece encoded, perhaps empty: some may be kept back."""

    def flush(self) -> bytes:
        """What was kept back; more may follow."""
        return self._pending()

    def finish(self) -> bytes:
        """What was kept back, and the end."""
        return self._rest()


def accepted_coding(accept_encoding: bytes) -> str | None:
    """The coding to answer in (RFC 9110 section 12.5.3), ``None`` for none.

    :param accept_encoding: the value of the header field, empty without one.
    """
    weights: dict[str, float] = {}
    for item in accept_encoding.decode("latin-1").lower().split(","):
        name, _, parameters = item.partition(";")
        weights[name.strip()] = _weight(parameters)
    others = weights.get("*", 0.0)
    weighed = [(weights.get(coding, others), coding) for coding in supported()]
    # The first of those with the same weight.
    weight, best = max(weighed, key=lambda one: one[0])
    plain = weights.get("identity", 0.0)
    return best if weight > 0 and weight >= plain else None


def _weight(parameters: str) -> float:
    """RFC 9110 section 12.4.2."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
