"""Requests by the grammar of HTTP/1.1, and damage done to them: strategies of hypothesis."""

from dataclasses import dataclass

from hypothesis import strategies as st

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATH = "abcXYZ019-._~!$&'()*+,;=:@/%"
VALUE = bytes((*range(0x21, 0x7F), 0x80, 0xE9, 0xFF))
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Sent:
    """A request and what the application must see of it.

    Attributes:
        fields: those whose names begin with "X-", which come once each.
        octets: as it is sent.
    """

    method: str
    target: str
    fields: tuple[tuple[str, bytes], ...]
    content: bytes
    octets: bytes


methods = st.one_of(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "BREW"]),
    st.text(TOKEN, min_size=1, max_size=5).map("X".__add__),
)
targets = st.builds(
    lambda path, query: f"/{path}" + (f"?{query}" if query is not None else ""),
    st.text(PATH, max_size=12),
    st.none() | st.text(PATH + "?", max_size=8),
)
spaces = st.sampled_from([b"", b" ", b"\t", b" \t "])
values = st.binary(max_size=12).map(lambda octets: bytes(VALUE[each % len(VALUE)] for each in octets))
names = st.binary(min_size=1, max_size=3).map(lambda octets: f"X-{octets.hex()}".upper())
contents = st.one_of(
    st.just(b""), st.binary(max_size=40), st.just(SMUGGLED), st.binary(max_size=4).map(lambda octets: octets * 1500)
)


@st.composite
def requests(draw: st.DrawFn, *, is_last: bool = False) -> Sent:
    """A request that is right in every way; the last of a connection says so."""
    method, target = draw(methods), draw(targets)
    fields = draw(st.dictionaries(names, values, max_size=3))
    lines = [b"Host: a"]
    lines += [name.encode() + b":" + draw(spaces) + value + draw(spaces) for name, value in fields.items()]
    content, framing, body = draw(bodies())
    lines += framing
    if framing and draw(st.booleans()):
        lines.append(b"Expect: 100-continue")
    if is_last:
        lines.append(draw(st.sampled_from([b"Connection: close", b"connection: x, Close"])))
    first = draw(st.integers(0, len(lines) - 1))
    head = b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), *lines[first:], *lines[:first], b"", b""])
    return Sent(method, target, tuple(fields.items()), content, head + body)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes], bytes]:
    """Content, the field that frames it, and how it is sent."""
    content = draw(contents)
    kind = draw(st.sampled_from(["none", "length", "chunks"]))
    if kind == "none":
        return b"", [], b""
    if kind == "length":
        return content, [b"Content-Length: %d" % len(content)], content
    step = draw(st.integers(1, 30))
    step = max(step, len(content) // 20)
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;\\"c"']))
    chunks = [content[start : start + step] for start in range(0, len(content), step)]
    sent = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    trailers = draw(st.sampled_from([b"", b"X-Trailer: 1\r\n"]))
    return (
        content,
        [draw(st.sampled_from([b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING:Chunked"]))],
        (sent + b"0\r\n" + trailers + b"\r\n"),
    )


@st.composite
def conversations(draw: st.DrawFn) -> list[Sent]:
    """One to three requests for one connection."""
    count = draw(st.integers(0, 2))
    return [*(draw(requests()) for _ in range(count)), draw(requests(is_last=True))]


INSERTED = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b"\x0b", b"\xff", b":", b";", b",", b"0", b"_", b"+"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n"),
    *(b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", SMUGGLED),
    *(b"0\r\n\r\n", b"ffffffffffffffff", b"HTTP/1.0", b"HTTP/2.0", b"Expect: x\r\n"),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A conversation with one to three faults."""
    octets = b"".join(sent.octets for sent in draw(conversations()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(octets)))
        end = min(len(octets), start + draw(st.integers(0, 3)))
        kind = draw(st.sampled_from(["insert", "replace", "cut", "repeat line", "end"]))
        if kind == "insert":
            octets = octets[:start] + draw(st.sampled_from(INSERTED)) + octets[start:]
        elif kind == "replace":
            octets = octets[:start] + draw(st.binary(max_size=3)) + octets[end:]
        elif kind == "cut":
            octets = octets[:start] + octets[end:]
        elif kind == "repeat line":
            line_end = octets.find(b"\n", start) + 1
            line_start = octets.rfind(b"\n", 0, max(0, line_end - 1)) + 1
            octets = octets[:line_end] + octets[line_start:line_end] + octets[line_end:]
        else:
            octets = octets[:start]
    return octets


def in_pieces(octets: bytes) -> st.SearchStrategy[list[bytes]]:
    """The octets, cut at up to two places."""
    places = st.lists(st.integers(0, len(octets)), max_size=2).map(sorted)
    return places.map(
        lambda cuts: [octets[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    )
