"""From the lines of a head to a `Request`: everything that its octets mean, and what llhttp leaves open of it.

llhttp has looked at the grammar of each line before (field names are tokens, no control characters, no obs-fold, one
Content-Length, of digits). It lets pass, and this module refuses:

- any version but 1.x, a request line without one, and more than one space in it;
- HTTP/2's preface, and CONNECT;
- fragments, userinfo, ``*`` for anything but OPTIONS, schemes other than http and https;
- no Host, more than one, or one that is none (RFC 9112 section 3.2);
- transfer codings other than ``chunked``, and all of them in HTTP/1.0 (RFC 9112 section 6.1);
- a length that 63 bits do not hold.
"""

import re
from functools import lru_cache

from pyfork.errors import ProtocolError
from pyfork.http1.host import is_valid_host
from pyfork.http1.limits import MOST_OCTETS, Limits
from pyfork.http1.request import Headers, Request

_COMMON_METHODS = {
    method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}

_REFUSED_METHODS = frozenset((b"CONNECT", b"PRI"))
"""What asks for a tunnel, which no application behind WSGI can open, and the method of HTTP/2's preface, which exists
to be refused (RFC 9113 section 3.4). All others are the application's (RFC 9110 section 9.1)."""

TOKEN_OCTETS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
"""What names and methods are made of (RFC 9110 section 5.6.2)."""

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
"""RFC 9112 section 2.3: case-sensitive, one digit each."""

_HTTP_VERSIONS = {b"HTTP/1.%d" % minor: "1.1" if minor else "1.0" for minor in range(10)}
"""What a version is served as: a higher minor one as the highest that we know (RFC 9110 section 2.5)."""

