"""When a worker asks to be replaced."""

import errno
import os
import sys
from collections.abc import Callable
from random import Random
from types import SimpleNamespace

import psutil
import pytest

from pyfork.config.schema import WorkerSettings
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Ripe, Word, WordDecoder, Worn
from pyfork.ipc.scoreboard import NEVER, Scoreboard, Slot
from pyfork.workers import wear as module
from pyfork.workers.wear import Wear, make_meter, prepare


class Fixture:
    """A worn worker's parts: a real pipe and slot, a clock and a memory that the test moves."""

    def __init__(self, refork_at: int | None = None, seed: int = 1, **limits: object) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        os.set_blocking(self.write_fd, False)
        self.now = 1000.0
        self.octets: int | None = 0
        self.failure: OSError | None = None
        self.takes = 0.0
        self.measured = 0
        settings = WorkerSettings(**limits)  # type: ignore[arg-type]
        self.slot: Slot = Scoreboard().slot(0)
        self.heartbeat = Heartbeat(self.write_fd, 30)
        self.heartbeat.next_beat = self.now + 5
        self.wear = Wear(
            settings, self.slot, self.heartbeat, random=Random(seed), meter=self.measure, clock=lambda: self.now
        )
        self.wear.begin(self.now, refork_at=refork_at)

    def measure(self) -> tuple[str, int] | None:
        self.measured += 1
        self.now += self.takes
        if self.failure is not None:
            raise self.failure
        return None if self.octets is None else ("pss", self.octets)

    def serve(self, requests: int = 1) -> None:
        """Let requests end, all in one turn of the loop."""
        self.slot.ended += [(1000, 1, False)] * requests
        self.slot.flush(1)

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.wear.look(self.now)

    def said(self) -> list[Word]:
        try:
            return WordDecoder().feed(os.read(self.read_fd, 65536))
        except BlockingIOError:
            return []

    def fill(self) -> None:
        try:
            while True:
                os.write(self.write_fd, b"." * 4096)
        except BlockingIOError:
            pass

    def empty(self) -> None:
        os.read(self.read_fd, 1 << 20)

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Callable[..., Fixture]:
    """Make workers with limits; their pipes are closed at the end."""

    def make(**keywords: object) -> Fixture:
        made = Fixture(**keywords)  # type: ignore[arg-type]
        request.addfinalizer(made.close)
        return made

    return make


def test_without_limits_nothing_is_ever_said(worker: Callable[..., Fixture]) -> None:
    """And nothing is measured."""
    one = worker()
    one.octets = 2**60
    one.serve(100_000)
    one.look(10**6)
    assert one.said() == []
    assert one.measured == 0
    assert one.slot.mark == NEVER


def test_requests_are_counted_and_told_once(worker: Callable[..., Fixture]) -> None:
    """By the turn that reaches the limit, even if it goes beyond; and the worker serves on."""
    one = worker(max_requests=3)
    one.serve(2)
    assert one.said() == []
    one.serve(4)
    assert one.said() == [Worn("it has served 6 requests (workers.max_requests is 3)")]
    one.serve(4)
    one.look(10)
    assert one.said() == []
    assert one.wear.is_worn


def test_limit_of_one_request(worker: Callable[..., Fixture]) -> None:
    """The first one."""
    one = worker(max_requests=1)
    one.serve()
    assert one.said() == [Worn("it has served 1 request (workers.max_requests is 1)")]


def test_jitter_is_added_to_requests(worker: Callable[..., Fixture]) -> None:
    """At most what is set; each worker draws its own, and the log says which."""
    marks = set()
    for seed in range(50):
        one = worker(max_requests=1000, max_requests_jitter=50, seed=seed)
        assert 1000 <= one.slot.mark <= 1050
        marks.add(one.slot.mark)
    assert len(marks) > 20
    mark = one.slot.mark
    one.serve(mark)
    text = f"it has served {mark} requests (workers.max_requests is 1000, with jitter {mark})"
    assert one.said() == [Worn(text)]


def test_lifetime_is_told_at_its_moment(worker: Callable[..., Fixture]) -> None:
    """The next beat is brought forward to it, and not again afterwards."""
    one = worker(max_lifetime=3)
    assert one.heartbeat.next_beat == 1003.0
    one.look(2.9)
    assert one.said() == []
    one.heartbeat.next_beat = one.now + 5
    one.look()
    assert one.heartbeat.next_beat == 1003.0
    one.heartbeat.next_beat = 1008.0
    one.look(0.125)
    assert one.said() == [Worn("it has served for 3.0 s (workers.max_lifetime is 3 s)")]
    one.look(9)
    assert one.heartbeat.next_beat == 1008.0
    assert one.said() == []


def test_jitter_is_added_to_the_lifetime(worker: Callable[..., Fixture]) -> None:
    """As for requests."""
    one = worker(max_lifetime=3600, max_lifetime_jitter=600)
    one.look(3600)
    assert one.said() == []
    one.look(600)
    [worn] = one.said()
    assert isinstance(worn, Worn)
    assert worn.reason.startswith("it has served for 4200.0 s (workers.max_lifetime is 3600 s, with jitter 3")


def test_memory_is_measured_between_requests(worker: Callable[..., Fixture]) -> None:
    """Not at once, no oftener than every 5 s, and only after requests; the figure and the limit are told."""
    one = worker(max_memory=512 * 2**20)
    one.octets = 500 * 2**20
    one.serve()
    one.look(4.9)
    assert one.measured == 0
    one.look(0.2)
    assert one.measured == 1
    one.look(6)
    assert one.measured == 1
    one.serve()
    one.octets = 566441574
    one.look()
    assert one.measured == 2
    assert one.said() == [Worn("it uses 540.2 MB of memory (PSS), workers.max_memory is 512 MB")]
    one.serve()
    one.look(60)
    assert one.measured == 2


