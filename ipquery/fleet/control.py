"""What supervisor and workers say to each other: one JSON object a line, over pipes."""

from typing import Any

import attrs

from ipquery.messages import Codec
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
    admin: list[int] = attrs.field(factory=list)
    """Those of the descriptors that are for those who run the service."""


@attrs.frozen
class Prepare:
    """Map this snapshot, try these certificates and API keys, but go on with the current ones.

    ``number`` tells one such order from the next: an answer that comes late isn't
    taken for that to a later order.
    """

    number: int
    snapshot: str
    tls: TlsSettings | None = None
    keys: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Switch:
    """Answer from, show and go by what was prepared by that order from now on."""

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


@attrs.frozen
class Figures:
    """What all workers have counted, the answer to the question with this number.

    ``text`` is as :func:`ipquery.serve.totals.encode_told` makes it.
    """

    number: int
    text: str


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
class Counted:
    """What the worker has counted since it last said so, and how it is with it now.

    As :func:`ipquery.serve.totals.encode_handed_over` makes it.
    """

    text: str


@attrs.frozen
class AskFigures:
    """The worker was asked what all have counted."""

    number: int


@attrs.frozen
class Log:
    """An event for the log, see :mod:`ipquery.fleet.log`."""

    level: str
    text: str
    namespace: str = "-"
    seconds: float = 0
    """When it was, since the epoch."""
    fields: dict[str, Any] = attrs.field(factory=dict)
    """What else it tells, as JSON has it."""
    failure: str | None = None
    """The traceback of a fault."""


CODEC = Codec(
    Start, Prepare, Switch, Forget, Drain, Reopen, TicketKey, Figures,
    Ready, Failed, Prepared, NotPrepared, Switched, Beat, Counted, AskFigures, Log,
)  # fmt: skip
