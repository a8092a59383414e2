"""How a connection ends."""

import socket

import pytest

from pyfork.connection import ending
from pyfork.connection.ending import close_well, may_close_destroy, reset, shut_down
from pyfork.connection.sending import LayeredSocket
from tests.unit.connection.fakes import FakeSocket


@pytest.mark.parametrize(
    ("received", "family", "unsent", "expected"),
    [
        (b"x", socket.AF_INET, 0, True),
        (b"", socket.AF_INET, 9, False),
        (None, socket.AF_INET, 9, True),
        (None, socket.AF_INET, 0, False),
        (None, socket.AF_UNIX, 9, False),
        (ConnectionResetError(104, "Reset"), socket.AF_INET, 9, False),
    ],
)
def test_what_a_close_would_destroy(monkeypatch, received, family, unsent, expected):
    """The answer: if octets are unread, or if it is on its way and they may still come."""
    monkeypatch.setattr(ending, "octets_unsent", lambda _: unsent)
    sock = FakeSocket(received)
    sock.family = family
    assert may_close_destroy(sock) is expected


def test_who_has_gone_cannot_be_shut_down():
    """There is nobody to linger for."""

    class Gone(FakeSocket):
        def shutdown(self, how):
            raise OSError(107, "Transport endpoint is not connected")

    assert shut_down(FakeSocket())
    assert not shut_down(Gone())


def test_a_reset_closes():
    """With SO_LINGER at 0 s."""
    sock = FakeSocket()
    reset(sock)
    assert sock.calls == ["setsockopt", "close"]


def test_a_good_end_is_said_where_there_is_a_word_for_it():
    """TLS has one; a client that has gone does not hear it. A plain socket is just closed."""

    class Layered(LayeredSocket, FakeSocket):
        pass

    class Gone(Layered):
        def shutdown(self, how):
            self.calls.append("shutdown")
            raise OSError(107, "Transport endpoint is not connected")

    for kind, calls in ((FakeSocket, ["close"]), (Layered, ["shutdown", "close"]), (Gone, ["shutdown", "close"])):
        sock = kind()
        close_well(sock)
        assert sock.calls == calls
