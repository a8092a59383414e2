"""Lingering close, over real socket pairs and with a clock that the test moves."""

import select
import socket
from collections.abc import Iterator

import pytest

from pyfork.workers import lingering
from pyfork.workers.lingering import IDLE_TIMEOUT, LINGER_TIMEOUT, MOST_SOCKETS, LingeringSockets


class Clock:
    """What `monotonic` says."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in place of the machine's."""
    fake = Clock()
    monkeypatch.setattr(lingering, "monotonic", lambda: fake.now)
    return fake


@pytest.fixture
def room(clock: Clock) -> Iterator[LingeringSockets]:
    """Lingering sockets on an epoll of their own."""
    with select.epoll() as epoll:
        sockets = LingeringSockets(epoll)
        yield sockets
        sockets.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """A client, and the server's side with its writing end shut down."""
    client, server = socket.socketpair()
    client.settimeout(5)
    server.shutdown(socket.SHUT_WR)
    return client, server


def test_what_comes_is_read_and_forgotten_until_the_client_closes(room: LingeringSockets, clock: Clock) -> None:
    """The client can go on sending; when it closes, so does the server."""
    client, server = pair()
    room.add(server)
    with client:
        client.sendall(b"x" * 100_000)
        for _ in range(3):
            room.read(server.fileno())
        assert len(room) == 1
    room.read(server.fileno())
    assert len(room) == 0
    assert server.fileno() == -1
    room.read(12345)


def test_a_client_that_is_silent_is_closed_on(room: LingeringSockets, clock: Clock) -> None:
    """Each octet gives it more time, up to a limit in all."""
    client, server = pair()
    room.add(server)
    with client:
        assert room.next_deadline() == clock.now + IDLE_TIMEOUT
        clock.now += IDLE_TIMEOUT - 1
        client.sendall(b"x")
        room.read(server.fileno())
        clock.now += IDLE_TIMEOUT - 1
        room.sweep(clock.now)
        assert len(room) == 1
        clock.now += 2
        room.sweep(clock.now)
        assert len(room) == 0


def test_octets_that_waited_in_the_kernel_count(room: LingeringSockets, clock: Clock) -> None:
    """A worker that was busy reads before it closes for being late."""
    client, server = pair()
    room.add(server)
    with client:
        client.sendall(b"x")
        clock.now += IDLE_TIMEOUT + 1
        room.sweep(clock.now)
        assert len(room) == 1


def test_a_client_that_sends_for_ever_is_closed_on(room: LingeringSockets, clock: Clock) -> None:
    """The time in all is bounded, however much it sends."""
    client, server = pair()
    room.add(server)
    with client:
        for _ in range(int(LINGER_TIMEOUT)):
            client.sendall(b"x")
            room.read(server.fileno())
            clock.now += 1
            room.sweep(clock.now)
        assert len(room) == 0


def test_a_worker_that_ends_leaves_little_time(room: LingeringSockets, clock: Clock) -> None:
    """A client that keeps its side open does not hold up the end of the worker."""
    client, server = pair()
    room.add(server)
    with client:
        room.hurry()
        assert room.next_deadline() == clock.now + lingering.HURRIED_TIMEOUT


def test_a_client_that_is_answered_last_has_as_little_time(room: LingeringSockets, clock: Clock) -> None:
    """Its response was in flight when the worker was told to end."""
    room.hurry()
    client, server = pair()
    room.add(server)
    with client:
        assert room.next_deadline() == clock.now + lingering.HURRIED_TIMEOUT
        clock.now += lingering.HURRIED_TIMEOUT
        room.sweep(clock.now)
        assert len(room) == 0


def test_a_reset_ends_it(room: LingeringSockets) -> None:
    """A client that resets its connection has gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.shutdown(socket.SHUT_WR)
    room.add(server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    select.select([server], [], [], 5)
    room.read(server.fileno())
    assert len(room) == 0


def test_there_is_room_for_so_many(room: LingeringSockets) -> None:
    """The oldest makes room for the newest."""
    pairs = [pair() for _ in range(MOST_SOCKETS + 1)]
    for _, server in pairs:
        room.add(server)
    assert len(room) == MOST_SOCKETS
    assert pairs[0][1].fileno() == -1
    for client, _ in pairs:
        client.close()
    room.close()
    assert room.next_deadline() == float("inf")
