"""Messages between supervisor and workers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.fleet.control import (
    CODEC,
    AskFigures,
    Beat,
    Counted,
    Drain,
    Failed,
    Figures,
    Log,
    NotPrepared,
    Prepare,
    Prepared,
    Ready,
    Start,
    Switch,
    Switched,
)
from ipquery.messages import MessageError, Reader
from ipquery.net.tls import Certificate, TlsSettings
from ipquery.serve.http.limits import HttpLimits
from ipquery.serve.http.log_formats import LOG_FORMATS
from ipquery.serve.http.settings import AccessLogSettings, ClientSettings
from ipquery.serve.lookup.upstreams import CacheSettings, FallbackSettings
from ipquery.serve.settings import Settings

SETTINGS = st.builds(
    Settings,
    http=st.builds(HttpLimits, st.integers()),
    express=st.booleans(),
    client=st.builds(
        ClientSettings,
        st.sampled_from([(), ("10.0.0.0/8", "unix")]),
        st.sampled_from(["x-forwarded-for", "forwarded"]),
    ),
    access_log=st.none()
    | st.builds(AccessLogSettings, st.text(), st.sampled_from(sorted(LOG_FORMATS)), st.integers()),
    cache=st.builds(
        CacheSettings,
        st.none() | st.just("redis://:secret@host"),
        st.sampled_from(["fallback", "all"]),
        st.integers(),
        ca_file=st.none() | st.just(Path("/etc/ca.pem")),
    ),
    fallback=st.tuples()
    | st.tuples(
        st.builds(
            FallbackSettings,
            st.just("http://host/{ip}"),
            st.just((("A", "b"),)),
            st.just(()) | st.just((("city", "city.name"), ("org", "org"))),
        )
    ),
    proxy=st.sampled_from([(), ("10.0.0.0/8",)]),
)

TLS = st.builds(
    TlsSettings,
    st.tuples(st.builds(Certificate, st.text(), st.text(), st.tuples(st.text()), st.floats(0, 1))),
    st.sampled_from(["none", "optional", "required"]),
    st.none() | st.text(),
)

MESSAGES = st.one_of(
    st.sampled_from([Ready(), Beat(), Beat(accepting=False), Drain()]),
    st.builds(Switch, st.integers()),
    st.builds(Switched, st.integers()),
    st.builds(Prepared, st.integers()),
    st.builds(NotPrepared, st.integers(), st.text()),
    st.builds(Counted, st.text()),
    st.builds(AskFigures, st.integers()),
    st.builds(Figures, st.integers(), st.text()),
    st.builds(
        Log,
        st.sampled_from(["info", "error"]),
        st.text(),
        st.text(),
        st.floats(0, 2e9),
        st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
        st.none() | st.text(),
    ),
    st.builds(Failed, st.text()),
    st.builds(Prepare, st.integers(), st.text()),
    st.builds(
        Start,
        st.integers(),
        st.lists(st.integers()),
        st.none() | st.integers(),
        st.text(),
        SETTINGS,
        st.lists(st.integers()),
        st.none() | TLS,
        st.none() | st.text(),
    ),
)


def _start(settings: bytes) -> bytes:
    rest = b'{"is":"Start","slot":1,"descriptors":[6],"output":null,"snapshot":"s","settings":'
    return rest + settings + b"}"


@given(st.lists(MESSAGES), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[object], data: st.DataObject
) -> None:
    stream = b"".join(map(CODEC.encode, messages))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    received = Reader(CODEC)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message for piece in pieces for message in received.feed(piece)] == messages


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"is":"Nonsense"}',
        b'{"is":[]}',
        b'{"is":"Log"}',
        b'{"is":"Ready","x":1}',
        b'{"is":"Switch","number":"1"}',
        b'{"is":"Switch","number":1.0}',
        b'{"is":"Switch","number":null}',
        b'{"is":"Beat","accepting":1}',
        b'{"is":"Start","slot":1,"descriptors":[6],"output":null,"snapshot":"s"}',
        b'{"is":"Start","slot":1,"descriptors":[6],"output":null,"snapshot":"s","settings":1}',
        _start(b'{"http":{"body_bytes":"1"}}'),
        _start(b'{"http":{"body_byte":1}}'),
        _start(b'{"cache":{"scope":"none"}}'),
        _start(b'{"cache":{"redis":"nonsense"}}'),
        _start(b'{"fallback":[{}]}'),
        _start(b'{"tls":1}'),
    ],
)
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        CODEC.decode(line)


def test_what_is_said_of_nonsense_holds_no_secret() -> None:
    """It goes to the log."""
    with pytest.raises(MessageError) as caught:
        CODEC.decode(_start(b'{"cache":{"redis":["secret"]}}'))
    assert "secret" not in str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    start = CODEC.decode(_start(b'{"http":{"body_bytes":1}}'))
    assert start.settings == Settings(http=HttpLimits(body_bytes=1))
