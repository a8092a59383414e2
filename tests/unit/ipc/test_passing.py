"""Messages with descriptors."""

import os
from collections.abc import Iterator

import pytest

from pyfork.ipc import passing


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A control socket."""
    pair = passing.control_pair()
    yield pair
    passing.close_all(pair)


def test_descriptors_come_with_the_message(ends: tuple[int, int]) -> None:
    """In order, as copies that no program of the application's inherits."""
    pipe = os.pipe()
    passing.send_message(ends[0], b"order", pipe)
    message, received = passing.receive_message(ends[1])
    assert message == b"order"
    assert [os.fstat(fd).st_ino for fd in received] == [os.fstat(fd).st_ino for fd in pipe]
    assert not set(received) & set(pipe)
    assert not any(os.get_inheritable(fd) for fd in received)
    passing.close_all([*pipe, *received])


def send_endlessly(fd: int) -> None:
    """Send more than any socket holds."""
    for _ in range(100_000):
        passing.send_message(fd, b"order", ())


def test_nobody_waits(ends: tuple[int, int]) -> None:
    """Neither who reads what has not come, nor who sends what nobody reads."""
    with pytest.raises(BlockingIOError):
        passing.receive_message(ends[1])
    with pytest.raises(BlockingIOError):
        send_endlessly(ends[0])


def test_the_other_end_may_be_gone(ends: tuple[int, int]) -> None:
    """Who reads gets an empty message, who sends an error; what was not received is closed."""
    one, other = passing.control_pair()
    read, write = os.pipe()
    passing.send_message(one, b"order", [write])
    os.close(write)
    os.close(other)
    assert os.read(read, 1) == b"", "the end that was under way is closed"
    with pytest.raises(ConnectionError):
        passing.send_message(one, b"order", ())
    passing.close_all([one, read])
    one, other = passing.control_pair()
    os.close(one)
    assert passing.receive_message(other) == (b"", [])
    os.close(other)
