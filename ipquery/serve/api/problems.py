"""Problems: what the routes under ``/v1`` say instead of an answer (RFC 9457).

``type`` is a reference relative to this host, as ``/docs#problem-NAME``: the same program
runs under many names, which it doesn't know, and the page that explains its problems is on
each of them. What callers compare is the text as it stands, and that never changes.
"""

import json
from collections.abc import Mapping

import attrs

from ipquery.serve.http.reply import Reply

PROBLEM_JSON = b"application/problem+json"


@attrs.frozen
class Kind:
    """What went wrong, in general."""

    status: int
    title: str


KINDS = {
    "not-an-address": Kind(400, "This is not an IP address"),
    "unknown-field": Kind(400, "There is no such field"),
    "unknown-language": Kind(400, "There are no names in this language"),
    "bad-request": Kind(400, "The request can't be understood"),
    "bad-batch": Kind(400, "This is no batch of addresses"),
    "no-key": Kind(401, "A key is needed"),
    "not-allowed": Kind(403, "You may not ask here"),
    "unknown-client": Kind(404, "Your address isn't known here"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "This can't be done here"),
    "not-acceptable": Kind(406, "There is no answer of a kind that was asked for"),
    "timed-out": Kind(408, "The request didn't come in time"),
    "too-large": Kind(413, "The body is too large"),
    "too-many-addresses": Kind(413, "These are too many addresses for one batch"),
    "unsupported-media-type": Kind(415, "A body of this kind can't be read"),
    "unsupported-coding": Kind(415, "A body in this coding can't be read"),
    "unknown-expectation": Kind(417, "There is no such expectation"),
    "too-many-requests": Kind(429, "You ask too often"),
    "unavailable": Kind(503, "There is too much to do just now"),
    "internal-error": Kind(500, "Something went wrong here"),
}
"""By name, which is never given to anything else."""


class Problem(Exception):
    """A request can't be answered, for a reason that is one of :data:`KINDS`."""

    def __init__(
        self, name: str, detail: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """
        :param detail: what it is in this case.
        """
        super().__init__(name, detail)
        self.name = name
        self.detail = detail
        self.headers = headers or {}

    def members(self) -> dict[str, str | int]:
        """What is told of it."""
        kind = KINDS[self.name]
        told: dict[str, str | int] = {
            "type": f"/docs#problem-{self.name}",
            "title": kind.title,
            "status": kind.status,
        }
        if self.detail is not None:
            told["detail"] = self.detail
        return told

    def reply(self) -> Reply:
        """How it is told."""
        told, kind = self.members(), KINDS[self.name]
        # ASCII, so that a caller's broken text can't break the reply.
        body = json.dumps(told, separators=(",", ":")).encode()
        return Reply(kind.status, body, self.headers, PROBLEM_JSON)
