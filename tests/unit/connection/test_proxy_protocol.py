"""The PROXY protocol's headers: what they say, when they are whole, and what is none."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyfork.connection.proxy_protocol import LONGEST_V1, LONGEST_V2, NONE, SIGNATURE, Header, crc32c, read_header
from pyfork.errors import ProxyHeaderError

V4 = bytes([192, 0, 2, 1, 203, 0, 113, 5]) + struct.pack("!HH", 50000, 443)
V6 = bytes.fromhex("20010db800000000000000000000000100000000000000000000000000000001") + struct.pack("!HH", 7, 8)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LINE = b"PROXY TCP4 192.0.2.1 203.0.113.5 50000 443\r\n"
TOLD = Header(0, "TCP4", ("192.0.2.1", 50000), ("203.0.113.5", 443))


def v2(body=V4, kind=0x11, command=0x21):
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


def vector(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(before=b"", after=b"", change=0):
    header = v2(V4 + before + vector(3, bytes(4)) + after)
    place = len(header) - len(after) - 4
    return header[:place] + struct.pack("!I", crc32c(header) ^ change) + header[place + 4 :]


@pytest.mark.parametrize(
    ("octets", "family", "peer", "local"),
    [
        (LINE, *TOLD[1:]),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "TCP4", ("0.0.0.0", 0), ("255.255.255.255", 65535)),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "TCP6", ("2001:db8::1", 1), ("::1", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n", "TCP6", ("192.0.2.1", 1), ("192.0.2.2", 2)),
        (b"PROXY UNKNOWN\r\n", "", None, None),
        (b"PROXY UNKNOWN ffff:: whatever 1\r\n", "", None, None),
        (v2(), *TOLD[1:]),
        (v2(V6, 0x21), "TCP6", ("2001:db8::1", 7), ("::1", 8)),
        (v2(b"/run/a.sock".ljust(108, b"\0") * 2, 0x31), "UNIX", "", ""),
        (v2(b"", 0x00), "", None, None),
        (v2(b"", 0x00, 0x20), "", None, None),
        (v2(b"anything", 0x11, 0x20), "", None, None),
        (v2(V4, 0x12), "", None, None),
        (v2(V4, 0x10), "", None, None),
        (v2(vector(4, b""), 0x00), "", None, None),
        (v2(V4 + vector(1, b"h2") + vector(4, b"") + vector(0x20, bytes(300))), *TOLD[1:]),
        (with_checksum(), *TOLD[1:]),
        (with_checksum(vector(2, b"example.org"), vector(5, b"id")), *TOLD[1:]),
        (v2(V4 + vector(4, bytes(LONGEST_V2 - 16 - 12 - 3))), *TOLD[1:]),
    ],
)
def test_a_header_says_where_the_client_is(octets, family, peer, local):
    """Whatever follows it; and as long as it is not whole, more is asked for."""
    expected = Header(len(octets), family, peer, local)
    version = "v2" if octets[:1] == b"\r" else "v1"
    for protocol in (version, "auto"):
        assert read_header(octets, protocol) == read_header(octets + GET + octets, protocol) == expected
        for end in (*range(min(len(octets), 60)), len(octets) - 1):
            assert read_header(octets[:end], protocol) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY unknown\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 02\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 123456\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 a.example b.example 1 2\r\n",
        b"PROXY TCP4 \xb2 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN\nGET",
        b"PROXY UNKNOWN " + b"a" * (LONGEST_V1 - 14),
        b"PROXY UNKNOWN " + b"a" * (LONGEST_V1 - 15) + b"\r\n",
        b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n",
        v2(command=0x22),
        v2(command=0x11),
        v2(command=0x31),
        v2(kind=0x41),
        v2(kind=0x13),
        v2(V4[:-1]),
        v2(V6[:-1], 0x21),
        v2(bytes(215), 0x31),
        v2(V4 + b"\x04"),
        v2(V4 + b"\x04\0"),
        v2(V4 + b"\x04\0\x02a"),
        v2(V4 + vector(4, b"") + b"\x03"),
        v2(V4 + vector(3, b"abc")),
        v2(b"\x04\0\x01", 0x00),
        with_checksum(change=1),
        with_checksum(change=1 << 31),
        with_checksum(after=vector(3, bytes(4))),
        SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST_V2 - 15),
        SIGNATURE + b"\x20\x00\xff\xff",
    ],
)
def test_what_breaks_the_rules_is_refused(octets):
    """Where a header begins, nothing is guessed: also when it need not be there."""
    for protocol in ("v2" if octets[:1] == b"\r" else "v1", "auto"):
        with pytest.raises(ProxyHeaderError, match=r"^The PROXY (line|header) [a-zA-Z0-9 ,-]+$"):
            read_header(octets, protocol)


@pytest.mark.parametrize("octets", [GET, b"POST", b"\r\nGET", b"\r\n\r\n\r\n", b"\x16\x03\x01", b"PROXIES", b"proxy "])
def test_what_is_no_header_is_refused_unless_there_may_be_none(octets):
    """As soon as that is plain."""
    assert read_header(octets, "auto") is NONE
    for protocol in ("v1", "v2"):
        with pytest.raises(ProxyHeaderError, match=f"no header of the PROXY protocol, version {protocol[1]}$"):
            read_header(octets, protocol)


def test_each_version_is_no_header_of_the_other():
    """A proxy says what its configuration says."""
    for octets, protocol in ((v2(), "v1"), (LINE, "v2"), (b"\r", "v1"), (b"P", "v2")):
        with pytest.raises(ProxyHeaderError):
            read_header(octets, protocol)


def test_the_checksum_is_castagnolis():
    """RFC 3720, appendix B.4, has these."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda end: LINE[:9] + end + b"\r\n")))
@settings(max_examples=40)
def test_octets_are_a_header_or_none_or_refused(octets):
    """Nothing else is raised, and what is told does not depend on how it comes."""
    for start in (b"", SIGNATURE, SIGNATURE + b"\x21\x11\0", b"PROXY TCP4 "):
        for protocol in ("v1", "v2", "auto"):
            outcomes = [outcome_of((start + octets)[:end], protocol) for end in range(len(start + octets) + 1)]
            decided = [outcome for outcome in outcomes if outcome is not None]
            assert len(set(decided)) <= 1
            assert outcomes == [None] * (len(outcomes) - len(decided)) + decided


def outcome_of(octets, protocol):
    try:
        return read_header(octets, protocol)
    except ProxyHeaderError as error:
        return str(error)


@given(
    st.ip_addresses(),
    st.integers(0, 65535),
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 0x20]), st.binary(max_size=9))),
)
@settings(max_examples=40)
def test_every_address_is_told_alike_by_both_versions(address, port, vectors):
    """With any vectors behind it."""
    number = 4 if address.version == 4 else 6
    line = f"PROXY TCP{number} {address} {address} {port} {port}\r\n".encode()
    pair = address.packed * 2 + struct.pack("!HH", port, port)
    binary = v2(pair + b"".join(vector(*each) for each in vectors), 0x11 if number == 4 else 0x21)
    assert read_header(line, "v1")[1:] == read_header(binary, "v2")[1:]
    told = read_header(line, "v1").peer
    assert told == (str(getattr(address, "ipv4_mapped", None) or address), port)
