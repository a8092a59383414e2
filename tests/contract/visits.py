"""A connection whose client follows a script: the blocking shell on one side of a real socket pair.

The client's next move is made whenever the shell waits. So nothing here depends on time.
"""

import socket

from pyfork.config.schema import HttpSettings
from pyfork.connection.blocking import BlockingConnection
from pyfork.connection.context import ConnectionContext, WallClock
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

    def __init__(self, application, *moves, family=socket.AF_UNIX, limits=None, **context):
        self.server, self.client = self._connect(family)
        self.client.setblocking(False)
        self.moves = list(moves)
        self.waits = []
        self.received = b""
        self.is_reset = False
        self.progress = Progress()
        self.access = AccessLog()
        self.outcome = None
        self.context = ConnectionContext(
            application=application,
            http=HttpSettings(header_timeout=7, body_timeout=8, write_timeout=9),
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
            **{"access_log": self.access, "clock": WallClock(lambda: 0.0), **context},
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
                self.received += data
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.is_reset = True
        self.is_ended = True

    is_ended = False

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
