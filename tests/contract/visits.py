"""A connection whose client follows a script: one of the shells on one side of a real socket pair.

The client's next move is made whenever the shell waits. So nothing here depends on time.
"""

import contextlib
import math
import os
import select
import socket

from pyfork.config.schema import HttpSettings
from pyfork.connection.answer import Answer
from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import ConnectionContext, WallClock
from pyfork.connection.host import Phase
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.gateway.environ import base_environ
from pyfork.gateway.errors import ErrorStream
from pyfork.http1.limits import Limits

PLAIN = [("Content-Type", "text/plain")]
PEER = ("192.0.2.7", 51234)


class Progress:
    """Records what the worker is told, in order; knows whether the application's time runs."""

    def __init__(self):
        self.told = []
        self.is_inside = False

    def begin_request(self, method, path):
        self.told.append(("begin", method, path))

    def enter_application(self):
        self.is_inside = True
        self.told.append("enter")

    def leave_application(self):
        self.is_inside = False
        self.told.append("leave")

    def end_request(self, octets, *, is_error):
        self.is_inside = False
        self.told.append(("end", octets, is_error))


class AccessLog(list):
    """Keeps the records."""

    log = list.append


class Visit:
    """One connection: the shell on one side, a scripted client on the other."""

    def __init__(self, application, *moves, family=socket.AF_UNIX, limits=None, keep_alive=5, min_rate=240, **context):
        self.server, self.client = self._connect(family)
        self.client.setblocking(False)
        self.moves = list(moves)
        self.waits = []
        self._received = bytearray()  # bytes would be copied with each piece
        self.is_reset = False
        self.progress = Progress()
        self.access = AccessLog()
        self.outcome = None
        self.context = ConnectionContext(
            application=application,
            http=HttpSettings(
                keep_alive=keep_alive,
                header_timeout=7,
                body_timeout=8,
                min_body_rate=min_rate,
                write_timeout=9,
                min_write_rate=min_rate,
            ),
            limits=limits or Limits(),
            base_environ=base_environ(
                server_name="127.0.0.1",
                server_port="8000",
                errors=ErrorStream(),
                is_multithread=False,
                is_multiprocess=True,
            ),
            wait=self.wait,
            make_progress=lambda: self.progress,
            **{"make_answer": Answer, "access_log": self.access, "clock": WallClock(lambda: 0.0), **context},
        )

    @staticmethod
    def _connect(family):
        if family == socket.AF_UNIX:
            return socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            return listener.accept()[0], client

    def wait(self, connection, events, deadline):
        """Make the client's next move; False, the deadline, when it has none, or when the move says so."""
        assert connection is self.server
        assert not self.progress.is_inside, "the application's time runs while the client is waited for"
        self.waits.append(events)
        if not self.moves:
            return False
        move = self.moves.pop(0)
        if move is None:
            return False
        if isinstance(move, bytes):
            self.client.sendall(move)
        elif callable(move):
            return move(self) is not False
        return True

    def take(self):
        """Receive what there is."""
        try:
            while data := self.client.recv(1 << 20):
                self._received += data
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.is_reset = True
        self.is_ended = True

    is_ended = False

    @property
    def received(self):
        """What the client has received."""
        return bytes(self._received)

    @received.setter
    def received(self, octets):
        self._received = bytearray(octets)

    def serve(self):
        """Let the shell serve; take what it sends."""
        try:
            self.outcome = BlockingConnection(self.server, PEER, self.context).serve()
        finally:
            self.client.settimeout(30)  # for its end, which the shell has sent
            self.take()
        return self

    def close(self):
        self.client.close()
        self.server.close()

    @property
    def status(self):
        return int(self.received.split(b" ", 2)[1])

    @property
    def head(self):
        return self.received.partition(b"\r\n\r\n")[0]

    @property
    def body(self):
        return self.received.partition(b"\r\n\r\n")[2]


class LoopVisit(Visit):
    """The same with the non-blocking shell: the visit is its host, and a loop with one connection in it.

    A client's move is due when nothing is readable or writable, and nothing is left to do.
    """

    WAYS = ("at once", "held", "on a thread")
    """How the application runs: in line, in line with its response held to the end of the turn, or apart."""
    way = "at once"
    batch_until = math.inf

    def __init__(self, application, *moves, **context):
        super().__init__(application, *moves, **context)
        self.turns = 0
        self.started = []
        self.sooner = []
        self.is_forgotten = False
        self.registrations = []
        self.connection = NonblockingConnection(self.server, PEER, self.context, self)

    # What a worker does for its connections.

    def watch(self, connection, events):
        assert connection is self.connection
        assert events != connection.watched, "a system call for nothing"
        connection.watched = events
        self.registrations.append(events)

    def start(self, connection):
        if self.way == "at once":
            connection.run()
            return connection.settle()
        if self.way == "held":
            if not connection.run(may_hold=True):
                return connection.settle()
            self.started.append(connection.send_held)
        else:
            self.started.append(self._run)
        return False

    def _run(self):
        self.connection.run()
        if self.connection.settle():
            self.connection.resume()

    def soon(self, connection):
        self.sooner.append(connection)

    def forget(self, connection):
        assert not self.is_forgotten
        self.is_forgotten = True
        self.outcome = Outcome.CLOSED

    def linger(self, sock):
        assert self.is_forgotten
        self.outcome = Outcome.LINGER

    # The loop.

    def serve(self):
        while not self.is_forgotten:
            self.turn()
        self.client.settimeout(30)
        self.take()
        assert self.connection.phase is Phase.ENDED
        assert (self.outcome is Outcome.CLOSED) == (self.server.fileno() == -1)
        return self

    def turn(self):
        """Deal with what has come, and with what was put off; if there is neither, let the client move."""
        self.turns += 1
        assert self.turns < 10_000, "the loop spins"
        sooner, self.sooner = self.sooner, []
        events = self.reported()
        if events:
            self.connection.on_event(events)
        started, self.started = self.started, []
        for go_on in started:
            go_on()
        for connection in sooner:
            connection.resume()
        if not (events or started or sooner or self.is_forgotten) and not self.wait(
            self.server, self.connection.watched, self.connection.deadline
        ):
            self.connection.on_deadline(self.connection.deadline)

    def reported(self):
        """Return what the kernel reports now."""
        if not self.connection.watched:
            return 0
        poll = select.poll()
        poll.register(self.server, self.connection.watched)
        return dict(poll.poll(0)).get(self.server.fileno(), 0)


def open_descriptors():
    """Return what this process has open: descriptors with what they are of."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found


def get(target="/", headers="", method="GET", version="1.1"):
    return f"{method} {target} HTTP/{version}\r\nHost: a\r\n{headers}\r\n".encode()


def post(body=b"", headers="", length=None, target="/"):
    length = len(body) if length is None else length
    return get(target, f"Content-Length: {length}\r\n{headers}", "POST") + body


def returning(*blocks, headers=(), status="200 OK"):
    def application(environ, start_response):
        start_response(status, [*PLAIN, *headers])
        return list(blocks)

    return application


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [body]
