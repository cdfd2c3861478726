"""Messages between supervisor and workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.fleet.control import (
    Beat,
    Drain,
    Failed,
    Log,
    Messages,
    NotPrepared,
    Prepare,
    Prepared,
    Ready,
    Start,
    Switch,
    Switched,
    decode,
    encode,
)

MESSAGES = st.one_of(
    st.sampled_from([Ready(), Beat(), Beat(accepting=False), Drain()]),
    st.builds(Switch, st.integers()),
    st.builds(Switched, st.integers()),
    st.builds(Prepared, st.integers()),
    st.builds(NotPrepared, st.integers(), st.text()),
    st.builds(Log, st.sampled_from(["info", "error"]), st.text()),
    st.builds(Failed, st.text()),
    st.builds(Prepare, st.integers(), st.text()),
    st.builds(
        Start,
        st.integers(),
        st.lists(st.integers()),
        st.text(),
        st.dictionaries(st.text(), st.integers()),
        st.booleans(),
        st.none() | st.text(),
        st.dictionaries(st.text(), st.integers() | st.text()),
        st.lists(st.dictionaries(st.text(), st.integers() | st.text())),
    ),
)


@given(st.lists(MESSAGES), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[object], data: st.DataObject
) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    received = Messages()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message for piece in pieces for message in received.feed(piece)] == messages


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"is":"Nonsense"}', b'{"is":"Log"}', b'{"is":"Ready","x":1}']
)
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(line)
