"""Framing: what the head of a request says besides its method and target."""

from collections.abc import Mapping, Sequence

import attrs


@attrs.define(eq=False)
class Framing:
    """How a message is framed, whether its connection goes on, and its header fields.

    One is kept for each head that repeats, so its fields are only taken apart for who asks.
    """

    is_1_0: bool
    persists: bool
    """Whether the client wants to keep the connection (RFC 9112 section 9.3)."""
    length: int = 0
    """Of the body, in bytes."""
    lines: bytes = b""
    """The head as it came, from the blank before the HTTP version to the empty line, if kept."""
    _pairs: Sequence[tuple[bytes, bytes]] = ()
    _fields: Mapping[bytes, bytes] | None = None

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The header fields, names in lower case.

        Several lines of one name are one value, with commas between (RFC 9110 section 5.3).
        """
        if self._fields is None:
            self._fields = joined(self._pairs) if self._pairs else fields_of(self.lines)
        return self._fields


def joined(pairs: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Header fields by name, see :attr:`Framing.fields`."""
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        # llhttp leaves the blanks behind a value.
        name, value = name.lower(), value.strip(b"\t ")
        fields[name] = b"%b, %b" % (fields[name], value) if name in fields else value
    return fields


def fields_of(lines: bytes) -> Mapping[bytes, bytes]:
    """Header fields by name, see :attr:`Framing.fields`.

    :param lines: from the end of a request line to the empty line, both included.
    """
    split = [line.partition(b":") for line in lines.split(b"\r\n")[1:-2]]
    return joined([(name, value) for name, _, value in split])
