"""Places to wait, with a hub that the test plays: no gevent, no kernel, no time."""

import math
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pyfork.config.schema import HttpSettings
from pyfork.connection.context import WRITABLE
from pyfork.workers import greenlets
from pyfork.workers.greenlets import SWEEP_INTERVAL, TURN, Places

HTTP = HttpSettings()


class Watcher:
    """An io or timer watcher; `fire` is the loop's."""

    def __init__(self, **told: Any) -> None:
        self.told = told
        self.starts = 0
        self.callback: Callable[[], None] | None = None
        self.is_closed = False

    def start(self, callback: Callable[[], None], update: bool = False) -> None:
        self.callback = callback
        self.starts += 1

    def stop(self) -> None:
        self.callback = None

    def close(self) -> None:
        self.callback = None
        self.is_closed = True

    def fire(self) -> None:
        assert self.callback is not None
        self.callback()


class Waiter:
    """A greenlet that only notes what it is switched to with."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def switch(self, value: object = None) -> None:
        self.values.append(value)


class FakeGevent:
    """The module, its hub and its loop in one; `on_switch` plays what happens while a greenlet waits."""

    def __init__(self) -> None:
        self.hub = self.loop = self
        self.watchers: list[Watcher] = []
        self.end_of_turn = Watcher()
        self.sleepless = Watcher()
        self.current = Waiter()
        self.on_switch: Callable[[], None] = lambda: None
        self.slept = 0

    def get_hub(self) -> "FakeGevent":
        return self

    def getcurrent(self) -> Waiter:
        return self.current

    def io(self, fd: int, events: int) -> Watcher:
        self.watchers.append(Watcher(fd=fd, events=events))
        return self.watchers[-1]

    def timer(self, after: float) -> Watcher:
        self.watchers.append(Watcher(after=after))
        return self.watchers[-1]

    def check(self, priority: int) -> Watcher:
        assert priority == -2, "others would come later"
        return self.end_of_turn

    def idle(self, priority: int) -> Watcher:
        assert priority == -2, "it would be in the way of others"
        return self.sleepless

    def run_callback(self, callback: Callable[[], None]) -> None:
        callback()

    def switch(self) -> object:
        before = len(self.current.values)
        self.on_switch()
        return self.current.values[before]

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "the loop would not poll"
        self.slept += 1


class Clock:
    """What `monotonic` says."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in place of the machine's."""
    fake = Clock()
    monkeypatch.setattr(greenlets, "monotonic", lambda: fake.now)
    return fake


@pytest.fixture
def gevent(clock: Clock) -> FakeGevent:
    return FakeGevent()


def test_a_wait_ends_when_octets_come(gevent: FakeGevent) -> None:
    """The watcher stays started: the next wait is two switches."""
    places = Places(gevent, HTTP)
    place = places.open(7)
    (watcher,) = gevent.watchers
    assert watcher.told == {"fd": 7, "events": 1}
    gevent.on_switch = watcher.fire
    assert place.wait(math.inf)
    assert place.greenlet is None
    callback = watcher.callback
    assert place.wait(math.inf)
    assert watcher.callback == callback
    assert gevent.watchers == [watcher]


def test_what_nobody_waits_for_is_not_watched(gevent: FakeGevent) -> None:
    """It would be reported over and over; the next wait watches again."""
    place = Places(gevent, HTTP).open(7)
    (watcher,) = gevent.watchers
    gevent.on_switch = watcher.fire
    place.wait(math.inf)
    watcher.fire()
    assert watcher.callback is None
    assert place.wait(math.inf)


def test_a_sweep_ends_the_waits_whose_time_is_up(gevent: FakeGevent, clock: Clock) -> None:
    """One timer for all, set to the first deadline."""
    places = Places(gevent, HTTP)
    early, late = places.open(7), places.open(8)
    other = late.greenlet = Waiter()
    late.deadline = 1009.0

    def time_passes() -> None:
        assert places.sweep_at == 1005.0
        timer = gevent.watchers[-1]
        assert timer.told == {"after": 5.0}
        clock.now = 1005.0
        timer.fire()

    gevent.on_switch = time_passes
    assert not early.wait(1005.0)
    assert places.sweep_at == 1009.0
    assert other.values == []
    late.limit(1007.0)
    assert places.sweep_at == 1007.0
    late.limit(1008.0)
    assert late.deadline == 1007.0
    late.close()
    early.on_time()
    places.on_sweep()
    assert places.sweep_at == max(1007.0, clock.now + SWEEP_INTERVAL)


