"""What an application may put into the head of a response (PEP 3333, RFC 9110 section 5), and who is to blame.

Names and status lines are few, so what is known of them is remembered. A breach is found by whoever trips over it,
fast; then `blame` goes through the head again slowly and names the culprit.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Never

from pyfork.errors import ApplicationError

ResponseHeaders = Sequence[tuple[str, str]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
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

_MEANINGFUL = HOP_BY_HOP | {"content-length", "date", "server"}


class _Meanings(dict[str, str]):
    """Field name as given -> its lower-case form if the encoder has to look at it, else ""; learnt, and bounded."""

    def __missing__(self, name: str) -> str:
        if not isinstance(name, str):
            raise ApplicationError(f"the name of a response header is no str: {name!r}")
        if not _TOKEN.fullmatch(name):
            raise ApplicationError(f"the name of a response header is not a token: {name!r}")
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
        raise ApplicationError(f"the status is no str: {status!r}")
    return _read_status(status)


@lru_cache(maxsize=256)
def _read_status(status: str) -> tuple[int, bytes]:
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ApplicationError(f"the status is not of the form '200 OK': {status!r}")
    if status[0] == "1":
        raise ApplicationError(f"the status is an interim one, which no application can end with: {status!r}")
    try:
        return int(match["code"]), b"HTTP/1.1 " + status.encode("latin-1") + b"\r\n"
    except UnicodeEncodeError:
        raise ApplicationError(f"the status has characters that are not latin-1: {status!r}") from None


def read_content_length(value: str) -> int:
    """Return the number that a Content-Length field holds.

    Raises:
        ApplicationError: it is not one.
    """
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise ApplicationError(f"the Content-Length is not a number: {value!r}")
    return int(value)


def check_value(name: str, value: str) -> None:
    """Look closely at a field value that is not plain printable text.

    Raises:
        ApplicationError: it holds control characters other than a tab.
    """
    if _CONTROL.search(value):
        raise ApplicationError(f"the response header {name} has control characters: {value!r}")


def blame(headers: ResponseHeaders, error: Exception) -> Never:
    """Name what is wrong with `headers`, over which `error` was raised.

    Raises:
        ApplicationError: always.
    """
    for pair in headers if isinstance(headers, list | tuple) else ():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ApplicationError(f"a response header is not a tuple of name and value: {pair!r}") from None
        name, value = pair
        if not isinstance(name, str):
            raise ApplicationError(f"the name of a response header is no str: {name!r}") from None
        if not isinstance(value, str):
            raise ApplicationError(f"the value of the response header {name} is no str: {value!r}") from None
        if not _is_latin_1(value):
            raise ApplicationError(
                f"the response header {name} has characters that are not latin-1: {value!r}"
            ) from None
    raise ApplicationError(f"the response headers are not a list of tuples: {error}") from error


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
