"""Delays after failed boots."""

from random import Random

import pytest

from pyfork.arbiter.pacing import Backoff, Pacing
from pyfork.arbiter.placement import Vacancy

EMPTY = Vacancy(1, 7, is_empty=True)
HELD = Vacancy(2, 7, is_empty=False)


def test_delays_grow_to_thirty_seconds() -> None:
    """1, 1.5, 2.25 ... and never more than 30, however often it fails."""
    backoff, random = Backoff(), Random(3)
    delays = [backoff.fail(0, random) for _ in range(2000)]
    for number in range(8):
        assert 0.8 * 1.5**number <= delays[number] <= 1.2 * 1.5**number
    assert max(delays) <= 30
    assert min(delays[9:]) >= 24
    assert len(set(delays[:8])) == 8
    assert backoff.failures == 2000


def test_servers_that_failed_together_do_not_come_back_together() -> None:
    """The jitter comes from the random numbers that are given."""
    assert Backoff().fail(0, Random(1)) != Backoff().fail(0, Random(2))
    assert Backoff().fail(0, Random(1)) == Backoff().fail(0, Random(1))


def test_vacancy_waits_for_the_delay_of_its_generation() -> None:
    """And for no other's."""
    pacing = Pacing(Random(1))
    assert pacing.admit([EMPTY, HELD], now=0) == [EMPTY, HELD]
    delay = pacing.fail(7, now=0)
    other = Vacancy(0, 8, is_empty=True)
    assert pacing.admit([EMPTY, HELD, other], now=0) == [other]
    assert pacing.next_try() == pytest.approx(delay)
    assert pacing.admit([EMPTY, HELD], now=delay) == [EMPTY, HELD]
    assert pacing.next_try() is None


def test_nobody_wakes_for_a_delay_without_a_vacancy() -> None:
    """The place may be gone by then."""
    pacing = Pacing(Random(1))
    pacing.fail(7, now=0)
    assert pacing.next_try() is None
    pacing.admit([EMPTY], now=0)
    pacing.admit([], now=0)
    assert pacing.next_try() is None


def test_ready_worker_ends_the_delay() -> None:
    """What boots once will boot again."""
    pacing = Pacing(Random(1))
    pacing.fail(7, now=0)
    pacing.admit([EMPTY], now=0)
    pacing.succeed(7)
    assert pacing.next_try() is None
    assert pacing.admit([EMPTY], now=0) == [EMPTY]


def test_lost_worker_does_not_wait_once() -> None:
    """Only its own empty place, and only this time."""
    pacing = Pacing(Random(1))
    pacing.fail(7, now=0)
    pacing.lose(1)
    pacing.lose(2)
    assert pacing.admit([EMPTY, HELD], now=0) == [EMPTY]
    assert pacing.admit([EMPTY], now=0) == []


def test_stall_moves_the_next_try() -> None:
    """As every deadline."""
    pacing = Pacing(Random(1))
    delay = pacing.fail(7, now=0)
    pacing.admit([EMPTY], now=0)
    pacing.shift(40)
    assert pacing.next_try() == pytest.approx(delay + 40)


def test_arbiter_that_stops_waits_for_nothing() -> None:
    """Or it would wake without end."""
    pacing = Pacing(Random(1))
    pacing.fail(7, now=0)
    pacing.admit([EMPTY], now=0)
    pacing.rest()
    assert pacing.next_try() is None
