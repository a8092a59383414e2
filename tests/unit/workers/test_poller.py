"""What a loop waits in: the same answers from epoll and from ``selectors``."""

import select
import socket

import pytest

from pyfork.connection.context import READABLE, WRITABLE
from pyfork.workers.poller import SelectorPoller, make_poller


@pytest.fixture(params=[make_poller, SelectorPoller])
def poller(request):
    """Each of them."""
    made = request.param()
    yield made
    made.close()


def test_it_reports_what_it_is_asked_for(poller):
    """The bits are epoll's; what was taken out is not reported."""
    left, right = socket.socketpair()
    with left, right:
        fd = left.fileno()
        poller.register(fd, READABLE)
        assert poller.poll(0) == []
        right.send(b"x")
        assert poller.poll(1) == [(fd, READABLE)]
        poller.modify(fd, READABLE | WRITABLE)
        assert poller.poll(1) == [(fd, READABLE | WRITABLE)]
        poller.modify(fd, WRITABLE)
        assert poller.poll(1) == [(fd, WRITABLE)]
        poller.unregister(fd)
        assert poller.poll(0) == []


def test_an_end_is_readable(poller):
    """Whatever else epoll has to say of it."""
    left, right = socket.socketpair()
    with left:
        poller.register(left.fileno(), READABLE)
        right.close()
        ((fd, events),) = poller.poll(1)
        assert fd == left.fileno()
        assert events & READABLE


def test_bits_that_selectors_do_not_know_are_left_out():
    """EPOLLEXCLUSIVE is epoll's alone."""
    poller = SelectorPoller()
    left, right = socket.socketpair()
    with left, right:
        poller.register(left.fileno(), READABLE | getattr(select, "EPOLLEXCLUSIVE", 0))
        right.send(b"x")
        assert poller.poll(1) == [(left.fileno(), READABLE)]
    poller.close()


def test_without_epoll_there_is_another(monkeypatch):
    """MacOS has none."""
    monkeypatch.delattr(select, "epoll", raising=False)
    poller = make_poller()
    assert isinstance(poller, SelectorPoller)
    poller.close()
