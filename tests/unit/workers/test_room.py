"""When a full worker makes room."""

import math
import socket

import pytest

from pyfork.ipc.messages import Listener
from pyfork.workers.room import ROOM_INTERVAL, Room


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX])
def listener(request, tmp_path):
    """Where nobody accepts, of each family."""
    address = ("127.0.0.1", 0) if request.param == socket.AF_INET else str(tmp_path / "a.sock")
    with socket.socket(request.param) as listening:
        listening.bind(address)
        listening.listen()
        yield listening


def test_room_is_made_while_somebody_waits(listener):
    """Ten times a second, and only by a worker that is full."""
    room = Room([(listener, Listener(listener.fileno(), "tcp", "a", 1, "a"))], 32)
    assert room.most == 3
    assert room.next_deadline(31) == math.inf
    assert room.next_deadline(32) == 0.0
    assert not room.is_wanted(32, 1000.0)
    assert room.next_deadline(32) == 1000.0 + ROOM_INTERVAL
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        assert not room.is_wanted(32, 1000.05), "the queue is not looked at in between"
        assert not room.is_wanted(31, 1000.2)
        assert room.is_wanted(32, 1000.2)
        assert not room.is_wanted(33, 1000.25)
        assert room.is_wanted(33, 1000.35)