_ABSOLUTE_FORM = re.compile(rb"https?://(?P<authority>[^/?]+)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.IGNORECASE)
"""RFC 9112 section 3.2.2."""

_CODING = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]+(?:[\t ]*;[\t ]*[^;,\"]+)*")
"""RFC 9112 section 7, as far as nobody can take it for two."""

_MEANINGFUL = frozenset((b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"))


class _Meanings(dict[bytes, bytes]):
    """Field name as sent -> its lower-case form if this room gives it a meaning, else ``b""``; learnt, and bounded."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        meaning = lower if lower in _MEANINGFUL else b""
        if len(self) < 1024 and len(name) <= 64:
            self[name] = meaning
        return meaning


_meanings = _Meanings()


def build_request(line: bytes, headers: Headers, limits: Limits) -> Request:
    """Make a request of its request line (without CRLF) and its fields.

    Raises:
        ProtocolError: 400, 413, 417, 501 or 505.
    """
    method, target, http_version = read_request_line(line)
    request = Request(method, target, http_version, headers)
    meant: dict[bytes, bytes] = {}
    for name, value in headers:
        meaning = _meanings[name]
        if meaning:
            if meaning in meant:
                value = _combine(meaning, meant[meaning], value)  # noqa: PLW2901 (it is the field's value)
            meant[meaning] = value
    if target.startswith(b"/"):
        request.path, _, request.query = target.partition(b"?")
        authority = None
    else:
        authority = _read_other_target(request)
    request.host = _effective_host(meant.pop(b"host", None), authority, http_version)
    if meant:
        _apply(meant, request, limits)
    return request


def read_request_line(line: bytes) -> tuple[str, bytes, str]:
    """Return method, target and version ("1.0" or "1.1") of a request line without its CRLF (RFC 9112 section 3).

    Raises:
        ProtocolError: 400, 501 or 505.
    """
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise ProtocolError(400, "The request line is not a method, a target and a version") from None
    http_version = _HTTP_VERSIONS.get(version)
    if http_version is None:
        if _VERSION.fullmatch(version):
            raise ProtocolError(505, "Only HTTP/1 is spoken here")
        raise ProtocolError(400, "The request line does not end with an HTTP version")
    if 0x23 in target:  # "#"; looking for an integer is five times as fast as for octets
        raise ProtocolError(400, "The target has a fragment")
    return _COMMON_METHODS.get(method) or _read_method(method), target, http_version


def _read_method(method: bytes) -> str:
    if method in _REFUSED_METHODS:
        raise ProtocolError(501, "This method is not for an application server")
    if not method or not TOKEN_OCTETS.issuperset(method):
        raise ProtocolError(400, "The method is not a token")
    return method.decode("ascii")


def _read_other_target(request: Request) -> bytes | None:
    """Take apart a target in absolute-form or asterisk-form; return the authority, if it has one."""
    if request.target == b"*" and request.method == "OPTIONS":
        return None
    match = _ABSOLUTE_FORM.fullmatch(request.target)
    if match is None:
        raise ProtocolError(400, "The target is neither a path nor an http or https URL with a host")
    # RFC 9110 section 4.2.3: an empty path is "/", but OPTIONS means the server by it (RFC 9112 section 3.2.4).
    is_asterisk = request.method == "OPTIONS" and match["path"] is match["query"] is None
    request.path = match["path"] or (b"*" if is_asterisk else b"/")
    request.query = match["query"] or b""
    if not is_valid_host(match["authority"]) or match["authority"].startswith(b":"):
        raise ProtocolError(400, "The target's host is not valid")
    authority: bytes = match["authority"]
    return authority


def _effective_host(host: bytes | None, authority: bytes | None, http_version: str) -> bytes:
    """Choose between the Host field and the target's authority, which wins (RFC 9112 section 3.2.2)."""
    if host is None:
        if http_version == "1.1":
            raise ProtocolError(400, "The Host field is missing")
        return authority or b""
    if not is_valid_host(host):
        raise ProtocolError(400, "The Host field is not a host")
    return host if authority is None else authority


def _combine(meaning: bytes, first: bytes, second: bytes) -> bytes:
    """Join the values of a field that came twice, if it is a list (RFC 9110 section 5.3)."""
    if meaning == b"host":
        raise ProtocolError(400, "There is more than one Host field")
    return first + b"," + second


def _apply(meant: dict[bytes, bytes], request: Request, limits: Limits) -> None:
    """Write into `request` what its fields other than Host mean."""
    connection = meant.get(b"connection")
    if connection is not None:
        persists = read_connection(connection.decode("latin-1"))
        if persists is not None:
            request.keep_alive = persists
    coding = meant.get(b"transfer-encoding")
    if coding is not None:
        _apply_transfer_encoding(coding, request)
    length = meant.get(b"content-length")
    if length is not None:
        _apply_content_length(length, request, limits)
    expectation = meant.get(b"expect")
    if expectation is not None:
        _apply_expect(expectation, request)


@lru_cache(maxsize=64)
def read_connection(value: str) -> bool | None:
    """Return whether the connection is to persist by its Connection field; None if that does not say so.

    Nearly all clients send one of a few values, so they are remembered.
    """
    options = [option.strip(" \t") for option in value.lower().split(",")]
    if "close" in options:
        return False
    return True if "keep-alive" in options else None


def _apply_transfer_encoding(value: bytes, request: Request) -> None:
    """RFC 9112 section 6.1: what is wrong is refused with 400, what is right and not understood with 501."""
    if request.http_version == "1.0":
        raise ProtocolError(400, "HTTP/1.0 has no Transfer-Encoding")
    if value.lower() != b"chunked":
        codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
        if codings.count(b"chunked") == 1 and codings[-1] == b"chunked" and all(map(_CODING.fullmatch, codings)):
            raise ProtocolError(501, "The only transfer coding understood is chunked")
        raise ProtocolError(400, "Transfer-Encoding is not chunked, once and at its end")
    request.is_chunked = True


def _apply_content_length(value: bytes, request: Request, limits: Limits) -> None:
    if len(value) > 20:
        raise ProtocolError(400, "Content-Length has too many digits")
    length = int(value)
    if length >= MOST_OCTETS:
        raise ProtocolError(400, "Content-Length is too large a number")
    if limits.body is not None and length > limits.body:
        raise ProtocolError(413, "The content is larger than allowed")
    request.content_length = length


def _apply_expect(value: bytes, request: Request) -> None:
    """RFC 9110 section 10.1.1: a 100-continue in HTTP/1.0 is ignored, any other expectation cannot be met."""
    expectations = {expectation.strip(b" \t").lower() for expectation in value.split(b",")} - {b""}
    if expectations == {b"100-continue"}:
        request.expects_continue = request.http_version == "1.1"
    elif expectations:
        raise ProtocolError(417, "The only expectation understood is 100-continue")
