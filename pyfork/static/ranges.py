"""Range requests: RFC 9110, section 14. Pure.

A client may ask for many ranges of one file, which overlap: sent as they are asked for, a request of a kilobyte makes a
reply of many times the file. So their number is bounded, and those that overlap or touch are one. Nothing is ever sent
twice, and parts come in the order of the file.
"""

import re
from collections.abc import Sequence

MOST_RANGES = 32
"""Ranges of one request; with more the whole file is sent (RFC 9110, section 14.2 leaves that to us)."""
_MOST_DIGITS = 18
"""Digits of a number that are looked at: no file is longer."""

_RANGE = re.compile(r"([0-9]*)-([0-9]*)")

Span = tuple[int, int]
"""The first octet, and how many."""


def read_ranges(text: str, size: int) -> list[Span] | None:
    """Return what of ``size`` octets a Range field asks for, merged and in order.

    Args:
        text: the field's value.
        size: octets of the representation, at least 1.

    Returns:
        Nothing at all ([]) when no range begins within the representation (416). None when the field is to be
        ignored: another unit, what is no range, or too many.
    """
    unit, equals, specifiers = text.partition("=")
    if not equals or unit.strip(" \t").lower() != "bytes" or specifiers.count(",") >= MOST_RANGES:
        return None
    spans = []
    is_empty = True
    for specifier in specifiers.split(","):
        specifier = specifier.strip(" \t")  # noqa: PLW2901 (the same, without what means nothing)
        if not specifier:  # an empty element of a list: RFC 9110, section 5.6.1.2
            continue
        is_empty = False
        found = _RANGE.fullmatch(specifier)
        span = None if found is None else _read_range(found[1], found[2], size)
        if span is None:
            return None
        if span[1]:
            spans.append(span)
    return None if is_empty else _merge(spans)


def _read_range(first: str, last: str, size: int) -> Span | None:
    """Return one range as far as there is something of it; (0, 0) if there is not, None if it is none."""
    if not first:
        if not last:
            return None
        count = min(_number(last), size)
        return size - count, count
    begin = _number(first)
    end = _number(last) if last else size - 1
    if last and end < begin:
        return None
    return (begin, min(end, size - 1) - begin + 1) if begin < size else (0, 0)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _merge(spans: list[Span]) -> list[Span]:
    """Put together what overlaps or touches (RFC 9110, section 15.3.7.2)."""
    merged: list[Span] = []
    for offset, count in sorted(spans):
        if merged and offset <= sum(merged[-1]):
            begin, length = merged[-1]
            merged[-1] = begin, max(length, offset + count - begin)
        else:
            merged.append((offset, count))
    return merged


def content_range(span: Span, size: int) -> str:
    """Return the value of Content-Range for one span (RFC 9110, section 14.4)."""
    offset, count = span
    return f"bytes {offset}-{offset + count - 1}/{size}"


def frame_parts(spans: Sequence[Span], size: int, media_type: str, boundary: str) -> tuple[list[bytes], bytes]:
    """Return what goes before each part of a ``multipart/byteranges``, and behind the last (RFC 9110, section 14.6).

    Args:
        spans: of the parts.
        size: octets of the representation.
        media_type: of the representation.
        boundary: what is in none of the parts.
    """
    heads = [
        f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range(span, size)}\r\n\r\n".encode()
        for span in spans
    ]
    heads[1:] = [b"\r\n" + head for head in heads[1:]]
    return heads, f"\r\n--{boundary}--\r\n".encode()
