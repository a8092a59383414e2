"""How a client takes what it is sent, as the kernel tells it."""

import math
import socket
import ssl

import pytest

from pyfork.config.schema import HttpSettings
from pyfork.connection import uptake
from pyfork.connection.patience import STALL_PATIENCE, Delivery, Lag
from pyfork.connection.tls import TlsSocket
from pyfork.connection.uptake import Uptake, delivery_to
from tests.harness import wait_until

HTTP = HttpSettings(write_timeout=30, min_write_rate=100)
IS_LINUX = uptake.sys.platform == "linux"


class Kernel:
    """What it says of a connection."""

    def __init__(self, monkeypatch):
        self.unsent = 100_000
        self.delivery = None
        monkeypatch.setattr(uptake, "octets_unsent", lambda _: self.unsent)
        monkeypatch.setattr(uptake, "delivery_to", lambda _: self.delivery)

    def take(self, octets, *, is_stalled, quiet):
        """Have the client take some."""
        self.unsent -= octets
        self.delivery = Delivery(100_000 - self.unsent, is_stalled, quiet)


@pytest.fixture
def kernel(monkeypatch):
    """Of a client that has taken nothing."""
    return Kernel(monkeypatch)


def test_a_response_is_looked_at_after_its_time(kernel):
    """The client has taken as much as it should, or is broken off."""
    taking = Uptake(None, HTTP, 1000.0)
    assert taking.deadline == 1030.0
    kernel.unsent -= 2999
    assert str(taking.shortfall(30)) == "the client took only 2999 octets for 30 s"
    kernel.unsent -= 1
    assert taking.shortfall(30) is None


def test_whoever_takes_enough_is_looked_at_anew(kernel):
    """From now on if octets are on their way."""
    taking = Uptake(None, HTTP, 1000.0)
    kernel.take(5000, is_stalled=False, quiet=0.1)
    assert taking.lag(1002.0) is None
    assert (taking.since, taking.deadline) == (1002.0, 1032.0)
    assert taking.lag(1006.999) is None
    assert taking.since == 1002.0, "it has taken nothing since"
    assert taking.lag(1007.0) == Lag(True, 5000, 5.0, 0)


def test_a_window_that_has_closed_is_looked_at_from_when_it_took_the_last(kernel):
    """So that no time is lost between two looks."""
    taking = Uptake(None, HTTP, 1000.0)
    kernel.take(100, is_stalled=True, quiet=0.25)
    assert taking.lag(1000.5) is None
    assert taking.since == 1000.25
    kernel.take(0, is_stalled=True, quiet=0.625)
    assert taking.lag(1000.875) == Lag(False, 100, 0.625, 0)


def test_a_long_silence_before_the_response_does_not_count(kernel):
    """The kernel counts from the last octet of the one before."""
    taking = Uptake(None, HTTP, 1000.0)
    kernel.take(60, is_stalled=True, quiet=50.0)
    assert taking.lag(1000.25) is None
    assert taking.since == 1000.0
    assert taking.lag(1000.0 + STALL_PATIENCE + 0.25) is not None


@pytest.mark.skipif(not IS_LINUX, reason="struct tcp_info is Linux's")
def test_a_kernel_says_that_a_window_is_closed():
    """What a client that reads nothing has taken, for how long it has taken nothing, and that it reads again."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.setblocking(False)
            sent = server.send(bytes(1_000_000))
            delivery = wait_until(lambda: has_stalled(server), "its window is closed")
            assert 0 < delivery.acknowledged < 10_000
            assert delivery.quiet < 5
            later = wait_until(lambda: has_stalled(server, delivery.quiet + 0.05), "time passes")
            assert later.acknowledged == delivery.acknowledged
            client.settimeout(10)
            for _ in range(20):
                client.recv(4096)
            assert delivery_to(server).acknowledged > delivery.acknowledged
            assert delivery_to(server).quiet < later.quiet
            assert sent > 100_000


def has_stalled(server, quiet=-math.inf):
    delivery = delivery_to(server)
    return delivery if delivery.is_stalled and delivery.quiet >= quiet else None


def test_nothing_is_known_of_a_unix_socket():
    """Its kernel keeps no such account."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert delivery_to(ours) is None


@pytest.mark.parametrize(("platform", "octets"), [("darwin", 148), ("linux", 104)])
def test_nothing_is_known_where_the_kernel_does_not_say(monkeypatch, platform, octets):
    """Another system, and an old Linux, whose account is shorter."""

    class Sock:
        family = socket.AF_INET

        def getsockopt(self, *_):
            return bytes(octets)

    monkeypatch.setattr(uptake.sys, "platform", platform)
    assert delivery_to(Sock()) is None


@pytest.mark.skipif(not IS_LINUX, reason="struct tcp_info is Linux's")
def test_what_stands_for_a_socket_is_asked_like_one():
    """Encrypted octets are on their way, or are not, as any others."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            encrypted = TlsSocket(server, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            delivery = delivery_to(encrypted)
            assert (delivery.acknowledged, delivery.is_stalled) == (0, False)
