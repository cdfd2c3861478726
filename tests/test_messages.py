"""Messages between processes."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.messages import Codec, Reader


@attrs.frozen
class Order:
    """A message with members."""

    number: int
    text: str = ""


@attrs.frozen
class Nothing:
    """A message without."""


@attrs.frozen
class Around:
    """A message with a value of attrs inside."""

    inner: object


CODEC = Codec(Order, Nothing, Around)
MESSAGES = st.builds(Nothing) | st.builds(Order, st.integers(), st.text())


@given(st.lists(MESSAGES), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[object], data: st.DataObject
) -> None:
    stream = b"".join(map(CODEC.encode, messages))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    reader = Reader(CODEC)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message for piece in pieces for message in reader.feed(piece)] == messages


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"is":"Stranger"}', b'{"is":"Order"}', b'{"is":"Nothing","x":1}']
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        CODEC.decode(line)


def test_a_value_inside_a_message_arrives_as_its_members() -> None:
    line = CODEC.encode(Around([Order(1, "a")]))
    assert CODEC.decode(line) == Around([{"number": 1, "text": "a"}])
