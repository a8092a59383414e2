"""What an ordinary request costs in system calls, and how the socket is left; the rest is in tests/contract."""

import socket

import pytest

from pyfork.connection import ending
from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.errors import QuitNow
from tests.unit.connection.fakes import FakeSocket, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


def test_a_request_that_is_there_costs_five_calls():
    """Nobody waits, head and body are sent together, and what came meanwhile is looked for."""
    sock, context = FakeSocket(GET), make_context(hello)
    assert BlockingConnection(sock, ("192.0.2.7", 1), context).serve() is Outcome.CLOSED
    assert sock.calls == ["setblocking", "recv", "send", "recv", "close"]
    assert context.make_progress().told == ["begin", "enter", "end"]


def test_a_client_that_says_close_costs_four():
    """It will not send any more."""
    sock = FakeSocket(GET[:-2] + b"Connection: close\r\n\r\n")
    assert BlockingConnection(sock, ("192.0.2.7", 1), make_context(hello)).serve() is Outcome.CLOSED
    assert sock.calls == ["setblocking", "recv", "send", "close"]


@pytest.mark.parametrize(
    ("family", "unsent", "outcome"),
    [
        (socket.AF_INET, 0, Outcome.CLOSED),
        (socket.AF_INET6, 1, Outcome.LINGER),
        (socket.AF_UNIX, 1, Outcome.CLOSED),
    ],
)
def test_an_answer_that_is_on_its_way_is_lingered_for(monkeypatch, family, unsent, outcome):
    """A reset would destroy it; a unix socket delivers it in any case."""
    monkeypatch.setattr(ending, "octets_unsent", lambda sock: unsent)
    sock = FakeSocket(GET, None)
    sock.family = family
    assert BlockingConnection(sock, "", make_context(hello)).serve() is outcome


def test_a_client_that_has_reset_is_not_lingered_for():
    """There is nobody left to hear the answer."""
    sock = FakeSocket(GET, ConnectionResetError(104, "Reset"))
    assert BlockingConnection(sock, "", make_context(hello)).serve() is Outcome.CLOSED


def test_a_lingering_socket_is_shut_down_and_left_open():
    """It is the worker's then."""
    sock = FakeSocket(GET + GET)
    assert BlockingConnection(sock, "", make_context(hello)).serve() is Outcome.LINGER
    assert sock.calls == ["setblocking", "recv", "send", "shutdown"]


def test_a_socket_that_cannot_be_shut_down_is_closed():
    """The client has reset the connection in the meantime."""

    class Reset(FakeSocket):
        def shutdown(self, how):
            raise OSError(107, "Transport endpoint is not connected")

    sock = Reset(GET + GET)
    assert BlockingConnection(sock, "", make_context(hello)).serve() is Outcome.CLOSED
    assert sock.calls[-1] == "close"


@pytest.mark.parametrize("waits", [[False], [True, False]])
def test_a_silent_client_costs_no_answer(waits):
    """Its wait ends at the deadline, whatever it was woken for before."""
    sock = FakeSocket(*[None] * 2)
    assert BlockingConnection(sock, "", make_context(hello, waits=waits)).serve() is Outcome.CLOSED
    assert sock.sent == b""
    assert sock.calls[-1] == "close"


def test_a_wait_that_is_cut_off_leaves_nothing_open():
    """SIGQUIT comes while the client is waited for."""

    def wait(connection, events, deadline):
        raise QuitNow

    sock = FakeSocket(None)
    context = make_context(hello)
    object.__setattr__(context, "wait", wait)
    with pytest.raises(QuitNow):
        BlockingConnection(sock, "", context).serve()
    assert sock.calls == ["setblocking", "recv", "close"]
