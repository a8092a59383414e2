"""What a client has not taken yet."""

import errno
import os

import pytest

from pyfork.connection.outgoing import MOST_AT_ONCE, MOST_KEPT, Outgoing
from pyfork.connection.sending import LayeredSocket
from pyfork.errors import ApplicationError, DisconnectedError
from pyfork.gateway.file_wrapper import FileRegion
from tests.unit.connection.fakes import FakeSocket


class Taker(FakeSocket):
    """Takes sendfile as well, up to ``room`` octets of it."""

    room = 1 << 30

    def fileno(self):
        return -2


@pytest.fixture
def outgoing(monkeypatch):
    """A queue whose regions are sent to the socket of the test."""
    queue = Outgoing()

    def sendfile(out, fd, offset, count):
        queue_socket = outgoing_socket[0]
        if queue_socket.room <= 0:
            raise BlockingIOError
        data = os.pread(fd, min(count, queue_socket.room), offset)
        queue_socket.room -= len(data)
        queue_socket.sent += data
        return len(data)

    outgoing_socket = [Taker()]
    monkeypatch.setattr(os, "sendfile", sendfile)
    queue_and_socket = queue, outgoing_socket[0]
    yield queue_and_socket
    queue.close()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 8192)  # 2 MiB
    return path


def send_all(queue, sock):
    """Send turn by turn until nothing is left."""
    while queue:
        queue.send_to(sock)


def test_the_order_is_kept(outgoing, path):
    """Octets, a region with its head, octets again; the file may be closed meanwhile."""
    queue, sock = outgoing
    with path.open("rb") as file:
        queue.put(b"before ")
        queue.put(FileRegion(b"head ", file.fileno(), 3, 5))
        queue.put(FileRegion(b"", file.fileno(), 0, 1))
        queue.put(memoryview(b" behind"))
    assert queue.octets == 19
    send_all(queue, sock)
    assert sock.sent == b"before head \3\4\5\6\7\0 behind"
    assert queue.octets == 0


def test_what_is_not_taken_stays(outgoing, path):
    """In part or as a whole."""
    queue, sock = outgoing
    sock.sends = [3, None]
    queue.put(b"hello")
    assert queue.send_to(sock) == 3
    assert queue.octets == 2
    assert queue.send_to(sock) == 2
    sock.room = 0
    with path.open("rb") as file:
        queue.put(FileRegion(b"", file.fileno(), 0, 5))
    assert queue.send_to(sock) == 0
    assert queue


def test_one_turn_sends_so_much(outgoing, path):
    """Others are waiting."""
    queue, sock = outgoing
    with path.open("rb") as file:
        queue.put(FileRegion(b"", file.fileno(), 0, 2 * MOST_AT_ONCE))
    assert queue.send_to(sock) == MOST_AT_ONCE
    assert queue.send_to(sock) == MOST_AT_ONCE
    assert not queue


def test_what_is_written_goes_to_a_file_beyond_a_size(outgoing):
    """One descriptor for all of it in a row; in the order of its writing."""
    queue, sock = outgoing
    queue.put_written(b"a" * MOST_KEPT)
    for number in range(100):
        queue.put_written(b"%09d\n" % number)
    assert queue.octets == MOST_KEPT
    assert len(queue._items) == 2
    queue.put(b"end")
    queue.put_written(b"b" * MOST_KEPT)
    assert len(queue._items) == 4
    send_all(queue, sock)
    lines = b"".join(b"%09d\n" % number for number in range(100))
    assert sock.sent == b"a" * MOST_KEPT + lines + b"end" + b"b" * MOST_KEPT
    queue.put_written(b"c" * (MOST_KEPT + 1))
    queue.send_to(sock)
    assert sock.sent.endswith(b"bc" + b"c" * MOST_KEPT)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EPIPE, DisconnectedError), (errno.ECONNRESET, DisconnectedError), (errno.EIO, OSError)],
)
def test_whose_fault_it_is_that_a_region_cannot_be_sent(outgoing, path, monkeypatch, number, kind):
    """The client's, or the disk's."""
    queue, sock = outgoing

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", fail)
    with path.open("rb") as file:
        queue.put(FileRegion(b"", file.fileno(), 0, 5))
    with pytest.raises(kind) as caught:
        queue.send_to(sock)
    assert type(caught.value) is kind


def test_a_client_that_has_gone_is_told(outgoing):
    """By the exception that everybody knows."""
    queue, sock = outgoing
    sock.sends = [ConnectionResetError(104, "Connection reset by peer")]
    queue.put(b"hello")
    with pytest.raises(DisconnectedError, match="Connection reset"):
        queue.send_to(sock)


def test_a_file_system_without_sendfile_is_read(outgoing, path, monkeypatch):
    """Piece by piece; one that shrinks is found out, either way."""
    queue, sock = outgoing

    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    with path.open("rb") as file:
        queue.put(FileRegion(b"", file.fileno(), 1, 1 << 30))
        with pytest.raises(ApplicationError, match="shorter"):
            send_all(queue, sock)
        queue.close()
        monkeypatch.setattr(os, "sendfile", refuse)
        queue.put(FileRegion(b"", file.fileno(), 1, 100_000))
        sock.sent = b""
        send_all(queue, sock)
        assert sock.sent == path.read_bytes()[1:100_001]
        queue.put(FileRegion(b"", file.fileno(), 2 << 20, 1))
    with pytest.raises(ApplicationError, match="1 octets shorter"):
        queue.send_to(sock)


def test_a_file_is_read_where_the_kernel_cannot_send_it(path, monkeypatch):
    """sendfile(2) would send it without the encryption; what is not taken stays, in its order."""

    class Layered(LayeredSocket, FakeSocket):
        pass

    monkeypatch.setattr(os, "sendfile", lambda *_: pytest.fail("it was sent plain"))
    queue, sock = Outgoing(), Layered(sends=[3, None, 70_000])
    with path.open("rb") as file:
        queue.put(FileRegion(b"head", file.fileno(), 1, 500_000))
    while queue:
        queue.send_to(sock)
    assert sock.sent == b"head" + path.read_bytes()[1:500_001]
    queue.close()
