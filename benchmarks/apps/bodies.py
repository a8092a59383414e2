"""One MiB either way: GET answers it, POST reads the request's body in pieces and answers how much it was."""

from collections.abc import Callable, Iterable
from typing import Any

MEBIBYTE = 1 << 20
BODY = bytes(range(256)) * (MEBIBYTE // 256)
PIECE_OCTETS = 64 * 1024


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a body, or count one."""
    body = BODY if environ["REQUEST_METHOD"] == "GET" else count_octets(environ)
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def count_octets(environ: dict[str, Any]) -> bytes:
    """Read the body to its end; no more than it says, since not every server's input ends by itself."""
    stream, left = environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0)
    octets = 0
    while left > octets and (piece := stream.read(min(PIECE_OCTETS, left - octets))):
        octets += len(piece)
    return b"%d\n" % octets
