"""What a client gets of a file: status, fields, and which of its octets. Pure.

The validators of a file (RFC 9110, section 8.8) come from its date and its length: the entity tag has the date in
nanoseconds, the length, and the content coding, so that each representation has its own. It is the same in every
process and on every machine that has the file with that date.

It is strong: two states of one file with the same length and date would have to be written within one tick of the file
system's clock, milliseconds. So it is weak for as long as that could still happen, `SETTLING` seconds, as in Apache.
Who sets dates by hand, or builds everything with the same one, can defeat it.
"""

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from pyfork.http1.response import http_date
from pyfork.static.conditions import Validators, Verdict, allows_ranges, judge
from pyfork.static.ranges import Span, content_range, frame_parts, read_ranges

SETTLING = 1.0
"""Seconds after a change in which a file may change again without a change of its date."""

Fields = list[tuple[str, str]]


class Representation(Struct, frozen=True):
    """One form of one file, at one moment. A Struct, as all here: one is made for each request.

    Attributes:
        size: octets.
        mtime_ns: when it was changed last, in nanoseconds since the epoch.
        media_type: of the file as it is.
        coding: the content coding that it is in, "" for none.
        varies: whether there are other codings of it.
        cache_control: the field's value, "" for no such field.
    """

    size: int
    mtime_ns: int
    media_type: str
    coding: str
    varies: bool
    cache_control: str


class Plan(Struct, frozen=True):
    """A response.

    Attributes:
        status: as PEP 3333 has it.
        fields: the head's.
        spans: which octets of the file are sent.
        heads: what goes before each of them; nothing if they are not framed.
        tail: what goes behind the last.
        content: what is sent in place of octets of the file.
    """

    status: str
    fields: Fields
    spans: tuple[Span, ...] = ()
    heads: tuple[bytes, ...] = ()
    tail: bytes = b""
    content: bytes = b""


def plan(method: str, fields: Mapping[str, str], representation: Representation, now: float, boundary: str) -> Plan:
    """Decide what a client gets.

    Args:
        method: GET or HEAD.
        fields: of the request, by their CGI variables.
        representation: that has been selected.
        now: seconds since the epoch.
        boundary: of a multipart response, should it be one; what no file contains.
    """
    validators = validators_of(representation, now)
    verdict = judge(fields, validators, now)
    if verdict is Verdict.FAILED:
        return refusal("412 Precondition Failed", "The file is not in the state that the request asks for")
    own = _own_fields(representation, validators)
    if verdict is Verdict.NOT_MODIFIED:
        return Plan("304 Not Modified", own)
    own.append(("Last-Modified", _date(validators.modified)))
    spans = None
    if "HTTP_RANGE" in fields and method == "GET" and representation.size:  # RFC 9110, section 14.2: only of GET
        if allows_ranges(fields, validators, now):
            spans = read_ranges(fields["HTTP_RANGE"], representation.size)
        if spans == []:
            return _unsatisfiable(representation.size)
    return _whole(representation, own) if spans is None else _partial(representation, own, spans, boundary)


def refusal(status: str, detail: str, *fields: tuple[str, str]) -> Plan:
    """Return an answer without a file; one sentence says why."""
    content = f"{status}: {detail}\n".encode()
    return Plan(status, [("Content-Type", "text/plain; charset=utf-8"), *fields], content=content)


def validators_of(representation: Representation, now: float) -> Validators:
    """Return what tells this state of the file from others; see the head of the module."""
    coding = f"-{representation.coding}" if representation.coding else ""
    tag = f'"{representation.mtime_ns:x}-{representation.size:x}{coding}"'
    # A date to come cannot be told to anybody: RFC 9110, section 8.8.2.1.
    modified = max(0, min(representation.mtime_ns // 10**9, int(now)))
    return Validators(tag, representation.mtime_ns / 1e9 + SETTLING <= now, modified)


def _own_fields(representation: Representation, validators: Validators) -> Fields:
    """Return the fields that a 304 has too (RFC 9110, section 15.4.5)."""
    fields = [("ETag", validators.tag if validators.is_strong else f"W/{validators.tag}")]
    if representation.cache_control:
        fields.append(("Cache-Control", representation.cache_control))
    if representation.varies:
        fields.append(("Vary", "Accept-Encoding"))
    return fields


def _whole(representation: Representation, fields: Fields) -> Plan:
    fields.append(("Content-Type", representation.media_type))
    if representation.coding:
        fields.append(("Content-Encoding", representation.coding))
    fields.append(("Accept-Ranges", "bytes"))
    if representation.size:
        return Plan("200 OK", fields, ((0, representation.size),))
    return Plan("200 OK", [*fields, ("Content-Length", "0")])  # or HEAD would not be told


def _partial(representation: Representation, fields: Fields, spans: list[Span], boundary: str) -> Plan:
    """Return a 206: RFC 9110, section 15.3.7."""
    size = representation.size
    if len(spans) == 1:
        fields += [("Content-Type", representation.media_type), ("Content-Range", content_range(spans[0], size))]
        if representation.coding:
            fields.append(("Content-Encoding", representation.coding))
        return Plan("206 Partial Content", fields, tuple(spans))
    if representation.coding:  # whether the coding is the parts' or the whole's, clients do not agree
        return _whole(representation, fields)
    heads, tail = frame_parts(spans, size, representation.media_type, boundary)
    fields.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Plan("206 Partial Content", fields, tuple(spans), tuple(heads), tail)


def _unsatisfiable(size: int) -> Plan:
    """RFC 9110, section 15.5.17."""
    return refusal("416 Range Not Satisfiable", "No range begins within the file", ("Content-Range", f"bytes */{size}"))


@lru_cache(maxsize=1024)
def _date(seconds: int) -> str:
    return http_date(seconds).decode("ascii")
