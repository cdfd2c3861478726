"""Messages between processes."""

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.messages import Codec, MessageError, Reader


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
    """A message with other values inside."""

    inner: Sequence[Order]
    pairs: Sequence[tuple[int, float]] = ()


CODEC = Codec(Order, Nothing, Around)
ORDERS = st.builds(Order, st.integers(), st.text())
PAIRS = st.tuples(st.integers(), st.floats(allow_nan=False))
MESSAGES = (
    st.builds(Nothing)
    | ORDERS
    | st.builds(Around, st.lists(ORDERS).map(tuple), st.lists(PAIRS).map(tuple))
)


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
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"is":1}',
        b'{"is":"Stranger"}',
        b'{"is":"Order"}',
        b'{"is":"Order","number":"1"}',
        b'{"is":"Nothing","x":1}',
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        CODEC.decode(line)
