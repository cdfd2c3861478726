"""Shapes: in what the responses to requests differ that ask for the same."""

from typing import NamedTuple

from ipquery.serve.http.fast import Find
from ipquery.serve.http.reply import connection_line, head_of, with_connection


class Shape(NamedTuple):
    """In what the answers to look-ups differ beside the address."""

    is_head: bool
    is_1_0: bool
    is_last: bool
    is_escaped: bool
    """Whether colons are, as URL libraries send an IPv6 address."""


def shaped(find: Find, shape: Shape) -> Find:
    """What finds the rest of a response in a shape."""
    if shape.is_escaped:
        plain = shaped(find, shape._replace(is_escaped=False))
        return lambda text: plain(text.replace(b"%3A", b":"))
    if not any(shape):
        return find
    line, is_head = connection_line(shape.is_1_0, shape.is_last), shape.is_head

    def find_shaped(text: bytes) -> bytes | None:
        rest = find(text)
        if rest is None:
            return None
        if line:
            rest = with_connection(rest, line)
        return head_of(rest) if is_head else rest

    return find_shaped
