"""The PROXY protocol, versions 1 and 2: what a proxy says of its client in front of the client's octets. Pure.

The source is HAProxy's document "The PROXY protocol, Versions 1 & 2" (2020), whose sections are named here. A
connection has one header, in front of everything else, of TLS too. What breaks the rules is refused, as the document
has it: nobody can say then where the header ends and the client begins.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from pyfork.errors import ProxyHeaderError

LONGEST_V1 = 107
"""Octets of a header of version 1, its CRLF included (section 2.1)."""
LONGEST_V2 = 4096
"""Octets of a header of version 2. The field for its length could say 65 551; proxies send some hundred, even with the
names of a client's certificate."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins (section 2.2): like no request, and like no TLS."""

_V1 = b"PROXY "
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _UNIX = 0, 3
_ADDRESSES = {1: struct.Struct("!4s4sHH"), 2: struct.Struct("!16s16sHH"), _UNIX: struct.Struct("!108s108s")}
_STREAM, _HIGHEST_TRANSPORT = 1, 2
_CRC32C = 0x03
_CLASSES: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


class Header(NamedTuple):
    """What a header says.

    Attributes:
        length: its octets; 0 if there is none.
        family: "TCP4", "TCP6" or "UNIX"; "" if it tells no addresses: the connection is the proxy's own, or its client
            has none that could be told.
        peer: the client's address as ``accept`` would have told it: host and port, or "" for a unix socket; None if
            none is told.
        local: likewise, where the client connected to.
    """

    length: int
    family: str = ""
    peer: Any = None
    local: Any = None


NONE = Header(0)
"""There is no header."""


def read_header(octets: bytes, protocol: str) -> Header | None:
    """Return the header that ``octets`` begin with, None if more of it has to come.

    Args:
        octets: the first ones of a connection; those behind the header do not matter.
        protocol: "v1", "v2", or "auto": either, or none.

    Raises:
        ProxyHeaderError: they are not what ``protocol`` says.
    """
    if protocol != "v1" and octets[: len(SIGNATURE)] == SIGNATURE:
        return _read_v2(octets)
    if protocol != "v2" and octets[: len(_V1)] == _V1:
        return _read_v1(octets)
    beginnings = {"v1": [_V1], "v2": [SIGNATURE]}.get(protocol, [_V1, SIGNATURE])
    if any(begin.startswith(octets) for begin in beginnings):
        return None
    if protocol == "auto":
        return NONE
    raise ProxyHeaderError(f"There is no header of the PROXY protocol, version {protocol[1:]}")


def _read_v1(octets: bytes) -> Header | None:
    """Read ``PROXY TCP4 192.0.2.1 192.0.2.2 50000 443`` and CRLF (section 2.1)."""
    end = octets.find(b"\n", 0, LONGEST_V1) + 1
    if not end and len(octets) < LONGEST_V1:
        return None
    line = octets[:end]
    if line[-2:] != b"\r\n":
        raise ProxyHeaderError("The PROXY line has no end")
    _, family, *rest = line[:-2].split(b" ")
    if family == b"UNKNOWN":  # whatever follows is to be ignored
        return Header(end)
    if family not in _CLASSES or len(rest) != 4:
        raise ProxyHeaderError("The PROXY line is not TCP4, TCP6 or UNKNOWN with two addresses and two ports")
    try:
        source, destination = (_write(_CLASSES[family](text.decode("ascii"))) for text in rest[:2])
        ports = [_read_port(text) for text in rest[2:]]
    except ValueError:
        raise ProxyHeaderError("The PROXY line has an address or a port that is none") from None
    if b"%" in line:
        raise ProxyHeaderError("The PROXY line has an address with a zone")
    return Header(end, family.decode("ascii"), (source, ports[0]), (destination, ports[1]))


def _write(address: IPv4Address | IPv6Address) -> str:
    """Return the canonical form; of an IPv4 address in IPv6 notation its own."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _read_port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or (text[:1] == b"0" and text != b"0") or int(text) > 65_535:
        raise ValueError
    return int(text)


def _read_v2(octets: bytes) -> Header | None:
    """Read the binary form (section 2.2)."""
    if len(octets) < _FIXED.size:
        return None
    _, command, family_and_transport, length = _FIXED.unpack_from(octets)
    family, transport = family_and_transport >> 4, family_and_transport & 15
    if command not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError("The PROXY header has another version or an unknown command")
    if family > _UNIX or transport > _HIGHEST_TRANSPORT:
        raise ProxyHeaderError("The PROXY header has an unknown family of addresses or transport")
    total = _FIXED.size + length
    if total > LONGEST_V2:
        raise ProxyHeaderError(f"The PROXY header has more than {LONGEST_V2} octets")
    if len(octets) < total:
        return None
    if command == _LOCAL:  # the rest is to be discarded, whatever it is
        return Header(total)
    addresses = _ADDRESSES.get(family)
    begin = _FIXED.size + (addresses.size if addresses is not None else 0)
    if begin > total:
        raise ProxyHeaderError("The PROXY header is shorter than its addresses")
    _check_vectors(octets[:total], begin)
    if addresses is None or transport != _STREAM:
        return Header(total)
    if family == _UNIX:
        return Header(total, "UNIX", "", "")
    source, destination, *ports = addresses.unpack_from(octets, _FIXED.size)
    name = "TCP4" if family == 1 else "TCP6"
    make = _CLASSES[name.encode("ascii")]
    return Header(total, name, (_write(make(source)), ports[0]), (_write(make(destination)), ports[1]))


def _check_vectors(header: bytes, begin: int) -> None:
    """Skip the type-length-value vectors behind the addresses, and check the checksum among them (section 2.2.3).

    Raises:
        ProxyHeaderError: they do not fill the header, or the checksum is wrong, or comes twice.
    """
    has_checksum = False
    for kind, start, end in _find_vectors(header, begin):
        if kind != _CRC32C:
            continue
        if has_checksum or end - start != 4:
            raise ProxyHeaderError("The PROXY header has a checksum that is none")
        has_checksum = True
        if crc32c(header[:start] + bytes(4) + header[end:]) != int.from_bytes(header[start:end], "big"):
            raise ProxyHeaderError("The PROXY header has a wrong checksum")


def _find_vectors(header: bytes, begin: int) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each vector, and where its value begins and ends."""
    while begin < len(header):
        start = begin + 3
        end = start + int.from_bytes(header[begin + 1 : start], "big")
        if start > len(header) or end > len(header):
            raise ProxyHeaderError("The PROXY header ends in the middle of a vector")
        yield header[begin], start, end
        begin = end


def _make_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _make_table()


def crc32c(octets: bytes) -> int:
    """Return the checksum of RFC 3720, appendix B.4 (Castagnoli's polynomial, reflected)."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = _TABLE[(value ^ octet) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF
