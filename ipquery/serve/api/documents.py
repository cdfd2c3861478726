"""Documents: what is sent as it stands, whoever asks; made once when a process starts."""

import functools
import hashlib
from collections.abc import Mapping

import attrs

from ipquery.serve.api import page
from ipquery.serve.api.negotiation import is_unchanged
from ipquery.serve.api.openapi import openapi, to_json
from ipquery.serve.api.openapi_schemas import REFERENCE_PATH
from ipquery.serve.api.reference import reference
from ipquery.serve.api.where import Where
from ipquery.serve.http.reply import JSON, Reply


@attrs.frozen
class Document:
    """One of them."""

    body: bytes
    content_type: bytes
    headers: Mapping[str, str]

    def reply(self, none_match: str | None) -> Reply:
        """The answer.

        :param none_match: the value of If-None-Match.
        """
        if is_unchanged(none_match, self.headers["ETag"]):
            return Reply(304, b"", self.headers, None)
        return Reply(200, self.body, self.headers, self.content_type)


@attrs.frozen
class Documents:
    """All of them."""

    openapi: Document
    people: Mapping[str, Document]
    """What people look at, by path; empty without the page."""


@functools.cache
def make_documents(
    with_page: bool, where: Where = Where.EVERYBODY, gives_snapshot: bool = False
) -> Documents:
    """Make them.

    :param with_page: whether there is something for people.
    :param where: at which address.
    :param gives_snapshot: whether other nodes may take the snapshot.
    """
    described = openapi(with_page, where, gives_snapshot)
    people = {}
    if with_page and where is not Where.OPERATORS:
        people[REFERENCE_PATH] = reference(described).encode(), page.HTML
        people.update(page.read_files(where is Where.EVERYBODY))
    return Documents(
        _document(to_json(described), JSON),
        {path: _document(*one, page.HEADERS) for path, one in people.items()},
    )


def _document(
    body: bytes, content_type: bytes, headers: Mapping[str, str] | None = None
) -> Document:
    # Browsers keep it, and ask each time whether it is still the same: another version of the
    # program has another one.
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    told = {"ETag": etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Document(body, content_type, {**told, **(headers or {})})
