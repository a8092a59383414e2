"""Scaling under whole loads, in virtual time: made-up ones, a recorded one, and any that hypothesis thinks of."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyfork.arbiter.scaling import DOWN_INTERVAL, HIGH, LOW, PATIENCE, UP_WINDOW
from tests.simulation.queueing import Model, Second, recorded, turns

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM = 16


def check(seconds: list[Second], minimum: int, maximum: int) -> None:
    """Check what holds for every load."""
    for earlier, later in itertools.pairwise(seconds):
        assert minimum <= later.wanted <= maximum
        assert later.wanted >= earlier.wanted - 1
        assert later.wanted <= max(2 * later.ready, earlier.wanted)
    downs = [at for at, (one, two) in enumerate(itertools.pairwise(seconds)) if two.wanted < one.wanted]
    assert all(later - earlier >= DOWN_INTERVAL for earlier, later in itertools.pairwise(downs))
    assert turns(seconds) <= 2 * (1 + len(seconds) / PATIENCE)


def reaction(seconds: list[Second], at: int) -> int:
    """Return how many looks after the second ``at`` more workers were wanted."""
    return next(later - at for later in range(at, len(seconds)) if seconds[later].wanted > seconds[at - 1].wanted)


def test_step_is_answered_within_three_looks_and_the_queue_drained() -> None:
    """From half a worker's load to six: four doublings at most, and the queue is gone within half a minute."""
    seconds = Model(lambda now: 0.5 if now < 60 else 6.0, 1, MAXIMUM).run(300)
    check(seconds, 1, MAXIMUM)
    assert reaction(seconds, 60) <= UP_WINDOW
    assert all(one.queued < 20 for one in seconds[90:])
    assert turns(seconds[60:]) == 0 or seconds[-1].wanted >= 6 / HIGH


def test_load_that_falls_is_followed_slowly() -> None:
    """Not before the patience is over, then one by one, down to what the rest of the load takes."""
    seconds = Model(lambda now: 6.0 if now < 120 else 0.5, 1, MAXIMUM, count=10).run(600)
    check(seconds, 1, MAXIMUM)
    assert min(one.wanted for one in seconds[: 115 + int(PATIENCE)]) >= 10
    assert seconds[-1].wanted <= 3


def test_ramp_is_followed_without_a_queue_to_speak_of() -> None:
    """Upwards only."""
    seconds = Model(lambda now: now / 60, 1, MAXIMUM).run(600)
    check(seconds, 1, MAXIMUM)
    assert turns(seconds) <= 1
    assert max(one.queued for one in seconds) < 50
    assert 10 / HIGH <= seconds[-1].wanted <= 10 / LOW + 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("service", [0.05, 0.5])
def test_steady_load_has_a_steady_count(seed: int, service: float) -> None:
    """Whatever chance makes of it: an hour has no more than a few changes of direction."""
    seconds = Model(lambda _: 4.0, 2, MAXIMUM, seed=seed, service=service).run(1200)
    check(seconds, 2, MAXIMUM)
    assert turns(seconds) <= 6
    assert len({one.wanted for one in seconds[600:]}) <= 6


@pytest.mark.parametrize("period", [10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400])
@pytest.mark.parametrize("shape", ["sawtooth", "square", "sine"])
def test_load_that_comes_and_goes_does_not_make_the_count_flap(period: int, shape: str) -> None:
    """At no frequency: the count follows less and less, the longer it goes on."""
    shapes: dict[str, Callable[[float], float]] = {
        "sawtooth": lambda phase: phase,
        "square": lambda phase: float(phase < 0.5),
        "sine": lambda phase: (1 + math.sin(2 * math.pi * phase)) / 2,
    }
    seconds = Model(lambda now: 1 + 6 * shapes[shape](now % period / period), 1, MAXIMUM, service=0.1).run(1200)
    check(seconds, 1, MAXIMUM)
    assert turns(seconds) <= min(12, 1 + 2 * 1200 / period)


def test_one_second_of_a_crowd_is_answered_by_its_queue_only() -> None:
    """It is gone soon, and so are the workers."""
    seconds = Model(lambda now: 10.0 if now == 100 else 1.0, 1, MAXIMUM, count=2).run(600)
    check(seconds, 1, MAXIMUM)
    assert max(one.wanted for one in seconds) <= 8
    assert all(one.queued < 20 for one in seconds[130:])
    assert seconds[-1].wanted <= 4


@pytest.mark.parametrize("boot", [5.0, 20.0, 60.0])
def test_slow_boots_do_not_overshoot(boot: float) -> None:
    """No more boot at a time than serve, however long the queue grows meanwhile; it is drained in the end."""
    seconds = Model(lambda now: 1.0 if now < 60 else 4.0, 2, 32, boot=boot).run(900)
    check(seconds, 2, 32)
    assert reaction(seconds, 60) <= UP_WINDOW
    assert seconds[-1].queued < 20


def test_overload_stays_at_the_maximum() -> None:
    """And is over when the load is."""
    seconds = Model(lambda now: 20.0 if now < 60 else 1.0, 1, 8).run(600)
    check(seconds, 1, 8)
    assert {one.wanted for one in seconds[20:90]} == {8}
    assert seconds[-1].queued < 10
    assert seconds[-1].wanted <= 4


@pytest.mark.parametrize("seed", range(3))
def test_recorded_load_is_served(seed: int) -> None:
    """Visitors that come and go: few wait for long, and it takes fewer workers than the peak for all of the time."""
    curve = recorded("visitors")
    seconds = Model(lambda now: curve[now], 1, MAXIMUM, service=0.15, seed=seed).run(len(curve))
    check(seconds, 1, MAXIMUM)
    waiting = sum(one.queued > 2 * one.ready for one in seconds)
    assert waiting < len(curve) / 20
    assert sum(one.ready for one in seconds) < 0.9 * MAXIMUM * len(curve)
    assert turns(seconds) <= 4


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1.2)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 8),
    st.floats(0.1, 2.0),
    st.floats(0.0, 40.0),
    st.integers(0, 2**16),
)
def test_any_load_is_followed_within_the_rules(
    parts: list[tuple[int, float]], minimum: int, more: int, service: float, boot: float, seed: int
) -> None:
    """Never out of bounds, never down by more than one, never flapping; and it comes to rest when the load has."""
    maximum = minimum + more
    curve = [share * maximum for length, share in parts for _ in range(length)]
    curve += [0.0] * 1000
    seconds = Model(lambda now: curve[now], minimum, maximum, boot, service, seed).run(len(curve))
    check(seconds, minimum, maximum)
    assert seconds[-1].wanted == minimum
    assert seconds[-1].queued == 0
