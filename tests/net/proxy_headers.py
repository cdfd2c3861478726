"""PROXY headers, good and bad, by name."""

import socket
import struct

from ipquery.net.proxy import (
    SocketName,
    crc32c,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

TCP4, TCP6, UDP4, UDP6, UNIX_STREAM, UNIX_DGRAM = 0x11, 0x21, 0x12, 0x22, 0x31, 0x32


def line(text: str) -> bytes:
    """A header of version 1."""
    return text.encode() + b"\r\n"


def binary(family: int, body: bytes, command: int = 0x21) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def addresses4(source: str, port: int) -> bytes:
    packed = socket.inet_pton(socket.AF_INET, source)
    return packed + b"\x0a\0\0\1" + struct.pack("!HH", port, 80)


def addresses6(source: str, port: int) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, source)
    return packed + bytes(15) + b"\1" + struct.pack("!HH", port, 80)


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(family: int, body: bytes, wrong: int = 0) -> bytes:
    """A header of version 2 with a field of its checksum, section 2.2.3."""
    blank = binary(family, body + field(0x03, bytes(4)) + field(0x04, b"padding"))
    summed = crc32c(blank) ^ wrong
    return binary(family, body + field(0x03, summed.to_bytes(4, "big")) + field(0x04, b"padding"))


GOOD: dict[str, tuple[bytes, SocketName | None]] = {
    "1, TCP4": (line("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443"), ("192.0.2.7", 56324)),
    "1, largest": (
        line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535"),
        ("255.255.255.255", 65535),
    ),
    "1, TCP6": (line("PROXY TCP6 2001:db8::1 ::1 1 2"), ("2001:db8::1", 1, 0, 0)),
    "1, TCP6, largest": (
        line(f"PROXY TCP6 {'ffff:' * 7}ffff {'ffff:' * 7}ffff 65535 65535"),
        (f"{'ffff:' * 7}ffff", 65535, 0, 0),
    ),
    "1, mapped": (line("PROXY TCP6 ::ffff:192.0.2.7 ::1 9 80"), ("192.0.2.7", 9)),
    "1, UNKNOWN": (line("PROXY UNKNOWN"), None),
    "1, UNKNOWN, longest": (
        line(f"PROXY UNKNOWN {'ffff:' * 7}ffff {'ffff:' * 7}ffff 65535 65535"),
        None,
    ),
    "1, port 0": (line("PROXY TCP4 192.0.2.7 10.0.0.1 0 0"), ("192.0.2.7", 0)),
    "2, TCP4": (binary(TCP4, addresses4("192.0.2.7", 4711)), ("192.0.2.7", 4711)),
    "2, TCP6": (binary(TCP6, addresses6("2001:db8::7", 4711)), ("2001:db8::7", 4711, 0, 0)),
    "2, mapped": (binary(TCP6, addresses6("::ffff:192.0.2.7", 1)), ("192.0.2.7", 1)),
    "2, LOCAL": (binary(0, b"", command=0x20), None),
    "2, LOCAL with a family": (binary(TCP4, addresses4("192.0.2.7", 1), command=0x20), None),
    "2, LOCAL with an unknown family": (binary(0xFF, b"anything", command=0x20), None),
    "2, UNSPEC": (binary(0, b""), None),
    "2, UNSPEC with more": (binary(0, b"\xff" * 100), None),
    "2, UDP4": (binary(UDP4, addresses4("192.0.2.7", 1)), None),
    "2, UDP6": (binary(UDP6, addresses6("2001:db8::7", 1)), None),
    "2, UNIX": (binary(UNIX_STREAM, bytes(216)), None),
    "2, UNIX datagram": (binary(UNIX_DGRAM, bytes(216)), None),
    "2, fields": (
        binary(
            TCP4,
            addresses4("192.0.2.7", 1)
            + field(0x01, b"h2")
            + field(0x02, b"example.org")
            + field(0x20, b"\x07\0\0\0\0" + field(0x21, b"TLSv1.3"))
            + field(0xEA, b""),
        ),
        ("192.0.2.7", 1),
    ),
    "2, checksum": (with_checksum(TCP4, addresses4("192.0.2.7", 1)), ("192.0.2.7", 1)),
    "2, checksum, TCP6": (
        with_checksum(TCP6, addresses6("2001:db8::7", 1)),
        ("2001:db8::7", 1, 0, 0),
    ),
    "2, longest": (
        binary(TCP4, addresses4("192.0.2.7", 1) + field(0x04, bytes(4096 - 16 - 12 - 3))),
        ("192.0.2.7", 1),
    ),
}

