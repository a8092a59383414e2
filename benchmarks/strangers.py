"""Strangers: a process that does full TLS handshakes beside what is measured, at a rate, when it is told to.

It is started once for each server and told by its stdin: starting takes Python half a second, which would be spent in
every stretch. A line is a rate; any further line ends the stretch, and is answered by the number of handshakes.

- They come as strangers do: each by itself, at moments that have nothing to do with one another (a Poisson process), so
  that now and then some come at once. The moments are the same for each server and each stretch of the same number.
- A handshake is over when the server has said its last word, the session tickets (TLS 1.3): a client that left before
  would spare it a part of the work. Then the connection is reset, as the ports would run out otherwise.
- They have what nobody else wants of their core (SCHED_IDLE): who is timed there never waits for them.
"""

import contextlib
import os
import random
import select
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from probes import make_context

MOST_AT_ONCE = 64
"""Handshakes that have begun and are not over; more do not begin until one is."""
ORDERS = 0
"""The descriptor of stdin."""
_RESET = struct.pack("ii", 1, 0)


class Strangers:
    """The process, as seen by who starts it; it ends with the ``with`` block.

    Args:
        port: of the server on loopback.
    """

    def __init__(self, port: int) -> None:
        command = [sys.executable, __file__, str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._say = self._process.stdin
        self._answers = self._process.stdout
        self._hear()  # it is up

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, and wait for it."""
        with self._process:  # closes the pipes
            self._process.terminate()

    def begin(self, rate: float) -> None:
        """Have so many handshakes begin in a second, from now on."""
        print(rate, file=self._say)

    def end(self) -> int:
        """Have no more begin; return how many are over since `begin`."""
        print(file=self._say)
        return self._hear()

    def _hear(self) -> int:
        line = self._answers.readline() if self._answers else ""
        if not line:
            raise OSError("the process of strangers has ended")
        return int(line)


def moments(rate: float, seed: int) -> Iterator[float]:
    """Yield when strangers come, in seconds from the beginning, without end."""
    chance = random.Random(seed)
    moment = 0.0
    while True:
        moment += chance.expovariate(rate)
        yield moment


class Handshake:
    """One of them: begun at once, and gone on with whenever the server has sent something.

    Args:
        port: of the server.
        context: the client's.

    Raises:
        OSError: there is no connection to be had.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        plain.setblocking(False)
        self._tls = context.wrap_socket(plain, do_handshake_on_connect=False)
        self._is_ours_over = False
        self.advance()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._tls.fileno()

    def advance(self) -> bool:
        """Go on; return whether it is over, on both sides.

        Raises:
            OSError: it has failed.
        """
        try:
            if not self._is_ours_over:
                self._tls.do_handshake()
                self._is_ours_over = True
                return self._tls.version() != "TLSv1.3"  # in older ones the server's last word is before ours
            if not self._tls.recv(1):
                raise ConnectionAbortedError("the server has closed the connection")
        except ssl.SSLWantReadError:
            return self._is_ours_over  # tickets are not data: there is nothing else to read
        return True

    def close(self) -> None:
        """Reset the connection."""
        self._tls.close()


def run(port: int, context: ssl.SSLContext, rate: float, seed: int) -> int:
    """Do handshakes until a line comes; return how many are over."""
    began = time.monotonic()
    coming = moments(rate, seed)
    due = began + next(coming)
    under_way: set[Handshake] = set()
    done = 0
    is_told = False
    while not is_told:
        has_room = len(under_way) < MOST_AT_ONCE
        patience = max(0.0, due - time.monotonic()) if has_room else None
        ready, _, _ = select.select([ORDERS, *under_way], (), (), patience)  # its patience is not in milliseconds
        for each in ready:
            if each is ORDERS:
                is_told = True
                continue
            is_over = False
            with contextlib.suppress(OSError):
                if not each.advance():
                    continue
                is_over = True
            done += is_over
            under_way.remove(each)
            each.close()
        if has_room and time.monotonic() >= due:
            due = began + next(coming)
            with contextlib.suppress(OSError):
                under_way.add(Handshake(port, context))
    for each in under_way:
        each.close()
    return done


def main() -> int:
    """Be the process of strangers."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    port, context = int(sys.argv[1]), make_context()
    print(0, flush=True)
    stretch = 0
    with open(ORDERS, "rb", buffering=0) as orders:  # nothing is read ahead: `run` waits for the descriptor
        while line := orders.readline():
            print(run(port, context, float(line), stretch), flush=True)
            orders.readline()  # what ended it
            stretch += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
