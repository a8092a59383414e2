"""How busy the workers are."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

import pytest

from pyfork.arbiter.measure import LoadMeter, Measured
from pyfork.config.schema import WorkerSettings
from pyfork.ipc.scoreboard import Scoreboard, Slot, SlotState, Word
from pyfork.workers.registry import find_class

TICKS = os.sysconf("SC_CLK_TCK")


class Load:
    """One worker of a type, and a time that the test moves; moments are those of the slot's clock."""

    def __init__(self, proc: Path, kind: str, threads: int = 1) -> None:
        self.start = monotonic_ns() / 1e9
        self.proc = proc
        self.meter = LoadMeter(proc)
        self.slot: Slot = Scoreboard().slot(0)
        self.slot.set_state(SlotState.READY)
        name = find_class(kind)
        self.workers = [Measured(77, self.slot, name, WorkerSettings(threads=threads))]
        self.listeners: list[socket.socket] = []

    def look(self, after: float) -> float:
        """Measure so many seconds after the start."""
        return round(self.meter.measure(self.workers, self.listeners, self.start + after)[0], 3)

    def ended(self, *seconds: float) -> None:
        """Let requests end that took so long."""
        self.slot.ended += [(int(took * 1e9), 1, False) for took in seconds]
        self.slot.flush(1)

    def under_way(self, count: int, since: float) -> None:
        self.slot.in_flight = count
        self.slot.words[Word.IN_FLIGHT] = count
        self.slot.show(int((self.start + since) * 1e9), "GET", b"/")

    def inside(self, since: float | None) -> None:
        self.slot.words[Word.IN_APPLICATION] = 0 if since is None else int((self.start + since) * 1e9)

    def cpu(self, seconds: float) -> None:
        (self.proc / "77").mkdir(exist_ok=True)
        fields = ["S", *"0" * 10, str(int(seconds * TICKS) - 5), "5", *"0" * 10]
        (self.proc / "77" / "stat").write_text(f"77 (a) b ) {' '.join(fields)}\n")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Load]:
    """Make a load."""
    return lambda kind, threads=1: Load(tmp_path, kind, threads)


def test_first_look_knows_nothing(load: Callable[..., Load]) -> None:
    """Nor does one in the same moment."""
    one = load("sync")
    one.ended(5.0)
    assert one.look(1) == 0.0
    assert one.look(1) == 0.0


def test_sync_is_busy_while_it_has_a_request(load: Callable[..., Load]) -> None:
    """Those that have ended and the one under way, which is not counted twice when it ends."""
    one = load("sync")
    one.look(0)
    one.ended(0.1, 0.2)
    assert one.look(1) == 0.3
    one.under_way(1, since=1.5)
    assert one.look(2) == 0.5
    assert one.look(3) == 1.0
    one.slot.in_flight = 0
    one.ended(1.75)
    assert one.look(4) == 0.25
    assert one.look(5) == 0.0


def test_threadpool_has_as_many_places_as_threads(load: Callable[..., Load]) -> None:
    """What others than the oldest are at is estimated: half as old, and no more than there are threads."""
    one = load("threadpool", 4)
    one.look(0)
    one.ended(*[0.5] * 4)
    assert one.look(1) == 0.5
    one.under_way(3, since=1)
    assert one.look(2) == 0.5
    one.under_way(30, since=1)
    assert one.look(3) == 0.75


@pytest.mark.parametrize("kind", ["async", "gevent", "mypkg.workers:MyWorker"])
def test_loops_are_busy_while_they_compute(load: Callable[..., Load], kind: str) -> None:
    """Their CPU time, not that of the boot; requests that wait for clients keep nobody out."""
    one = load(kind)
    one.cpu(10)
    assert one.look(0) == 0.0
    one.ended(30.0)
    one.cpu(10.25)
    assert one.look(1) == 0.25
    one.cpu(13)
    assert one.look(2) == 1.0


def test_async_is_busy_inside_the_application(load: Callable[..., Load]) -> None:
    """A handler that blocks costs no CPU time; in gevent others run meanwhile."""
    for kind, expected in (("async", 0.75), ("gevent", 0.0)):
        one = load(kind)
        one.cpu(1)
        one.look(0)
        one.inside(since=0.25)
        assert one.look(1) == expected
        assert one.look(2) == (1.0 if expected else 0.0)
        one.inside(None)
        assert one.look(3) == 0.0


def test_only_ready_workers_count(load: Callable[..., Load]) -> None:
    """One that boots or drains has no capacity."""
    one = load("sync")
    idle = Scoreboard().slot(0)
    one.workers.append(Measured(78, idle, one.workers[0].worker_class, WorkerSettings()))
    one.look(0)
    one.ended(0.5)
    assert one.look(1) == 0.5
    idle.set_state(SlotState.READY)
    one.ended(0.5)
    assert one.look(2) == 0.25
    idle.set_state(SlotState.DRAINING)
    one.slot.set_state(SlotState.DRAINING)
    assert one.look(3) == 0.0


def test_without_proc_there_is_no_cpu_time(tmp_path: Path) -> None:
    """Then it does not count."""
    one = Load(tmp_path / "nowhere", "async")
    one.look(0)
    assert one.look(1) == 0.0


def test_queues_of_all_listeners_are_added(load: Callable[..., Load]) -> None:
    """At this moment."""
    one = load("sync")
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        one.listeners = [first, second]
        with socket.create_connection(first.getsockname()), socket.create_connection(second.getsockname()):
            assert one.meter.measure(one.workers, one.listeners, 1.0)[1] == 2
