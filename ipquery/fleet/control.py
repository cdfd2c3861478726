"""What supervisor and workers say to each other: one JSON object a line, over pipes."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
from cattrs import BaseValidationError, Converter, transform_error

from ipquery.net.tls import TlsSettings
from ipquery.serve.settings import Settings

READ_FROM, WRITE_TO, OUTPUT, FIRST_SOCKET = 3, 4, 5, 6
"""Descriptors that a worker is started with: the pipes, the daemon's standard output if the
access log goes there, and the worker's sockets."""

BEAT_SECONDS = 1
"""How often a worker says that its reactor turns."""

# To the worker


@attrs.frozen
class Start:
    """The first message: everything a worker needs.

    ``descriptors`` are of the sockets to listen on, ``output`` that of the daemon's
    standard output, where the worker has it. The snapshot has been verified by the
    supervisor's build, so the worker only maps it.
    """

    slot: int
    descriptors: list[int]
    output: int | None
    snapshot: str
    settings: Settings
    secure: list[int] = attrs.field(factory=list)
    """Those of the descriptors whose connections begin with a TLS handshake."""
    tls: TlsSettings | None = None
    ticket_key: str | None = attrs.field(default=None, repr=False)
    """See :class:`TicketKey`; without it the worker makes up one that no other has."""


@attrs.frozen
class Prepare:
    """Map this snapshot, try these certificates, but go on with the current ones.

    ``number`` tells one such order from the next: an answer that comes late isn't
    taken for that to a later order.
    """

    number: int
    snapshot: str
    tls: TlsSettings | None = None


@attrs.frozen
class Switch:
    """Answer from, and show, what was prepared by that order from now on."""

    number: int


@attrs.frozen
class Forget:
    """The prepared snapshot isn't wanted after all."""


@attrs.frozen
class Drain:
    """Accept no more, answer what was asked, and exit."""


@attrs.frozen
class Reopen:
    """The access log was rotated."""


@attrs.frozen
class TicketKey:
    """Encrypt TLS session tickets with this key, in hexadecimal digits, as all workers do."""

    key: str = attrs.field(repr=False)


# To the supervisor


@attrs.frozen
class Ready:
    """The worker accepts connections."""


@attrs.frozen
class Failed:
    """The worker can't start, or can't go on."""

    reason: str


@attrs.frozen
class Prepared:
    """The snapshot of that order is mapped."""

    number: int


@attrs.frozen
class NotPrepared:
    """The snapshot of that order can't be mapped."""

    number: int
    reason: str


@attrs.frozen
class Switched:
    """The worker answers from the snapshot of that order."""

    number: int


@attrs.frozen
class Beat:
    """The worker's reactor turns.

    ``accepting`` is false while it can't accept connections for want of descriptors
    or memory.
    """

    accepting: bool = True


@attrs.frozen
class Log:
    """A line for the log."""

    level: str
    text: str


_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Start, Prepare, Switch, Forget, Drain, Reopen, TicketKey,
        Ready, Failed, Prepared, NotPrepared, Switched, Beat, Log,
    )
}  # fmt: skip


def _exactly(kind: type, value: object, _: object) -> object:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


# After an upgrade, a worker may be of another version than its supervisor. A message with
# fields that the reader doesn't know is refused, so that neither guesses what the other means.
_converter = Converter(forbid_extra_keys=True)
for _kind in (int, bool, str):
    # cattrs alone would convert: "1" would pass for 1.
    _converter.register_structure_hook(_kind, partial(_exactly, _kind))


def encode(message: Any) -> bytes:
    """A message as a line, with its end."""
    content = {"is": type(message).__name__, **_converter.unstructure(message)}
    return json.dumps(content).encode() + b"\n"


class MessageError(Exception):
    """A line that is no message: who wrote it is of another version of ipquery."""


def decode(line: bytes) -> Any:
    """The message of a line.

    :raises MessageError: it is none.
    """
    try:
        content = json.loads(line)
    except ValueError:
        raise MessageError("not JSON") from None
    if not isinstance(content, dict):
        raise MessageError("not an object")
    name = content.pop("is", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MessageError(f"no such message: {name}")
    try:
        return _converter.structure(content, kind)
    except BaseValidationError as error:
        raise MessageError("; ".join(transform_error(error, kind.__name__))) from None


class Messages:
    """Takes a stream apart into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with this piece.

        :raises MessageError: a line is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield decode(line)
