"""Forms of a batch's answer: how entries follow each other, and what stands for a bad one."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from ipquery.serve.api.negotiation import Media
from ipquery.serve.api.problems import Problem
from ipquery.serve.api.rendition import CONTROLS, columns, quoted
from ipquery.serve.api.selection import Selection

# What is shown of something that should be an address.
_SHOWN = 64


@attrs.frozen
class Form:
    """One of them."""

    media: str
    content_type: bytes
    rendered: Media | None
    """How an entry is said; ``None`` for the contract's array."""
    opening: bytes
    """Comes before the first entry."""
    between: bytes
    """Comes before every other one."""
    end: bytes
    """Comes behind each."""
    closing: bytes
    """Comes behind the last."""


JSON = Form("application/json", b"application/json", Media.JSON, b"[", b",\n", b"", b"]\n")
NDJSON = Form("application/x-ndjson", b"application/x-ndjson", Media.JSON, b"", b"", b"\n", b"")
CSV = Form("text/csv", Media.CSV.value, Media.CSV, b"", b"", b"\r\n", b"")
ARRAYS = Form(
    "application/vnd.ipquery.arrays+json",
    b"application/vnd.ipquery.arrays+json",
    None,
    b"[",
    b",\n",
    b"",
    b"]\n",
)
"""An array of the contract's arrays. A media type of its own, and no parameter of
``application/json``: that has none (RFC 8259 section 11), and they are passed over."""

FORMS = (JSON, NDJSON, CSV, ARRAYS)


def line_of_names(selection: Selection) -> bytes:
    """The first line of a CSV file."""
    return ",".join([*columns(selection), "error"]).encode() + b"\r\n"


def bad_entry(form: Form, selection: Selection, given: str | None, problem: Problem) -> bytes:
    """What stands for something that can't be answered.

    :param given: what should have been an address.
    """
    if form is ARRAYS:
        return b"null"
    shown = given
    if given is not None and len(given) > _SHOWN:
        shown = given[: _SHOWN - 3] + "..."
    told = {name: text for name, text in problem.members().items() if name != "status"}
    if form is CSV:
        return _row(selection, CONTROLS.sub(" ", shown or ""), told)
    entry = {"ip": shown, "error": told}
    # ASCII, so that a caller's broken text can't break the answer.
    return json.dumps(entry, separators=(",", ":")).encode()


def last_entry(form: Form, selection: Selection, problem: Mapping[str, Any]) -> bytes:
    """What an answer ends with that can't go on.

    :param problem: its members.
    """
    if form is CSV:
        return _row(selection, "", problem)
    return json.dumps({"error": problem}, separators=(",", ":")).encode()


def _row(selection: Selection, ip: str, problem: Mapping[str, Any]) -> bytes:
    """A row of which only the address is known, and why."""
    known = [ip if column == "ip" else "" for column in columns(selection)]
    known.append(": ".join([problem["title"], *filter(None, [problem.get("detail")])]))
    return ",".join(map(quoted, known)).encode()
