"""When a worker says that it is ripe, and what it makes of orders. (Forks are tests/process/test_refork.py's.)"""

import logging
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pyfork.ipc import passing
from pyfork.ipc.orders import PromoteOrder, SpawnOrder, encode_order
from pyfork.workers import promotion
from pyfork.workers.births import BecameMold, Birth
from pyfork.workers.promotion import Promotion


class Worker:
    """A worker with a control socket, and the arbiter at the other end."""

    def __init__(self) -> None:
        self.arbiter, control = passing.control_pair()
        handoff = SimpleNamespace(
            control_fd=control, refork_at=0, generation=2, scoreboard=None, listeners=(), settings=None,
            worker_class="sync", fault=None, certificates=None,
        )  # fmt: skip
        self.control = control
        self.promotion = Promotion(handoff, lambda: None)  # type: ignore[arg-type]

    def order(self, message: bytes, count: int = 3) -> list[int]:
        """Send an order with ``count`` pipes' write ends; return the read ends."""
        pipes = [os.pipe() for _ in range(count)]
        passing.send_message(self.arbiter, message, [write for _, write in pipes])
        passing.close_all([write for _, write in pipes])
        return [read for read, _ in pipes]


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that leaves nothing open."""
    worker = Worker()
    yield worker
    worker.promotion.refuse()
    passing.close_all([worker.control, worker.arbiter])


def are_closed(reads: list[int]) -> bool:
    """Whether nobody holds the other ends any more; closes these."""
    for fd in reads:
        os.set_blocking(fd, False)
    try:
        return all(os.read(fd, 1) == b"" for fd in reads)
    except BlockingIOError:
        return False
    finally:
        passing.close_all(reads)


def test_an_order_waits_until_it_may_be_carried_out(worker: Worker) -> None:
    """Refused, its pipes end; a later one takes its place."""
    assert worker.promotion.take_order()
    assert not worker.promotion.is_ordered, "nothing had come"
    first = worker.order(encode_order(PromoteOrder(2)))
    assert worker.promotion.take_order()
    assert worker.promotion.is_ordered
    second = worker.order(encode_order(PromoteOrder(3)))
    worker.promotion.take_order()
    assert are_closed(first)
    worker.promotion.refuse()
    assert not worker.promotion.is_ordered
    assert are_closed(second)


@pytest.mark.parametrize(
    ("message", "count"),
    [(b"?", 3), (encode_order(SpawnOrder(1, 1, 1, 0)), 3), (encode_order(PromoteOrder(2)), 2)],
)
def test_what_is_no_order_for_a_worker_is_let_go(
    worker: Worker, message: bytes, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And told of; its pipes end."""
    caplog.set_level(logging.ERROR, "pyfork.error")
    reads = worker.order(message, count)
    assert worker.promotion.take_order()
    assert not worker.promotion.is_ordered
    assert are_closed(reads)
    assert "cannot fork a mold" in caplog.text


def test_the_arbiter_may_be_gone(worker: Worker) -> None:
    """Then nothing comes any more, and the loop is told to look no longer."""
    os.close(worker.arbiter)
    assert not worker.promotion.take_order()
    worker.arbiter = os.dup(worker.control)


@pytest.mark.parametrize("outcome", ["worker", "mold", "refused"])
def test_orders_are_carried_out(worker: Worker, monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    """In the worker the pipes are closed, whatever came of it, and in the mold they are its own."""

    def fork_apart(birth: Birth) -> bool:
        del birth
        if outcome == "refused":
            raise OSError(11, "try again")
        return outcome == "mold"

    watched: list[object] = []
    monkeypatch.setattr(promotion, "fork_apart", fork_apart)
    monkeypatch.setattr(promotion, "unwatch_copies", lambda: "on_copied")
    monkeypatch.setattr(promotion, "watch_copies", watched.append)
    reads = worker.order(encode_order(PromoteOrder(4)))
    worker.promotion.take_order()
    if outcome == "mold":
        with pytest.raises(BecameMold) as born:
            worker.promotion.carry_out()
        assert (born.value.handoff.serial, born.value.handoff.generation) == (4, 2)
        assert watched == []
        worker.promotion.refuse()
    else:
        worker.promotion.carry_out()
        assert watched == ["on_copied"], "its own copies are its own again"
    assert are_closed(reads)
