"""How many connections wait."""

import socket
import sys
from types import SimpleNamespace

import pytest

from pyfork.workers.queues import MOST_QUEUED, known_queued, most_queued


@pytest.mark.skipif(sys.platform != "linux", reason="tcp_info is the kernel's own")
def test_the_queue_of_a_tcp_listener_is_counted():
    """Connections whose handshake is complete and that nobody has accepted."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        assert (known_queued(listener), most_queued(listener)) == (0, 0)
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()):
            assert (known_queued(listener), most_queued(listener)) == (2, 2)
            listener.accept()[0].close()
            assert known_queued(listener) == 1


def test_the_queue_of_a_unix_socket_is_not_known():
    """For a share it counts as empty, for a stop as full."""
    listener = SimpleNamespace(family=socket.AF_UNIX)
    assert (known_queued(listener), most_queued(listener)) == (0, MOST_QUEUED)


def test_where_the_kernel_does_not_tell_a_tcp_queue_is_not_known_either(monkeypatch):
    """MacOS."""
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    listener = SimpleNamespace(family=socket.AF_INET)
    assert (known_queued(listener), most_queued(listener)) == (0, MOST_QUEUED)
