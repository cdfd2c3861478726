"""Messages between processes of one program: attrs values as JSON, one a line, over pipes."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from cattrs import BaseValidationError, Converter, transform_error


def _exactly(kind: type, value: object, _: object) -> object:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


class MessageError(Exception):
    """A line that is no message: who wrote it is of another version."""


class Codec:
    """The messages that two processes know, each an attrs class."""

    def __init__(self, *types: type) -> None:
        self._types = {one.__name__: one for one in types}
        # After an upgrade, one process may be of another version than the other. A message with
        # fields that the reader doesn't know is refused, so that neither guesses what the other
        # means.
        self._converter = Converter(forbid_extra_keys=True)
        for kind in (int, bool, str):
            # cattrs alone would convert: "1" would pass for 1.
            self._converter.register_structure_hook(kind, partial(_exactly, kind))

    def encode(self, message: Any) -> bytes:
        """A message as a line, with its end."""
        content = {"is": type(message).__name__, **self._converter.unstructure(message)}
        return json.dumps(content).encode() + b"\n"

    def decode(self, line: bytes) -> Any:
        """The message of a line.

        :raises MessageError: it isn't JSON, not one of these messages, or its members
            aren't those of its type.
        """
        try:
            content = json.loads(line)
        except ValueError:
            raise MessageError("not JSON") from None
        if not isinstance(content, dict):
            raise MessageError("not an object")
        name = content.pop("is", None)
        kind = self._types.get(name) if isinstance(name, str) else None
        if kind is None:
            raise MessageError(f"no such message: {name}")
        try:
            return self._converter.structure(content, kind)
        except BaseValidationError as error:
            raise MessageError("; ".join(transform_error(error, kind.__name__))) from None


class Reader:
    """Takes a stream apart into messages."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with this piece.

        :raises MessageError: a line is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._codec.decode(line)
