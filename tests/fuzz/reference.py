"""A second reading of HTTP/1.1, written from the grammar alone, to hold the parser's against.

It is strict, slow and silent: it reads whole requests from the beginning and stops at the first octet that the grammar
of RFC 9110 and 9112 has no place for. So whatever the parser takes for a whole request must be one here, with the same
method, target, fields, content and trailers. It says nothing of what the parser refuses, and may take more than that:
of chunk extensions it knows that they have no line's end, and of targets that they have no space.
"""

import re
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n"
_HEAD = re.compile(
    rb"(?:\r\n)*(?P<method>%b) (?P<target>[\x21-\x7e]+) HTTP/1\.(?P<minor>[0-9])\r\n(?P<fields>(?:%b)*)\r\n"
    % (_TOKEN, _LINE)
)
_SIZE = re.compile(rb"(?P<size>[0-9A-Fa-f]+)(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(rb"(?P<fields>(?:%b)*)\r\n" % _LINE)
_LENGTH = re.compile(rb"0*[0-9]{1,18}")

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Message:
    """A whole request."""

    method: str
    target: bytes
    version: str
    fields: Fields
    content: bytes
    trailers: tuple[tuple[bytes, bytes], ...]


def read(octets: bytes) -> list[Message]:
    """Return the whole requests at the beginning of ``octets``."""
    messages: list[Message] = []
    position = 0
    while head := _HEAD.match(octets, position):
        fields = _read_fields(head["fields"])
        version = "1.0" if head["minor"] == b"0" else "1.1"  # RFC 9110 section 2.5: as the highest that is known
        body = _read_body(octets, head.end(), fields, version)
        if body is None:
            break
        content, trailers, position = body
        messages.append(Message(head["method"].decode(), head["target"], version, fields, content, tuple(trailers)))
    return messages


def _read_fields(lines: bytes) -> Fields:
    pairs = (line.split(b":", 1) for line in lines.split(b"\r\n")[:-1])
    return [(name, value.strip(b" \t")) for name, value in pairs]


def _read_body(octets: bytes, position: int, fields: Fields, version: str) -> tuple[bytes, Fields, int] | None:
    """Return content, trailers and where they end; None if they do not, or if the framing is not beyond doubt."""
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value.lower() for name, value in fields if name.lower() == b"transfer-encoding"]
    if codings:
        is_clear = codings == [b"chunked"] and not lengths and version == "1.1"
        return _read_chunks(octets, position) if is_clear else None
    if not lengths:
        return b"", [], position
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or len(octets) - position < int(lengths[0][-19:]):
        return None
    end = position + int(lengths[0][-19:])
    return octets[position:end], [], end


def _read_chunks(octets: bytes, position: int) -> tuple[bytes, Fields, int] | None:
    content = b""
    while line := _SIZE.match(octets, position):
        size = int(line["size"], 16)
        position = line.end() + size
        if not size:
            section = _TRAILERS.match(octets, position)
            return (content, _read_fields(section["fields"]), section.end()) if section else None
        if octets[position : position + 2] != b"\r\n":
            return None
        content += octets[line.end() : position]
        position += 2
    return None
