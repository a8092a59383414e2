"""What a connection is given by its worker: the application, the deadlines, and the ways to wait and to tell.

Nothing here crosses the fork: the worker makes it when the application is loaded, one context for each listener.
"""

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pyfork.config.schema import HttpSettings
from pyfork.gateway.environ import Environ
from pyfork.gateway.forwarded import NOBODY, TrustedProxies
from pyfork.gateway.peers import NO_PEERS, Peers
from pyfork.gateway.wsgi import WsgiApplication
from pyfork.http1.limits import Limits
from pyfork.http1.response import http_date
from pyfork.log.record import AccessRecord

if TYPE_CHECKING:
    from pyfork.connection.answer import Answer
    from pyfork.connection.certificates import Certificates
    from pyfork.gateway.input import InputStream
    from pyfork.gateway.wsgi import Write
    from pyfork.http1.request import Request
    from pyfork.http1.response import ResponseEncoder

MakeAnswer: TypeAlias = "Callable[[Line, Request, InputStream, ResponseEncoder, Write], Answer]"
"""Makes what answers one request: `pyfork.connection.answer.Answer`, or what adds hooks to that."""

READABLE = select.POLLIN
"""What `Wait` is asked for: octets, or the end, have come."""
WRITABLE = select.POLLOUT
"""What `Wait` is asked for: the socket takes octets."""


class Wait(Protocol):
    """How this worker type waits for a client."""

    def __call__(self, connection: socket, events: int, deadline: float, /) -> bool:
        """Return True once ``events`` came true, or False at ``deadline`` (monotonic seconds); beat meanwhile."""


class Progress(Protocol):
    """Where a worker tells what it is doing; `pyfork.ipc.scoreboard.Slot` is one. No method may raise or block."""

    def begin_request(self, method: str, path: bytes) -> None:
        """A request's head is complete."""

    def enter_application(self) -> None:
        """A stretch inside the application begins, or begins anew: ``timeout`` counts from here."""

    def leave_application(self) -> None:
        """The stretch ends: the worker waits for its client."""

    def end_request(self, octets: int, *, is_error: bool) -> None:
        """The request has been answered with a body of ``octets``, or given up."""


class AccessSink(Protocol):
    """Who wants to know of each answered request; `pyfork.log.access.AccessLog` is one."""

    def log(self, record: AccessRecord) -> None:
        """Take one record; must not raise."""

    def gather(self) -> None:
        """Let what this thread logs from now on wait for `flush`: the caller neither waits nor runs an application."""

    def flush(self) -> None:
        """Write what waits."""


class WallClock:
    """The time of day, and the Date line made of it once a second (RFC 9110, section 6.6.1); deadlines never use it.

    Args:
        seconds: returns seconds since the epoch.

    Attributes:
        latest: what `date` returned last; a loop calls that in each of its turns.
    """

    __slots__ = ("_second", "latest", "seconds")

    def __init__(self, seconds: Callable[[], float] = time.time) -> None:  # noqa: TID251 (for people, not for deadlines)
        self.seconds = seconds
        self._second = -1
        self.latest = b""
        self.date()

    def date(self) -> bytes:
        """Return the value of the Date field for now; it is the `latest` from then on."""
        second = int(self.seconds())
        if second != self._second:
            self._second = second
            self.latest = http_date(second)
        return self.latest


def cannot_wait(_connection: socket, _events: int, _deadline: float, /) -> bool:
    """Be the `Wait` of workers whose loop waits for all of their connections."""
    raise AssertionError("nobody waits for one connection here")


def keep_going() -> None:
    """Be the ``give_way`` and ``step_aside`` of workers that have nobody to give way to."""


@dataclass(slots=True)
class Persistence:
    """Whether connections persist (RFC 9112, section 9.3): one for all of a worker, which changes it when it drains.

    Attributes:
        is_allowed: a response may leave its connection open for another request.
        is_retiring: it was, and is not any more: the worker is to end. What has come by then is still answered.
    """

    is_allowed: bool
    is_retiring: bool = False

    def end(self) -> None:
        """Let each connection end with its next response."""
        self.is_retiring |= self.is_allowed
        self.is_allowed = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionContext:
    """What all connections of one listener share, in one worker.

    Attributes:
        application: what answers the requests.
        make_answer: how each request is answered: the class `Answer`, unless there are hooks to be called.
        http: the deadlines.
        limits: of a request.
        base_environ: from `pyfork.gateway.environ.base_environ`.
        wait: how to wait for a client, in the blocking shell; where there is a loop, that waits.
        make_progress: makes the place where one connection tells what happens; called once for each.
        give_way: called by the blocking shell between the blocks of a body or a response, in case the worker has others
            to serve; may take as long as they do.
        step_aside: called by the blocking shell before a step of a handshake: all others go first.
        access_log: None when nobody wants to know.
        certificates: None where the listener does not speak TLS.
        proxies: the peers whose word on the client counts.
        proxy_protocol: "off", or the versions of the PROXY protocol by which connections begin.
        introducers: the peers that may send its header.
        persistence: whether a connection may go on to a next request.
        warned_fields: hop-by-hop names that the application was warned of: once for each worker, so its contexts
            share one set.
        clock: the wall clock; shared too.
        pid: the worker's; in a process that the application forks, os.getpid() is another.
    """

    application: WsgiApplication
    make_answer: MakeAnswer
    http: HttpSettings
    limits: Limits
    base_environ: Environ
    make_progress: Callable[[], Progress]
    wait: Wait = cannot_wait
    give_way: Callable[[], None] = keep_going
    step_aside: Callable[[], None] = keep_going
    access_log: AccessSink | None = None
    certificates: "Certificates | None" = None
    proxies: TrustedProxies = NOBODY
    proxy_protocol: str = "off"
    introducers: Peers = NO_PEERS
    persistence: Persistence = field(default_factory=lambda: Persistence(is_allowed=False))
    warned_fields: set[str] = field(default_factory=set)
    clock: WallClock = field(default_factory=WallClock)
    pid: int = field(default_factory=os.getpid)


class Line:
    """One client's connection, as whatever concerns it is told of it.

    Attributes:
        sock: non-blocking.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener.
        progress: this connection's.
    """

    __slots__ = ("context", "peer", "progress", "sock")

    def __init__(self, sock: socket, peer: Any, context: ConnectionContext) -> None:
        self.sock = sock
        self.peer = peer
        self.context = context
        self.progress = context.make_progress()

    @property
    def remote(self) -> str:
        """The client's address, "" for a unix socket."""
        peer = self.peer
        return peer[0] if peer.__class__ is tuple else ""
