"""What an ordinary request costs in system calls, and what the kernel may answer at odd moments."""

import pytest

from pyfork.connection.context import READABLE, Persistence
from pyfork.connection.host import Phase
from pyfork.connection.nonblocking import NonblockingConnection
from tests.unit.connection.fakes import FakeSocket, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


class Host:
    """Runs the application in line, and counts what it is asked for."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append(name)

    def start(self, connection):
        connection.run()
        return connection.settle()


def connect(*receives, sends=(), application=hello):
    host = Host()
    context = make_context(application, persistence=Persistence(is_allowed=True))
    return NonblockingConnection(FakeSocket(*receives, sends=sends), None, context, host), host


def test_a_request_costs_two_calls():
    """And none of the poller's."""
    connection, host = connect(GET, GET)
    connection.on_event(READABLE)
    connection.on_event(READABLE)
    assert connection.sock.calls == ["setblocking", "recv", "send", "recv", "send"]
    assert host.calls == []
    assert connection.phase is Phase.READING


def test_an_event_for_nothing_is_forgotten():
    """It was the descriptor's last owner's."""
    connection, host = connect(None)
    connection.on_event(READABLE)
    assert connection.phase is Phase.READING
    assert host.calls == []


def test_a_client_that_has_gone_is_let_go():
    """The worker is told while the socket is open."""
    connection, host = connect(ConnectionResetError(104, "Connection reset by peer"))
    connection.on_event(READABLE)
    assert connection.phase is Phase.ENDED
    assert host.calls == ["forget"]
    assert connection.sock.calls[-1] == "close"


def test_an_event_behind_the_end_is_forgotten():
    """Nothing happens to what is not ours."""
    connection, host = connect(b"")
    connection.on_event(READABLE)
    connection.on_event(READABLE)
    connection.on_deadline(0.0)
    assert host.calls == ["forget"]


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), None])
def test_a_written_block_that_is_not_taken(error):
    """By a client that has gone, the application hears of it; by a slow one, it does not."""
    seen = []

    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "2")])
        for octet in (b"a", b"b"):
            try:
                write(octet)
            except OSError as failure:
                seen.append(failure)
                raise
        return []

    connection, _ = connect(GET, sends=[error, None], application=application)
    connection.on_event(READABLE)
    assert len(seen) == (error is not None)
    assert connection.phase is (Phase.ENDED if error else Phase.SENDING)
    connection.abandon()


def test_a_100_that_cannot_be_sent_is_left():
    """The next read says why."""
    octets = GET[:-2] + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    connection, _ = connect(octets, sends=[BrokenPipeError(32, "Broken pipe")])
    connection.on_event(READABLE)
    assert connection.phase is Phase.BODY
    connection.abandon()
