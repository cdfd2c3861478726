"""What is an address, and which number it is."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.address import parse, shorten, to_text


@given(st.ip_addresses(v=4))
def test_ipv4_is_its_number(address: ipaddress.IPv4Address) -> None:
    assert parse(str(address)) == (4, int(address))


@given(st.ip_addresses(v=6))
def test_ipv6_is_its_number_whatever_its_spelling(address: ipaddress.IPv6Address) -> None:
    expected = (4, int(address.ipv4_mapped)) if address.ipv4_mapped else (6, int(address))
    for text in (address.compressed, address.exploded, address.compressed.upper()):
        assert parse(text) == expected


@given(st.ip_addresses(v=4))
def test_mapped_ipv6_is_the_ipv4_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for text in (f"::ffff:{address}", f"::FFFF:{number >> 16:x}:{number & 0xFFFF:x}"):
        assert parse(text) == (4, number)


@pytest.mark.parametrize("text", ["::1", "::", "::1.2.3.4", "::fffe:1.2.3.4", "1::ffff:1.2.3.4"])
def test_other_ipv6_with_ipv4_in_it_stays_ipv6(text: str) -> None:
    assert parse(text) == (6, int(ipaddress.IPv6Address(text)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1.2.3",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4\n",
        "1.2.3.4 x",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.0x4",
        "16909060",
        "1.2.3.4/32",
        "1.2.3.4\0",
        "１.2.3.4",
        "fe80::1%eth0",
        "[::1]",
        ":::",
        "1::2::3",
        "12345::",
        "::ffff:1.2.3",
        "localhost",
        "\ud800",
        "4" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        parse(text)


@given(st.text())
def test_parse_agrees_with_the_standard_library(text: str) -> None:
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        expected = None
    # ipaddress also takes zones, which are no part of an address.
    if expected is None or "%" in text:
        with pytest.raises(ValueError, match="not an IP address"):
            parse(text)
    else:
        assert to_text(*parse(text)) == str(getattr(expected, "ipv4_mapped", None) or expected)


@given(st.ip_addresses())
def test_text_of_a_number_reads_back(address: ipaddress.IPv4Address) -> None:
    version, number = parse(str(address))
    assert parse(to_text(version, number)) == (version, number)


def test_a_message_holds_no_more_than_a_line_of_what_was_sent() -> None:
    assert len(shorten("x" * 10_000)) < 80
    assert shorten("a\nb\ud800") == r"'a\nb\ud800'"
