"""Surge and silence."""

import pytest

from pyfork.arbiter.policy import Silence, surge
from tests.unit.arbiter.script import plan


@pytest.mark.parametrize(("count", "allowed"), [(0, 1), (1, 1), (4, 1), (7, 1), (8, 2), (9, 2), (512, 128)])
def test_surge_is_a_quarter_and_at_least_one(count: int, allowed: int) -> None:
    """A reload of four workers has five."""
    assert surge(count) == allowed


def test_silence_is_suspect_after_two_beats_and_over_after_the_timeout() -> None:
    """One look in between, no tick."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    assert silence.deadline() == 110
    assert not silence.look(109.9, None)
    assert silence.suspected is None
    assert not silence.look(110, None)
    assert silence.deadline() == 130
    assert not silence.look(129.9, None)
    assert silence.look(130, None)


def test_stretch_in_the_application_counts_from_its_start() -> None:
    """A request that began just before the next beat has its whole timeout."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    assert not silence.look(110, 104.9)
    assert silence.deadline() == pytest.approx(134.9)
    assert not silence.look(130, 104.9)
    assert silence.look(134.9, 104.9)


def test_new_chunk_is_progress() -> None:
    """A stream of an hour is no stuck request: each stretch counts by itself."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.look(110, 104)
    assert not silence.look(134, 133)
    assert silence.deadline() == 163


def test_stretch_older_than_the_last_beat_does_not_count() -> None:
    """A worker type whose loop beats while threads work is judged by the later of both."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    assert not silence.look(110, 50)
    assert silence.deadline() == 130


def test_beat_clears_the_suspicion() -> None:
    """Whoever beats is well."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.look(110, None)
    silence.hear(112)
    assert silence.deadline() == 122


def test_look_that_comes_late_gives_the_rest_of_the_timeout() -> None:
    """An arbiter that was held up for less than a stall has not heard what was said meanwhile."""
    silence = Silence(plan(timeout=1, beat_interval=0.25), heard=100)
    assert not silence.look(101.4, None)
    assert silence.deadline() == pytest.approx(101.9)


def test_beat_tells_of_a_stretch_that_has_outlasted_the_timeout() -> None:
    """The loop lives, a request in one of its threads does not get on."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    assert not silence.hear(105)
    assert not silence.hear(110, 106)
    assert not silence.hear(135.9, 106)
    assert silence.hear(136, 106)


def test_stall_moves_a_stretch_that_beats_tell_of() -> None:
    """A machine that stood still for 40 s did not let the request get on; only stalls since its start count."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.shift(10, 115)
    assert not silence.hear(120, 118)
    silence.shift(40, 162)
    assert not silence.hear(162, 118)
    assert not silence.hear(187.9, 118)
    assert silence.hear(188, 118)
    assert silence.hear(195, 165)


def test_stretch_that_began_in_a_stall_moves_by_the_rest_of_it() -> None:
    """The arbiter was last awake before the worker entered the application: it cannot know since when it stood still."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.shift(12, 112)
    assert not silence.hear(113, 105)
    assert silence.hear(142, 105)


def test_timeout_zero_is_never() -> None:
    """Nothing to look at."""
    silence = Silence(plan(timeout=0), heard=100)
    assert not silence.hear(1e6, 101)
    assert silence.deadline() is None
    assert not silence.look(1e9, 101)


def test_stall_moves_what_was_heard_and_what_was_suspected() -> None:
    """As if the time had stood still."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.shift(40, 145)
    assert silence.deadline() == 150
    silence.look(150, None)
    silence.shift(10, 161)
    assert silence.deadline() == 180


def test_stall_moves_a_stretch_that_began_before_it() -> None:
    """The scoreboard's moments are older; a stretch that began afterwards counts from its start."""
    silence = Silence(plan(timeout=30, beat_interval=5), heard=100)
    silence.shift(40, 145)
    silence.look(150, 104)
    assert silence.deadline() == 174  # 104 + 40 + 30
    silence.look(150, 149)
    assert silence.deadline() == 179
    silence.shift(20, 175)
    silence.look(175, 149)
    assert silence.deadline() == 199  # only the second stall
    silence.hear(176)
    silence.look(186, 104)
    assert silence.deadline() == 206
