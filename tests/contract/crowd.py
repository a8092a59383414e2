"""Many clients at once, in one loop: each sends its pieces, and takes what comes back.

A client waits for its server, and while one waits the others go on; so a thousand short conversations take a second.
Between two pieces of a client there is a pace: the server is to read the first before the second is sent.
"""

import errno
import os
import selectors
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from tests.harness import PATIENCE, Response, parse_response

MOST_AT_ONCE = 64
"""Conversations under way; the others wait for their turn."""

Address = tuple[str, int]


class Script(Protocol):
    """What one client says, and when it has heard enough."""

    pieces: Sequence[bytes]

    def go_on(self, received: bytes, is_over: bool) -> bytes | None:
        """Say what to do when all pieces are sent, and after each answer: send octets (b"": wait), or None: hang up.

        Args:
            received: everything so far.
            is_over: the server sends no more.
        """

    def shut_when_sent(self) -> bool:
        """Whether the client ends its side when all is sent."""


class Client:
    """One connection to the server."""

    def __init__(self, address: Address, script: Script) -> None:
        self.script = script
        self.received = bytearray()
        self.sent = 0
        self.is_over = False
        self.has_shut = False
        self._renew()
        self._unsent = b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        status = self.sock.connect_ex(address)
        assert status in {0, errno.EINPROGRESS}, os.strerror(status)

    @property
    def has_to_send(self) -> bool:
        """Whether octets are left to send."""
        return bool(self._unsent) or self.sent < len(self.script.pieces)

    def send_piece(self) -> None:
        """Send the next piece, unless the last has not gone yet."""
        if not self._unsent and self.sent < len(self.script.pieces):
            self._unsent = self.script.pieces[self.sent]
            self.sent += 1
            self._renew()
        self._send()

    def take(self) -> None:
        """Take what the server has sent."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""  # whether that was right is for the script to say: what it waits for does not come
        self.received += data
        self.is_over = not data
        self._renew()

    def proceed(self) -> bool:
        """Do what the script says next; return whether the conversation is over."""
        if self.has_to_send and not self.is_over:
            return False
        more = self.script.go_on(bytes(self.received), self.is_over)
        if more is None or self.is_over:
            self.sock.close()
            return True
        if more:
            self._unsent = more
            self._send()
        elif not self.has_shut and self.script.shut_when_sent():
            self.has_shut = True
            self.sock.shutdown(socket.SHUT_WR)
        return False

    def _renew(self) -> None:
        """It goes on: what is waited for next has its own time."""
        self.deadline = monotonic() + PATIENCE

    def _send(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # it has closed, and its answer is still to be read
            self._unsent = b""
            self.sent = len(self.script.pieces)


def converse(
    address: Address, scripts: Sequence[Script], pace: Callable[[], None], at_once: int = MOST_AT_ONCE
) -> None:
    """Have every script played; fail when one takes too long.

    Args:
        address: of the server.
        scripts: in the order in which they are begun.
        pace: is called between two pieces of any client.
        at_once: conversations under way.
    """
    waiting = list(reversed(scripts))
    clients: set[Client] = set()
    with selectors.EpollSelector() as selector:
        while waiting or clients:
            while waiting and len(clients) < at_once:
                client = Client(address, waiting.pop())
                selector.register(client.sock, selectors.EVENT_READ, client)
                clients.add(client)
            news = {client for client in clients if client.has_to_send}
            for client in news:
                client.send_piece()
            if any(client.has_to_send for client in news):
                pace()
            for key, _ in selector.select(0 if news else 0.05):
                key.data.take()
                news.add(key.data)
            for client in news:
                descriptor = client.sock.fileno()
                if client.proceed():
                    selector.unregister(descriptor)
                    clients.remove(client)
            now = monotonic()
            stuck = [client.script for client in clients if now > client.deadline]
            assert not stuck, f"no answer in time, {len(stuck)} of them: {stuck[:3]}"


@contextmanager
def turns(address: Address) -> Iterator[Callable[[], None]]:
    """Give a pace: a request of its own is answered, so a loop has read what came before it."""
    ping = b"HEAD / HTTP/1.1\r\nHost: pace\r\n\r\n"
    with socket.create_connection(address, PATIENCE) as witness:

        def pace() -> None:
            witness.sendall(ping)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                received = witness.recv(4096)
                assert received, "the server closed the connection that sets the pace"
                answer += received

        yield pace


def yield_often() -> None:
    """Be the pace for a server that has no turns: let it run, if there is a core for it."""
    for _ in range(5):
        os.sched_yield()


def read_responses(octets: bytes, methods: Sequence[str]) -> tuple[list[Response], bytes]:
    """Return the final responses that are whole, and what is left.

    Args:
        octets: from the beginning of a connection.
        methods: of the requests; "" for one that is not known, or of which there is none.
    """
    responses: list[Response] = []
    while octets:
        method = methods[len(responses)] if len(responses) < len(methods) else ""
        is_interim = octets.startswith(b"HTTP/1.1 1")
        try:
            response, octets = parse_response(octets, is_head=method == "HEAD" and not is_interim)
        except AssertionError:
            break
        if response.status >= 200:
            responses.append(response)
    return responses, octets
