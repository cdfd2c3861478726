"""PROXY headers, whole and in pieces, good and bad: haproxy's proxy-protocol.txt, by section."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.net.proxy import (
    Header,
    ProxyError,
    crc32c,
    read_header,
)
from tests.net.proxy_headers import BAD, GOOD, SIGNATURE, TCP4


@given(name=st.sampled_from(sorted(GOOD)), rest=st.binary(max_size=200))
def test_a_header_says_who_the_client_is(name: str, rest: bytes) -> None:
    header, source = GOOD[name]
    assert read_header(header + rest) == Header(len(header), source)


@pytest.mark.parametrize("name", GOOD)
def test_a_header_may_come_in_any_number_of_pieces(name: str) -> None:
    header, source = GOOD[name]
    assert [read_header(header[:size]) for size in range(len(header))] == [None] * len(header)
    assert read_header(header) == Header(len(header), source)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_or_a_bad_one_is_refused_as_soon_as_that_is_certain(name: str) -> None:
    seen: list[object] = []
    for size in range(len(BAD[name]) + 1):
        try:
            assert read_header(BAD[name][:size]) is None
        except ProxyError as error:
            seen.append(str(error))
    assert seen, "and it stays refused, whatever follows"
    with pytest.raises(ProxyError):
        read_header(BAD[name])
    with pytest.raises(ProxyError):
        read_header(BAD[name] + b"GET / HTTP/1.1\r\n\r\n")


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_waited_for(data: bytes) -> None:
    for begin in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c"):
        try:
            header = read_header(begin + data)
        except ProxyError:
            continue
        assert header is None or header.size <= len(begin + data)


def test_no_more_is_ever_waited_for_than_a_header_may_have() -> None:
    with pytest.raises(ProxyError):
        read_header(b"PROXY UNKNOWN".ljust(107, b" "))
    longest = SIGNATURE + struct.pack("!BBH", 0x21, TCP4, 4096 - 16)
    assert read_header(longest.ljust(4095, b"\0")) is None
    assert read_header(b"PROXY UNKNOWN".ljust(106, b" ")) is None


def test_crc32c_is_castagnolis() -> None:
    # RFC 3720 appendix B.4, and the check value of the CRC catalogue.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
