"""What the access log knows of one answered request: `pyfork.connection` fills it in, the formats read it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class RequestLine(Protocol):
    """What a format reads of a request; `pyfork.http1.request.Request` has it.

    Requests of the same octets may be one object, so what a format makes of it is kept in ``logged``, beside whose
    it is.
    """

    method: str
    target: bytes
    path: bytes
    query: bytes
    http_version: str
    variables: dict[str, str]
    logged: tuple[object, Any] | None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values as sent."""


class AccessRecord(msgspec.Struct):
    """One answered request; a Struct, as it is made for each: a dataclass takes three times as long.

    Attributes:
        request: as parsed, or None when what came could not be parsed (the answer was an error of our own).
        environ: the WSGI environ after the application has run, or None when it was not asked.
        remote: the client's address as REMOTE_ADDR has it, "" for a unix socket; who has connected, if the request did
            not get so far.
        status: of the response, as in "200 OK".
        response_headers: as the application gave them.
        octets: of the response's body, sent to the client.
        started: the wall clock when the request began, in seconds since the epoch.
        duration: seconds from then to the response's last octet.
    """

    request: RequestLine | None
    environ: Mapping[str, Any] | None
    remote: str
    status: str
    response_headers: Sequence[tuple[str, str]]
    octets: int
    started: float
    duration: float