def test_who_waits_to_send_can_be_looked_at(gevent: FakeGevent, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the wait lasts, however it ends."""
    places = Places(gevent, HTTP)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        place = places.open(ours.fileno())

        def wait_apart(*_: object) -> bool:
            assert place.uptake is not None
            assert place.uptake.since == clock.now
            clock.now += 1
            if clock.now > 1001:
                raise ZeroDivisionError
            return True

        monkeypatch.setattr(places, "_wait_apart", wait_apart)
        assert place.uptake is None
        assert places.wait(ours, WRITABLE, 1030.0)
        assert place.uptake is None
        with pytest.raises(ZeroDivisionError):
            places.wait(ours, WRITABLE, 1031.0)
        assert place.uptake is None
        assert clock.now == 1002


def test_the_loop_has_a_timer_of_its_own(gevent: FakeGevent, clock: Clock) -> None:
    """And can be woken."""
    place = Places(gevent, HTTP).open(7)
    gevent.on_switch = lambda: gevent.watchers[-1].fire()  # noqa: PLW0108 - the last one by then
    place.wait_until(1000.5)
    assert gevent.watchers[-1].told == {"after": 0.5}
    assert gevent.watchers[-1].is_closed
    gevent.on_switch = place.wake
    place.wait_until(999.0)
    assert gevent.watchers[-1].told == {"after": 0.0}
    place.wake()
    assert gevent.current.values == [False, False]


def test_a_greenlet_gives_way_now_and_then(gevent: FakeGevent, clock: Clock) -> None:
    """Not between all of its blocks."""
    places = Places(gevent, HTTP)
    for _ in range(3):
        places.give_way()
    assert gevent.slept == 1
    clock.now += TURN
    places.give_way()
    assert gevent.slept == 2


def test_who_steps_aside_goes_on_one_by_one_at_the_end_of_a_turn(gevent: FakeGevent) -> None:
    """A handshake takes as long as many requests: twenty at once would hold up everybody for twenty times that."""
    places = Places(gevent, HTTP)
    first, second = gevent.current, Waiter()

    def another_comes() -> None:
        assert gevent.sleepless.callback is not None
        gevent.current = second
        gevent.on_switch = two_turns_end
        places.step_aside()

    def two_turns_end() -> None:
        gevent.end_of_turn.fire()
        assert (len(first.values), len(second.values)) == (1, 0)
        gevent.end_of_turn.fire()
        assert (len(first.values), len(second.values)) == (1, 1)

    gevent.on_switch = another_comes
    places.step_aside()
    assert gevent.end_of_turn.callback is gevent.sleepless.callback is None
    assert gevent.end_of_turn.starts == gevent.sleepless.starts == 1


def test_a_killed_greenlet_has_no_turn(gevent: FakeGevent) -> None:
    """It would be woken somewhere else, by what it does not wait for."""
    places = Places(gevent, HTTP)

    def kill() -> None:
        raise ZeroDivisionError

    gevent.on_switch = kill
    with pytest.raises(ZeroDivisionError):
        places.step_aside()
    gevent.end_of_turn.fire()
    assert gevent.current.values == []
    assert gevent.end_of_turn.callback is None

    def go_and_fail() -> None:
        gevent.end_of_turn.fire()
        raise ZeroDivisionError

    gevent.on_switch = go_and_fail
    with pytest.raises(ZeroDivisionError):
        places.step_aside()
    assert gevent.current.values == [None]


def test_a_copy_wakes_nobody(gevent: FakeGevent) -> None:
    """The clients are its parent's."""
    places = Places(gevent, HTTP)
    place = places.open(7)
    places.sweep_by(1001.0)
    places.abandon()
    assert all(watcher.is_closed for watcher in gevent.watchers)
    assert gevent.end_of_turn.is_closed
    assert gevent.sleepless.is_closed
    place.on_time()
    assert gevent.current.values == []
    Places(gevent, HTTP).abandon()
