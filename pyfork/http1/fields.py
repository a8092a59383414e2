"""What an application may put into the head of a response (PEP 3333, RFC 9110 section 5), and who is to blame.

Names and status lines are few, so what is known of them is remembered. A breach is found by whoever trips over it,
fast; then `blame` goes through the head again slowly and names the culprit. The message is for the log: it shows the
beginning of what is wrong, and nothing that may be a secret.
"""

import re
from functools import lru_cache
from typing import Never

from pyfork.errors import ApplicationError

ResponseHeaders = list[tuple[str, str]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+\-.^_`|~]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_LATIN_1 = re.compile(r"[^\x00-\xff]")
_STATUS = re.compile(r"(?P<code>[1-9][0-9]{2}) [^\x00-\x1f\x7f]*")

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
"""Fields of the connection, which is the server's (PEP 3333, "Other HTTP Features")."""

OURS = HOP_BY_HOP | {"content-length"}
"""Fields that are never sent as the application gave them."""

_SECRET = re.compile("cookie|auth|token|secret|key|pass|session|sid|csrf|credential|signature", re.IGNORECASE)
"""What is in the names of fields whose values no log may show."""

_TUPLE = frozenset((tuple,))

_MOST_SHOWN = 80
"""Characters of a name, a value or a status that a message shows."""

_MEANINGFUL = HOP_BY_HOP | {"content-length", "date", "server"}


class _Meanings(dict[str, str]):
    """Field name as given -> its lower-case form if the encoder has to look at it, else ""; learnt, and bounded."""

    def __missing__(self, name: str) -> str:
        if not isinstance(name, str):
            raise ApplicationError(f"the name of a response header is no str but {_describe(name)}{_show_other(name)}")
        if not _TOKEN.fullmatch(name):
            raise ApplicationError(f"the name of a response header is not a token: {_show_name(name)}")
        lower = name.lower()
        meaning = lower if lower in _MEANINGFUL else ""
        if len(self) < 1024 and len(name) <= 64:
            self[name] = meaning
        return meaning


MEANINGS = _Meanings()


def read_status(status: str) -> tuple[int, bytes]:
    """Return code and status line (with CRLF) of a status as PEP 3333 has it: "404 Not Found".

    Raises:
        ApplicationError: it is not of that form, not latin-1, or an interim one (1xx).
    """
    if type(status) is not str:
        raise ApplicationError(f"the status is no str but {_describe(status)}{_show_other(status)}")
    return _read_status(status)


@lru_cache(maxsize=256)
def _read_status(status: str) -> tuple[int, bytes]:
    match = _STATUS.fullmatch(status)
    if match is None:
        where = _CONTROL.search(status)
        why = f" ({_point_at(where)})" if where else ""
        raise ApplicationError(f"the status is not of the form '200 OK': {_show(status)}{why}")
    if status[0] == "1":
        raise ApplicationError(f"the status is an interim one, which no application can end with: {_show(status)}")
    where = _NOT_LATIN_1.search(status)
    if where is not None:
        raise ApplicationError(f"the status has {_point_at(where)}, which is not latin-1: {_show(status)}")
    return int(match["code"]), b"HTTP/1.1 " + status.encode("latin-1") + b"\r\n"


def read_content_length(value: str) -> int:
    """Return the number that a Content-Length field holds.

    Raises:
        ApplicationError: it is not one.
    """
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise ApplicationError(f"the Content-Length is not a number: {_show(value)}")
    return int(value)


def require_pairs(headers: ResponseHeaders) -> None:
    """Look whether the headers are a list of tuples; a dict, or strings of two characters, can be unpacked as well.

    Raises:
        ApplicationError: they are not (PEP 3333, "The start_response() Callable").
    """
    if type(headers) is list and _TUPLE.issuperset(map(type, headers)):
        return
    if not (isinstance(headers, list) and all(isinstance(header, tuple) for header in headers)):
        blame(headers, TypeError())


def check_value(name: str, value: str) -> None:
    """Look closely at a field value that is not plain printable text.

    Raises:
        ApplicationError: it holds control characters other than a tab.
    """
    where = _CONTROL.search(value)
    if where is not None:
        raise ApplicationError(
            f"the response header {_show_name(name)} has {_point_at(where)}, a control character"
            f"{_show_value(name, value)}"
        )


def blame(headers: object, error: Exception) -> Never:
    """Name what is wrong with `headers`, over which `error` was raised.

    Raises:
        ApplicationError: always.
    """
    if not isinstance(headers, list):
        raise ApplicationError(f"the response headers are no list but {_describe(headers)}") from None
    for position, pair in enumerate(headers):
        if not isinstance(pair, tuple) or len(pair) != 2:
            kind = f"a tuple of {len(pair)}" if isinstance(pair, tuple) else _describe(pair)
            raise ApplicationError(
                f"response header number {position + 1} is no tuple of name and value but {kind}{_show_first(pair)}"
            ) from None
        name, value = pair
        if not isinstance(name, str):
            raise ApplicationError(f"the name of a response header is no str but {_describe(name)}") from None
        if not isinstance(value, str):
            raise ApplicationError(
                f"the value of the response header {_show_name(name)} is no str but {_describe(value)}"
            ) from None
        where = _NOT_LATIN_1.search(value)
        if where is not None:
            raise ApplicationError(
                f"the response header {_show_name(name)} has {_point_at(where)}, which is not latin-1"
                f"{_show_value(name, value)}"
            ) from None
    raise ApplicationError(f"the response headers are not a list of tuples: {error}") from error


def _point_at(match: re.Match[str]) -> str:
    """Say which character, and where: counted from 0, as Python does."""
    return f"{match[0]!a} at position {match.start()}"


def _show(text: str) -> str:
    """Return the beginning of ``text``, quoted."""
    return repr(text) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!r}... ({len(text)} characters)"


def _show_name(name: str) -> str:
    """Return the name of a field, up to where it ceases to be one: what follows may be the value."""
    where = _NO_TOKEN.search(name)
    if where is None:
        return name if 0 < len(name) <= _MOST_SHOWN else _show(name)
    return f"{_show(name[: where.start()])} and then {_point_at(where)}"


def _show_value(name: str, value: str) -> str:
    """Return the end of a message: the beginning of the value, unless it is nobody's business."""
    return "" if _SECRET.search(name) else f": {_show(value)}"


def _show_first(pair: object) -> str:
    """Return the end of a message: what seems to be the name, if there is one."""
    if isinstance(pair, list | tuple) and pair and isinstance(pair[0], str):
        return f": {_show_name(pair[0])}"
    return ""


def _show_other(value: object) -> str:
    """Return the end of a message: a number, or what somebody has encoded, as far as its first colon."""
    if isinstance(value, bytes):
        return f": {_show(value.decode('latin-1').partition(':')[0])}"
    return f": {value}" if isinstance(value, int) and abs(value) < 1 << 64 else ""


def _describe(value: object) -> str:
    """Return what a value is, and never the value itself."""
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind!r} object"