def test_dear_measurement_is_repeated_later(worker: Callable[..., Fixture]) -> None:
    """It takes at most a hundredth of the time."""
    one = worker(max_memory=2**30)
    one.takes = 0.25
    one.serve()
    one.look(6)
    one.serve()
    one.look(24.9)
    assert one.measured == 1
    one.look(0.2)
    assert one.measured == 2


def test_memory_that_cannot_be_measured_is_given_up(worker: Callable[..., Fixture]) -> None:
    """Nothing is said, and nothing tried again."""
    one = worker(max_memory=2**30)
    one.octets = None
    for _ in range(3):
        one.serve()
        one.look(6)
    assert one.measured == 1
    assert one.said() == []


@pytest.mark.parametrize("limits", [{"max_requests": 2}, {"max_lifetime": 3}, {"max_memory": 2**20}])
def test_what_a_full_pipe_swallowed_is_said_again(worker: Callable[..., Fixture], limits: dict[str, int]) -> None:
    """The arbiter was stopped; the worker does not spin meanwhile."""
    one = worker(**limits)
    one.octets = 2**30
    one.fill()
    one.serve(3)
    one.look(6)
    assert not one.wear.is_worn
    assert one.heartbeat.next_beat <= one.now
    one.heartbeat.next_beat = one.now + 5
    one.look()
    assert one.heartbeat.next_beat > one.now
    one.empty()
    one.serve()
    one.look(6)
    assert [type(word) for word in one.said()] == [Worn]
    assert one.wear.is_worn


def test_ripe_is_said_at_its_number_and_worn_at_its_own(worker: Callable[..., Fixture]) -> None:
    """In either order, once each."""
    one = worker(max_requests=10, refork_at=4)
    one.serve(5)
    assert one.said() == [Ripe()]
    one.serve(5)
    assert one.said() == [Worn("it has served 10 requests (workers.max_requests is 10)")]
    one = worker(max_requests=2, refork_at=4)
    one.serve(2)
    one.serve(2)
    assert [type(word) for word in one.said()] == [Worn, Ripe]
    one.serve(2)
    assert one.said() == []


def test_copy_says_nothing(worker: Callable[..., Fixture]) -> None:
    """A process that the application forked is not the worker."""
    one = worker(max_requests=2, max_lifetime=1, refork_at=2)
    one.wear.forget()
    one.serve(3)
    one.look(60)
    assert one.said() == []


# Measuring.


@pytest.mark.parametrize(
    "measure", ["rss", pytest.param("pss", marks=pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux's"))]
)
def test_this_process_is_measured(measure: str) -> None:
    """In octets: Python takes some megabytes."""
    sample = make_meter(measure)()
    assert sample is not None
    assert sample[0] == measure
    assert 2**21 < sample[1] < 2**35


class _Process:
    """A process of psutil's where something is wrong."""

    def __init__(self, *, has_rss: bool) -> None:
        self._has_rss = has_rss

    def memory_full_info(self) -> object:
        raise psutil.AccessDenied(1)

    def memory_info(self) -> object:
        if not self._has_rss:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(rss=7)


@pytest.mark.parametrize("has_rss", [True, False])
def test_rss_stands_in_for_pss(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, has_rss: bool
) -> None:
    """It is told once, and so is that not even that can be measured."""
    monkeypatch.setattr(psutil, "Process", lambda: _Process(has_rss=has_rss))
    meter = make_meter("pss")
    expected = ("rss", 7) if has_rss else None
    assert [meter(), meter() if has_rss else None] == [expected, expected]
    assert "compares RSS" in caplog.records[0].message
    assert [record.message for record in caplog.records[1:]] == (
        []
        if has_rss
        else [
            "the memory of this process cannot be measured, workers.max_memory has no effect: process no longer exists (pid=1)"
        ]
    )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("measure", ["pss", "rss"])
def test_a_lack_of_descriptors_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, measure: str, number: int
) -> None:
    """A worker with many connections meets it now and then; the limit is the same afterwards."""

    class Process:
        is_short = True

        def memory_footprint(self) -> SimpleNamespace:
            if self.is_short:
                raise OSError(number, os.strerror(number))
            return SimpleNamespace(pss=9, rss=9)

        memory_info = memory_footprint

    process = Process()
    monkeypatch.setattr(psutil, "Process", lambda: process)
    meter = make_meter(measure)
    with pytest.raises(OSError):
        meter()
    process.is_short = False
    assert meter() == (measure, 9)
    assert not caplog.records


def test_memory_that_cannot_be_measured_this_time_is_measured_the_next(worker: Callable[..., Fixture]) -> None:
    """Even if nothing was served in between."""
    one = worker(max_memory=10 * 2**20)
    one.failure = OSError(errno.EMFILE, "Too many open files")
    one.octets = 11 * 2**20
    one.serve()
    one.look(5)
    assert one.said() == []
    one.failure = None
    one.look(5)
    [word] = one.said()
    assert isinstance(word, Worn)
    assert "11.0 MB of memory (PSS)" in word.reason


def test_the_new_name_of_psutil_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one warns."""
    process = SimpleNamespace(memory_footprint=lambda: SimpleNamespace(pss=9))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert make_meter("pss")() == ("pss", 9)


def test_psutil_is_imported_for_a_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """And early, before the application's path is entered."""
    imported: list[str] = []
    monkeypatch.setattr(module, "importlib", SimpleNamespace(import_module=imported.append))
    prepare(WorkerSettings())
    assert imported == []
    prepare(WorkerSettings(max_memory=2**30))
    assert imported == ["psutil"]
