"""One connection with a server: what is sent, what comes back within a bounded time, and how that reads."""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CANARY = b"GET /canary HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n"
"""Sent behind a case: its answer tells whether the server goes on, and whether it is still in step."""
MOST_OCTETS = 1 << 20


@dataclass(frozen=True)
class Exchange:
    """What came back.

    Attributes:
        octets: all of it.
        is_open: the server had not closed the connection when the time was over.
    """

    octets: bytes
    is_open: bool


@dataclass
class Answer:
    """A final response.

    Attributes:
        status: its status.
        is_last: it says that the connection ends with it.
        seen: what the mirror has seen, None if it was not the mirror that answered.
    """

    status: int
    is_last: bool
    seen: dict[str, Any] | None = None


@dataclass
class Reading:
    """How the octets of an exchange read.

    Attributes:
        answers: the final responses in order.
        is_readable: nothing is left over that is no response.
    """

    answers: list[Answer] = field(default_factory=list)
    is_readable: bool = True


def exchange(port: int, octets: bytes, seconds: float, *, ends: bool = False) -> Exchange:
    """Send octets on a fresh connection; return what comes until the server closes, or nothing comes for a while.

    Args:
        port: the server's, on loopback.
        octets: all that is sent.
        seconds: how long to wait for the next octet.
        ends: whether to close our side when all is sent.
    """
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        try:
            client.sendall(octets)
            if ends:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed before all was sent; what it has said can still be read
        deadline = time.monotonic() + 5 * seconds
        client.settimeout(seconds)
        while time.monotonic() < deadline and len(received) < MOST_OCTETS:
            try:
                piece = client.recv(65536)
            except TimeoutError:
                return Exchange(bytes(received), is_open=True)
            except OSError:  # a reset is an end, if a rude one
                break
            if not piece:
                break
            received += piece
    return Exchange(bytes(received), is_open=False)


def read_answers(octets: bytes, methods: Sequence[str]) -> Reading:
    """Cut octets into responses; ``methods`` are those of the requests, as far as they are known."""
    reading = Reading()
    while octets:
        method = methods[len(reading.answers)] if len(reading.answers) < len(methods) else "GET"
        head, separator, rest = octets.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status = [*lines[0].split(" ", 2), "", ""][:2]
        if not separator or not version.startswith("HTTP/1.") or not status.isdigit() or len(status) != 3:
            reading.is_readable = False
            return reading
        if status.startswith("1"):
            octets = rest
            continue
        pairs = [
            (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        fields = dict(pairs)
        bare = method == "HEAD" or status in {"204", "304"}
        body = b"" if bare else _take_body(fields, rest)
        if body is None:
            reading.is_readable = False
            return reading
        octets = rest if bare else rest[_length(fields, rest) :]
        options = {word.strip().lower() for name, value in pairs if name == "connection" for word in value.split(",")}
        is_last = "close" in options or (version == "HTTP/1.0" and "keep-alive" not in options)
        reading.answers.append(Answer(int(status), is_last, _read_mirror(status, body)))
    return reading


def _length(fields: dict[str, str], rest: bytes) -> int:
    """Return how many octets a response's body takes, as it is framed."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        end = rest.find(b"0\r\n\r\n")
        return len(rest) if end < 0 else end + 5
    return int(fields["content-length"]) if fields.get("content-length", "").isdigit() else len(rest)


def _take_body(fields: dict[str, str], rest: bytes) -> bytes | None:
    """Return the body, None if it is not complete; chunks stay as they are: what the mirror says is found in them."""
    length = _length(fields, rest)
    return None if length > len(rest) else rest[:length]


def _read_mirror(status: str, body: bytes) -> dict[str, Any] | None:
    if status != "200":
        return None
    start, end = body.find(b"{"), body.rfind(b"}")
    try:
        seen = json.loads(body[start : end + 1])
    except ValueError:
        return None
    return seen if isinstance(seen, dict) and "method" in seen else None
