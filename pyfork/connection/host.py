"""What the non-blocking shell and the worker know of each other: the phases of a connection, and what it asks for."""

from enum import Enum
from socket import socket
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the other half of the circle
    from pyfork.connection.introduction import Introduction
    from pyfork.connection.nonblocking import NonblockingConnection
    from pyfork.connection.opening import Opening

Watched: TypeAlias = "NonblockingConnection | Opening | Introduction"
"""What a worker with a loop has for each descriptor of a connection."""

MOST_IN_A_ROW = 16
"""Pipelined requests, and blocks of a response, for one client before the others have their turn."""
MOST_OWED = 64
"""Pipelined requests of one client that a worker still answers when it is to end."""
FIRST_PATIENCE = 1.0
"""Seconds that a client has, also when others wait, to begin its first request: it was let in to do so."""
MOST_HELD = 64 * 1024
"""Octets of a response that may wait for the others of the same turn."""


class Phase(Enum):
    """What the connection is at; see the head of `pyfork.connection.nonblocking`."""

    READING = "a head is awaited"
    BODY = "a body is awaited"
    RUNNING = "the application has it"
    SENDING = "the client does not take what is there"
    ENDED = "it is not ours any more"


class Host(Protocol):
    """The worker, as its connections see it; all of it is called in the loop's thread.

    Attributes:
        batch_until: when others are to have their turn (monotonic seconds).
    """

    batch_until: float

    def watch(self, connection: Watched, events: int) -> None:
        """Report these events of the connection from now on, none at all when 0; set its ``watched``."""

    def start(self, connection: "NonblockingConnection") -> bool:
        """Have ``connection.run()`` called. In line: return what ``connection.settle()`` returns then; else False."""

    def soon(self, connection: "NonblockingConnection") -> None:
        """Call ``connection.resume()`` in the loop's next turn."""

    def forget(self, connection: Watched) -> None:
        """The connection has ended; its socket is still open."""

    def linger(self, sock: socket) -> None:
        """Read and forget what comes, and close the socket at its end; its writing side is shut down."""
