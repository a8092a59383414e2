"""How many connections wait."""

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyfork.arbiter.listeners import BoundListener
from pyfork.process import queues
from pyfork.process.queues import MOST_QUEUED, count_queued, is_refused, known_queued, most_queued


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the queue is simply closed")
@pytest.mark.parametrize("may_filter", [True, False])
def test_a_tcp_queue_that_takes_nobody_in_is_known_by_its_filter_or_its_length(may_filter):
    """Whichever the arbiter may give it; every process that has the socket sees it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_refused(listener)
        if may_filter:
            try:
                BoundListener("x", listener, is_inherited=False, inode=None, maker=os.getpid()).refuse()
            except OSError:
                pytest.skip("no filter may be attached here")
        else:
            listener.listen(0)
        assert is_refused(listener)


def test_a_unix_queue_takes_nobody_in_once_its_path_is_gone(tmp_path):
    """An abstract name is there as long as the socket is."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(str(tmp_path / "s.sock"))
        abstract.bind(f"\0{tmp_path}")
        assert not is_refused(listener)
        (tmp_path / "s.sock").unlink()
        assert is_refused(listener)
        assert not is_refused(abstract)


def test_where_the_kernel_does_not_tell_a_tcp_queue_is_not_known_either(monkeypatch):
    """MacOS."""
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    listener = SimpleNamespace(family=socket.AF_INET)
    assert (known_queued(listener), most_queued(listener)) == (0, MOST_QUEUED)
    assert not is_refused(listener)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/unix is Linux's")
@pytest.mark.parametrize("name", ["{}/s.sock", "{}/a name.sock", "\0pyfork{}"])
def test_the_arbiter_counts_at_unix_sockets_too(tmp_path, name):
    """Those that were accepted are counted no longer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name.format(tmp_path))
        listener.listen(16)
        assert count_queued(listener) == 0
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(listener.getsockname())
            second.connect(listener.getsockname())
            assert count_queued(listener) == 2
            accepted = listener.accept()[0]
            assert count_queued(listener) == 1
            accepted.close()


def test_the_arbiter_counts_at_tcp_sockets():
    """As the workers do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert count_queued(listener) == 0


def test_without_proc_nobody_waits_at_a_unix_socket(monkeypatch):
    """Nobody can say."""
    monkeypatch.setattr(queues, "_UNIX_SOCKETS", Path("/nowhere"))
    assert count_queued(SimpleNamespace(family=socket.AF_UNIX)) == 0
