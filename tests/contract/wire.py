"""Bytes on a connection, and the one thing that must come of them.

What is ambiguous is refused, and nothing after it is read (RFC 9112 section 11.2). The cases in
:mod:`tests.contract.h1spec` and :mod:`tests.contract.smuggling` are tried on every way that a
request can go.
"""

from collections.abc import Callable, Iterable, Sequence

import attrs

from tests.serve.http.connection import Response, get, post

BODY = b'{"ip":"1.2.3.4"}'

LOOK_UP = post(BODY)
"""A request that is answered with 200."""

FOLLOWING = get("/healthz")
"""What comes behind, and must not be read as a part of it."""


@attrs.frozen
class Outcome:
    """What came back, and whether the connection would take more."""

    responses: Sequence[Response]
    is_open: bool


@attrs.frozen
class Wire:
    """What is sent, and what must happen."""

    name: str
    sent: bytes
    statuses: Sequence[int | tuple[int, int]]
    """Of the answers, in order; or the first and last that may be."""
    is_kept: bool = False
    """Whether the connection goes on."""
    why: str = ""
    """Why it isn't refused, where others would; or why not otherwise."""

    def verify(self, outcome: Outcome) -> None:
        """It must be what happened."""
        got = [response.status for response in outcome.responses if response.status != 100]
        assert len(got) == len(self.statuses), got
        for status, may_be in zip(got, self.statuses, strict=True):
            first, last = (may_be, may_be) if isinstance(may_be, int) else may_be
            assert first <= status <= last, got
        assert outcome.is_open is self.is_kept
        if not self.is_kept and outcome.responses:
            assert outcome.responses[-1].headers["Connection"] == "close"


def failed(cases: Iterable[Wire], try_out: Callable[[Wire], None]) -> list[str]:
    """The cases that don't come out as they must, each with what happened.

    One test tries hundreds: as a test each, pytest would take twice as long as they do.
    """
    found = []
    for case in cases:
        try:
            try_out(case)
        except Exception as error:
            found.append(f"{case.name}: {type(error).__name__}: {error}")
    return found


def refused(name: str, sent: bytes, status: int = 400) -> Wire:
    """What is refused, whatever follows."""
    return Wire(name, sent + FOLLOWING, [status])


def read(name: str, sent: bytes, *statuses: int, why: str) -> Wire:
    """What has one right reading; what follows is read as a request of its own."""
    return Wire(name, sent + FOLLOWING, [*statuses, 200], is_kept=True, why=why)


def waits(name: str, sent: bytes) -> Wire:
    """What isn't whole, so that the rest is waited for."""
    return Wire(name, sent, [], is_kept=True)
