"""What slow clients are let loose on: a few octets at any path, after the request's body; eight megabytes at /big."""

from collections.abc import Callable, Iterable
from typing import Any

SMALL = b"hello\n"
BIG = bytes(8_000_000)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read what is sent, and answer."""
    while environ["wsgi.input"].read(65536):
        pass
    body = BIG if environ["PATH_INFO"] == "/big" else SMALL
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
