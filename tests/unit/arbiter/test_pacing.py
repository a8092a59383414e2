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
    delays = [backoff.fail(1000 * number, random) for number in range(2000)]
    for number in range(8):
        assert 0.8 * 1.5**number <= delays[number] <= 1.2 * 1.5**number
    assert max(delays) <= 30
    assert min(delays[9:]) >= 24
    assert len(set(delays[:8])) == 8
    assert backoff.failures == 2000


def test_one_incident_is_one_failure() -> None:
    """What fails while a delay is under way was started before it: sixteen workers that find the database gone."""
    pacing = Pacing(Random(1))
    delay = pacing.fail(7, now=100)
    assert [pacing.fail(7, now=100.3) for _ in range(15)] == pytest.approx([delay - 0.3] * 15)
    assert pacing.failures(7) == 1
    assert pacing.admit([EMPTY], now=100 + delay) == [EMPTY]
    assert 1.2 <= pacing.fail(7, now=100 + delay) <= 1.8


def test_who_dies_as_soon_as_it_is_ready_waits_longer_each_time() -> None:
    """It ends the delay, and the next one goes on where that was; five calm seconds begin anew."""
    pacing = Pacing(Random(1))
    now = 100.0
    for number in range(8):
        delay = pacing.fail(7, now)
        assert 0.8 * 1.5**number <= delay <= 1.2 * 1.5**number
        now += delay + 0.3
        pacing.succeed(7, now)
        assert pacing.failures(7) == 0
        now += 0.5
    pacing.succeed(7, now + 1)
    assert pacing.fail(7, now + 4.4) >= 0.8 * 1.5**8
    pacing.succeed(7, now + 40)
    assert pacing.fail(7, now + 45) <= 1.2


def test_a_ready_worker_does_not_end_the_delay_of_those_that_were_ready_and_died() -> None:
    """Under traffic that kills workers, there is always one that has just become ready, and dies next."""
    pacing = Pacing(Random(1))
    delay = pacing.fail(7, now=100, was_ready=True)
    pacing.succeed(7, now=100.2)
    assert pacing.admit([EMPTY], now=100.2) == []
    assert pacing.fail(7, now=100.3, was_ready=True) == pytest.approx(delay - 0.3), "it is the same try"
    assert pacing.admit([EMPTY], now=100 + delay) == [EMPTY]
    pacing.succeed(7, now=100 + delay)
    assert 1.2 <= pacing.fail(7, now=100.5 + delay, was_ready=True) <= 1.8


def test_one_of_several_that_fail_was_ready() -> None:
    """The try has shown that those who are ready die."""
    pacing = Pacing(Random(1))
    delay = pacing.fail(7, now=100)
    pacing.fail(7, now=100.1, was_ready=True)
    pacing.succeed(7, now=100.2)
    assert pacing.admit([EMPTY], now=100.2) == []
    assert pacing.admit([EMPTY], now=100 + delay) == [EMPTY]


def test_only_calm_since_the_last_failure_counts() -> None:
    """One that was ready long before it is no recovery, though its delay was under way all the time."""
    backoff, random = Backoff(), Random(1)
    for number in range(9):
        backoff.fail(100 * number, random)
    assert backoff.fail(900, random, was_ready=True) >= 24
    backoff.succeed(901)
    backoff.fail(920, random, was_ready=True)
    assert backoff.fail(924.1, random) >= 24


def test_a_stall_is_no_calm() -> None:
    """Nobody heard what failed in it."""
    backoff, random = Backoff(), Random(1)
    backoff.fail(100, random)
    backoff.succeed(102)
    backoff.shift(60)
    assert backoff.fail(163, random) >= 1.2
    backoff.shift(60)
    assert backoff.fail(223.5, random) < 2, "that try's delay was under way"
    assert backoff.failures == 1


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
    pacing.succeed(7, now=0)
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


def test_what_is_not_started_any_more_is_forgotten() -> None:
    """A generation that was dropped, or all but the one that was adopted."""
    pacing = Pacing(Random(1))
    for generation in (6, 7, 8):
        pacing.fail(generation, now=0)
    pacing.forget(6)
    pacing.forget_others(8)
    assert [pacing.failures(generation) for generation in (6, 7, 8)] == [0, 0, 1]
