"""The PROXY protocol: who the client is, in the words of the load balancer in front.

The source is HAProxy's proxy-protocol.txt, "The PROXY protocol, versions 1 & 2", whose sections
are cited. Twisted has a wrapper for it (``twisted.protocols.haproxy``), but that drops a header
of version 2 whose first read is shorter than 16 bytes, and believes every caller: it has no
list of peers, which section 2 asks for ("the receiver MUST be configured to only receive the
protocol ... and MUST not try to guess").
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator

import attrs

# Section 2.1: the longest line of version 1 takes 107 bytes, its end included.
_LONGEST_LINE = 107
_LINE_START, _LINE_END = b"PROXY ", b"\r\n"

# Section 2.2: signature, version and command, family, length of what follows.
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
# What the addresses of each family take: none, TCP and UDP over IPv4 and over IPv6, UNIX
# sockets of both kinds. Others "must be rejected as invalid by receivers".
_ADDRESS_BYTES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_ADDRESSES_4, _ADDRESSES_6 = struct.Struct("!4s4sHH"), struct.Struct("!16s16sHH")

# Section 2.2.3, of checksums
_CRC32C_TYPE, _CRC32C_BYTES = 0x03, 4

# The length field allows 64 KB. What balancers add to the addresses are names and certificate
# subjects: a header takes some hundred bytes.
_LONGEST_HEADER = 4096

SocketName = tuple[str, int] | tuple[str, int, int, int]
"""What accept(2) would have said of the client: two parts of IPv4, four of IPv6."""


class ProxyError(Exception):
    """What came in is no PROXY header. The message is a phrase that doesn't depend on it."""


@attrs.frozen
class Header:
    """A whole header.

    ``source`` is the client; ``None`` where the balancer speaks for itself (health checks), or
    says nothing of an address that we could use: then the peer's own is right (section 2.2,
    "falls back to the UNSPEC mode").
    """

    size: int
    source: SocketName | None


def read_header(data: bytes) -> Header | None:
    """Read the header that a stream begins with.

    :param data: all that has come in.
    :returns: ``None`` while it isn't whole.
    :raises ProxyError: it is none, or a bad one.
    """
    if data.startswith(_LINE_START[: len(data)]):
        return _read_line(data)
    if data.startswith(_SIGNATURE[: len(data)]):
        return _read_binary(data)
    raise ProxyError("it didn't begin with a PROXY header")


def _read_line(data: bytes) -> Header | None:
    """Version 1, section 2.1."""
    end = data.find(_LINE_END, 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise ProxyError("its PROXY header of version 1 has no end")
        return None
    size = end + len(_LINE_END)
    match data[len(_LINE_START) : end].split(b" "):
        case [b"UNKNOWN", *_]:
            return Header(size, None)
        case [b"TCP4", source, destination, source_port, destination_port]:
            family = socket.AF_INET
        case [b"TCP6", source, destination, source_port, destination_port]:
            family = socket.AF_INET6
        case _:
            raise ProxyError("its PROXY header of version 1 is malformed")
    _packed(family, destination)
    _port(destination_port)
    return Header(size, _name(_packed(family, source), _port(source_port)))


def _packed(family: socket.AddressFamily, text: bytes) -> bytes:
    try:
        return socket.inet_pton(family, text.decode("ascii"))
    except (OSError, ValueError):
        raise ProxyError("its PROXY header of version 1 has a bad address") from None


def _port(text: bytes) -> int:
    # Section 2.1: decimal, 0 to 65535, without leading zeros. isdigit() of bytes is ASCII's.
    if not text.isdigit() or len(text) > len("65535") or text != b"%d" % int(text):
        raise ProxyError("its PROXY header of version 1 has a bad port")
    if int(text) > 0xFFFF:
        raise ProxyError("its PROXY header of version 1 has a bad port")
    return int(text)


def _read_binary(data: bytes) -> Header | None:
    """Version 2, section 2.2."""
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyError("its PROXY header of version 2 has an unknown version or command")
    size = _FIXED.size + length
    if size > _LONGEST_HEADER:
        raise ProxyError("its PROXY header of version 2 is too long")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return Header(size, None)  # the family "is ignored", and so is all that follows
    return Header(size, _read_addresses(data[:size], family))


def _read_addresses(header: bytes, family: int) -> SocketName | None:
    """The client of a whole header of version 2, if it has one that we could use."""
    if family not in _ADDRESS_BYTES:
        raise ProxyError("its PROXY header of version 2 has an unknown family")
    addresses = _FIXED.size
    if len(header) < addresses + _ADDRESS_BYTES[family]:
        raise ProxyError("its PROXY header of version 2 is too short for its addresses")
    if family:
        _check_fields(header, addresses + _ADDRESS_BYTES[family])
    if family == _TCP4:
        source, _, port, _ = _ADDRESSES_4.unpack_from(header, addresses)
        return _name(source, port)
    if family == _TCP6:
        source, _, port, _ = _ADDRESSES_6.unpack_from(header, addresses)
        return _name(source, port)
    return None


def _check_fields(header: bytes, begin: int) -> None:
    """Walk the fields behind the addresses, and verify the checksum if there is one."""
    for kind, at, length in _fields(header, begin):
        if kind != _CRC32C_TYPE:
            continue
        if length != _CRC32C_BYTES:
            raise ProxyError("its PROXY header of version 2 has a bad checksum")
        said = header[at : at + length]
        # The sum is over the whole header, with zeros where the sum is.
        blank = header[:at] + bytes(length) + header[at + length :]
        if crc32c(blank) != int.from_bytes(said, "big"):
            raise ProxyError("its PROXY header of version 2 has a bad checksum")


def _fields(header: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Kind, place and length of each."""
    while at < len(header):
        if at + 3 > len(header):
            raise ProxyError("its PROXY header of version 2 has a field that is cut off")
        kind, length = struct.unpack_from("!BH", header, at)
        at += 3
        if at + length > len(header):
            raise ProxyError("its PROXY header of version 2 has a field that is cut off")
        yield kind, at, length
        at += length


def _name(packed: bytes, port: int) -> SocketName:
    """An IPv4 address that is mapped into IPv6 is meant as IPv4."""
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), port
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped), port
    return str(address), port, 0, 0


def _crc32c_table() -> list[int]:
    # Castagnoli's polynomial, reversed (RFC 3720 appendix B.4).
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C_TABLE = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC-32C of a few bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC32C_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
