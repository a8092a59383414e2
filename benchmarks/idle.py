"""The client that holds thousands of idle connections, and asks beside them."""

import select
import socket
import statistics
import time
from collections.abc import Iterator

FRESH_REQUESTS = 300
ANSWER_SECONDS = 10
_TAIL = b"Host: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n"


class IdleConnections:
    """Connections that made one request each and then stay, as a browser's do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def open(self, count: int) -> None:
        """Open ``count`` of them, one after the other; those that get no answer are not kept."""
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
            try:
                client.sendall(b"GET / HTTP/1.1\r\n" + _TAIL + b"\r\n")
                read_response(client)
            except OSError:
                client.close()
                return  # a server that has stopped answering will not begin again for the next one
            self._sockets.append(client)

    def count_open(self) -> int:
        """Return how many the server has not closed."""
        poller = select.poll()
        for client in self._sockets:
            poller.register(client, select.POLLIN)
        return len(self._sockets) - len(poller.poll(0))

    def close(self) -> None:
        """Close them all."""
        for client in self._sockets:
            client.close()


def read_response(client: socket.socket) -> bytes:
    """Read one response that has a Content-Length, and return its body.

    Raises:
        OSError: the connection ended before the response did, or nothing came for a while.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(client)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(dict(_fields(head)).get(b"content-length", b"0"))
    while len(body) < length:
        body += _receive(client)
    return body


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip()


def _receive(client: socket.socket) -> bytes:
    piece = client.recv(65536)
    if not piece:
        raise ConnectionResetError("the server closed the connection before its response was whole")
    return piece


def fresh_latency(port: int, count: int = FRESH_REQUESTS) -> float:
    """Return the median time in milliseconds of requests on connections of their own, one after the other.

    Raises:
        OSError: one was not answered.
    """
    return statistics.median(_time_fresh(port) for _ in range(count)) * 1000


def _time_fresh(port: int) -> float:
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + _TAIL + b"Connection: close\r\n\r\n")
        read_response(client)
        return time.perf_counter() - started
