"""Clients that ask for hello over TLS at a steady pace, each on a connection of its own that it keeps."""

import gc
import math
import select
import socket
import ssl
import time
from collections.abc import Sequence

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"Hello, world!\n"
PATIENCE_SECONDS = 10


class ProbeError(Exception):
    """A client did not get its answer; the message says why."""


def make_context() -> ssl.SSLContext:
    """Return that of a client which trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One of them, who has one request under way at most.

    Args:
        port: of the server on loopback.

    Raises:
        OSError: there is no connection to be had.

    Attributes:
        due: when it wants to ask next (monotonic seconds).
        since: from when on it has waited for the answer that is under way; None if there is none.
        freed: when the last answer came.
    """

    def __init__(self, port: int) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = make_context().wrap_socket(plain)
        self._octets = b""
        self.due = self.freed = 0.0
        self.since: float | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._tls.fileno()

    def ask(self, since: float) -> None:
        """Send a request.

        Args:
            since: from when on it has waited.
        """
        self.since = since
        self._tls.sendall(REQUEST)

    def hear(self) -> bool:
        """Take what has come; return whether that is all of the answer.

        Raises:
            ProbeError: the connection was closed.
        """
        try:
            piece = self._tls.recv(4096)
        except ssl.SSLWantReadError:
            return False
        if not piece:
            raise ProbeError("a kept connection was closed")
        self._octets += piece
        if not self._octets.endswith(ANSWER):
            return False
        self._octets = b""
        return True

    def check(self) -> None:
        """Ask once and wait for the answer; from then on nothing waits here.

        Raises:
            OSError: it does not come in time, or not at all.
            ProbeError: the connection was closed.
        """
        self.ask(0.0)
        while not self.hear():
            pass
        self.since = None
        self._tls.setblocking(False)

    def close(self) -> None:
        """Close the connection."""
        self._tls.close()


def ask_steadily(clients: Sequence[Client], rate: float, seconds: float) -> list[float]:
    """Have each ask when it is its turn, whatever becomes of the others; return how long each answer took.

    Args:
        clients: whom `Client.check` was called of.
        rate: requests a second, over all clients.
        seconds: how long.

    Raises:
        ProbeError: a connection was closed, or somebody waits for too long.
    """
    gc.disable()  # a pause would be the client's
    try:
        return _ask_steadily(clients, rate, seconds)
    finally:
        gc.enable()


def _ask_steadily(clients: Sequence[Client], rate: float, seconds: float) -> list[float]:
    latencies = []
    woken = time.monotonic()
    ends = woken + seconds
    for number, client in enumerate(clients):
        client.due = woken + number / rate
    while True:
        waiting = [client for client in clients if client.since is not None]
        next_due = min((client.due for client in clients if client.since is None), default=math.inf)
        if not waiting and next_due >= ends:
            return latencies
        patience = max(0.0, next_due - time.monotonic()) if next_due < ends else PATIENCE_SECONDS
        ready, _, _ = select.select(waiting, (), (), patience)  # its patience is not in milliseconds
        woken = time.monotonic()
        if waiting and not ready and woken - min(client.since for client in waiting) > PATIENCE_SECONDS:
            raise ProbeError(f"no answer within {PATIENCE_SECONDS} s")
        for client in ready:
            if client.hear():
                client.freed = time.monotonic()
                latencies.append(client.freed - client.since)
                client.since = None
        for client in clients:
            if client.since is None and client.due <= min(woken, ends):
                client.ask(waits_since(client.due, client.freed, woken))
                client.due += len(clients) / rate


def waits_since(due: float, freed: float, woken: float) -> float:
    """Return from when on a client waits for an answer that it asks for now.

    From when it was due, if the answer before has kept it from asking then: one slow answer makes all those late that
    are due meanwhile, and to count it alone would be "coordinated omission". But a client that was merely woken late by
    its clock has waited for nobody before that.

    Args:
        due: when it wanted to ask.
        freed: when the answer before came.
        woken: when this process looked at the clock.
    """
    return due if freed > due else max(due, woken)
