"""Messages between processes of one program: attrs values as JSON, one a line, over pipes."""

import json
from collections.abc import Iterator
from typing import Any

import attrs


class Codec:
    """The messages that two processes know, each an attrs class of values that JSON has."""

    def __init__(self, *types: type) -> None:
        self._types = {kind.__name__: kind for kind in types}

    def encode(self, message: Any) -> bytes:
        """A message as a line, with its end."""
        # Without recursion: it would copy every list, and counts of latencies are
        # thousands of pairs. What has a value of attrs inside is taken apart by `default`.
        content = {"is": type(message).__name__, **attrs.asdict(message, recurse=False)}
        return json.dumps(content, default=attrs.asdict).encode() + b"\n"

    def decode(self, line: bytes) -> Any:
        """The message of a line.

        :raises ValueError: it isn't JSON, not one of these messages, or its members
            aren't those of its kind.
        """
        content = json.loads(line)
        if not isinstance(content, dict):
            raise ValueError("not an object")
        kind = self._types.get(content.pop("is", ""))
        if kind is None:
            raise ValueError("unknown message")
        try:
            return kind(**content)
        except TypeError as error:
            raise ValueError(str(error)) from None


class Reader:
    """Takes a stream apart into messages."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with this piece.

        :raises ValueError: a line is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._codec.decode(line)
