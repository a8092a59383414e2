"""When a full worker makes room."""

import contextlib
import math
import socket

import pytest

from pyfork.ipc.messages import Listener
from pyfork.workers.room import SHORTEST_INTERVAL, Room


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX])
def listener(request, tmp_path):
    """Where nobody accepts, of each family."""
    address = ("127.0.0.1", 0) if request.param == socket.AF_INET else str(tmp_path / "a.sock")
    with socket.socket(request.param) as listening:
        listening.bind(address)
        listening.listen()
        yield listening


def test_room_is_made_while_somebody_waits(listener):
    """At each look, and only by a worker that is full."""
    room = Room([(listener, Listener(listener.fileno(), "tcp", "a", 1, "a"))], 32)
    assert room.most == 3
    assert room.next_deadline(31) == math.inf
    assert room.next_deadline(32) == 0.0
    assert room.wanted(32, 1000.0) == 0
    assert room.next_deadline(32) == 1000.0 + SHORTEST_INTERVAL
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        assert room.wanted(32, 1000.02) == 0, "the queue is not looked at in between"
        assert room.wanted(31, 1000.03) == 0
        assert room.wanted(32, 1000.03) == 1
        assert room.wanted(33, 1000.04) == 0
        assert room.wanted(33, 1000.06) == 1


def test_as_many_make_room_as_wait(listener):
    """A sixteenth of all at the most, and one more: who comes wants to be served, and not only let in."""
    room = Room([(listener, Listener(listener.fileno(), "tcp", "a", 1, "a"))], 32)
    with contextlib.ExitStack() as stack:
        for number in range(1, 6):
            client = stack.enter_context(socket.socket(listener.family))
            client.connect(listener.getsockname())
            assert room.wanted(32, 1000.0 + number) == min(number, room.most)


@pytest.mark.parametrize(("limit", "interval"), [(1, 0.025), (2500, 0.025), (5000, 0.05), (100_000, 0.1)])
def test_the_more_connections_there_are_the_more_seldom_it_looks(limit, interval):
    """A look costs more then."""
    assert Room([], limit).interval == pytest.approx(interval)