BAD = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "other line": line("PROXI TCP4 192.0.2.7 10.0.0.1 1 2"),
    "lower case": line("proxy TCP4 192.0.2.7 10.0.0.1 1 2"),
    "1, other protocol": line("PROXY UDP4 192.0.2.7 10.0.0.1 1 2"),
    "1, nothing": line("PROXY "),
    "1, two blanks": line("PROXY  TCP4 192.0.2.7 10.0.0.1 1 2"),
    "1, blank before the address": line("PROXY TCP4  192.0.2.7 10.0.0.1 1 2"),
    "1, blank at the end": line("PROXY TCP4 192.0.2.7 10.0.0.1 1 2 "),
    "1, tab": line("PROXY TCP4\t192.0.2.7 10.0.0.1 1 2"),
    "1, one address": line("PROXY TCP4 192.0.2.7 1 2"),
    "1, no ports": line("PROXY TCP4 192.0.2.7 10.0.0.1"),
    "1, more": line("PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3"),
    "1, IPv6 for TCP4": line("PROXY TCP4 ::1 10.0.0.1 1 2"),
    "1, IPv4 for TCP6": line("PROXY TCP6 192.0.2.7 ::1 1 2"),
    "1, no address": line("PROXY TCP4 localhost 10.0.0.1 1 2"),
    "1, octal": line("PROXY TCP4 192.0.2.07 10.0.0.1 1 2"),
    "1, short": line("PROXY TCP4 192.0.2 10.0.0.1 1 2"),
    "1, bad destination": line("PROXY TCP4 192.0.2.7 x 1 2"),
    "1, zone": line("PROXY TCP6 fe80::1%eth0 ::1 1 2"),
    "1, port too large": line("PROXY TCP4 192.0.2.7 10.0.0.1 65536 2"),
    "1, destination port too large": line("PROXY TCP4 192.0.2.7 10.0.0.1 1 65536"),
    "1, very large port": line("PROXY TCP4 192.0.2.7 10.0.0.1 99999999999999999999 2"),
    "1, leading zero": line("PROXY TCP4 192.0.2.7 10.0.0.1 01 2"),
    "1, signed port": line("PROXY TCP4 192.0.2.7 10.0.0.1 +1 2"),
    "1, negative port": line("PROXY TCP4 192.0.2.7 10.0.0.1 -1 2"),
    "1, not ASCII": line("PROXY TCP4 １92.0.2.7 10.0.0.1 1 2"),
    "1, port not ASCII": line("PROXY TCP4 192.0.2.7 10.0.0.1 １ 2"),
    "1, LF alone": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n" + bytes(107),
    "1, no end": b"PROXY UNKNOWN " + b"x" * 93,
    "1, end too late": line("PROXY UNKNOWN " + "x" * 92),
    "2, signature": b"\r\n\r\n\0\r\nQUIT\r" + bytes(20),
    "2, version 1": binary(TCP4, addresses4("192.0.2.7", 1), command=0x11),
    "2, version 3": binary(TCP4, addresses4("192.0.2.7", 1), command=0x31),
    "2, command": binary(TCP4, addresses4("192.0.2.7", 1), command=0x22),
    "2, family": binary(0x41, bytes(216)),
    "2, protocol": binary(0x13, addresses4("192.0.2.7", 1)),
    "2, half a family": binary(0x01, addresses4("192.0.2.7", 1)),
    "2, TCP4 too short": binary(TCP4, bytes(11)),
    "2, TCP6 too short": binary(TCP6, bytes(35)),
    "2, UNIX too short": binary(UNIX_STREAM, bytes(215)),
    "2, field cut off": binary(TCP4, addresses4("192.0.2.7", 1) + b"\x04\0"),
    "2, field too long": binary(TCP4, addresses4("192.0.2.7", 1) + b"\x04\0\2x"),
    "2, checksum wrong": with_checksum(TCP4, addresses4("192.0.2.7", 1), wrong=1),
    "2, checksum short": binary(TCP4, addresses4("192.0.2.7", 1) + field(0x03, b"abc")),
    "2, too long": binary(TCP4, bytes(4096 - 16 + 1)),
    "2, endless": SIGNATURE + struct.pack("!BBH", 0x21, TCP4, 0xFFFF),
}
