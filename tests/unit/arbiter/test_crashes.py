"""What the log says of workers that fail again and again."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.arbiter.actions import Level
from pyfork.arbiter.crashes import CALM, MINUTE, CrashLog, Kind, Line

WHY = "worker 1 gen 3 (pid 7) could not boot: no module named shop\nTraceback\n  x"


def test_first_failure_is_told_in_full() -> None:
    """With its traceback, and when the next try is."""
    log = CrashLog()
    assert log.note(3, WHY, 1.04, 100.0) == [(Level.ERROR, f"{WHY}\nthe next try is in 1.0 s")]
    assert log.next_deadline() is None
    assert log.note(4, "it died", 1.0, 100.0, Kind.EARLY_DEATH) == [
        (Level.WARNING, "it died\nthe next try is in 1.0 s")
    ]


def test_the_first_of_each_kind_is_told_in_full() -> None:
    """A worker that is killed early must not hide, for a minute, that the application does not import any more."""
    log = CrashLog()
    log.note(3, "it died", 1, 100.0, Kind.EARLY_DEATH)
    assert log.note(3, WHY, 1.5, 102.0) == [(Level.ERROR, f"{WHY}\nthe next try is in 1.5 s")]
    assert log.note(3, WHY, 1.5, 104.0) == log.note(3, "it died", 1.5, 105.0, Kind.EARLY_DEATH) == []
    assert log.note(3, "no fork", 2, 106.0, Kind.FORK) == [(Level.ERROR, "no fork\nthe next try is in 2.0 s")]
    [(_, text)] = log.on_time(160.0)
    assert "failed 2 times in the last minute" in text


def test_new_kind_after_a_recovery_has_its_end_too() -> None:
    """It was told of, so its end is as well."""
    log = CrashLog()
    log.note(3, "it died", 1, 100.0, Kind.EARLY_DEATH)
    log.recovered(3, 101.0)
    assert len(log.on_time(101.0 + CALM)) == 1
    assert len(log.note(3, WHY, 1, 110.0)) == 1
    log.recovered(3, 112.0)
    assert log.next_deadline() == 112.0 + CALM
    [(level, _)] = log.on_time(112.0 + CALM)
    assert level is Level.INFO


def test_those_that_follow_are_one_line_a_minute() -> None:
    """With the count and the last reason, without its traceback."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    for second in range(14):
        assert log.note(3, f"failure {second}\nTraceback", 20.0, 105.0 + second) == []
    assert log.next_deadline() == 160.0
    assert log.on_time(159.9) == []
    log.note(3, "the very last\nTraceback", 12.35, 159.95)
    assert log.on_time(160.0) == [
        (
            Level.ERROR,
            (
                "generation 3: workers have failed 15 times in the last minute; the last: the very last; "
                "the next try is in 12.3 s"
            ),
        )
    ]
    assert log.next_deadline() is None
    log.note(3, "and again", 10, 170.0)
    assert log.next_deadline() == 220.0
    [(_, text)] = log.on_time(221.0)
    assert text.endswith("failed 1 time in the last minute; the last: and again; it is being tried again")


def test_a_failure_after_a_minute_is_told_at_once() -> None:
    """Nobody has to look at the clock first: a deadline that lies in the past would be one turn of the loop more."""
    log = CrashLog()
    log.note(3, WHY, 30, 100.0)
    [(level, text)] = log.note(3, WHY, 30, 161.0)
    assert level is Level.ERROR
    assert "failed 1 time in the last minute" in text
    assert log.next_deadline() is None


def test_recovery_is_told_once_it_lasts() -> None:
    """With all failures; afterwards nothing is due."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    log.note(3, WHY, 1, 110.0)
    log.recovered(3, 120.0)
    log.recovered(3, 122.0)
    assert log.next_deadline() == 120.0 + CALM
    assert log.on_time(120.0 + CALM) == [(Level.INFO, "generation 3: workers start again, after 2 failures in 20 s")]
    assert log.next_deadline() is None


def test_a_single_failure_has_its_end_too() -> None:
    """The operator need not wonder."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    log.recovered(3, 101.0)
    assert log.on_time(110.0) == [(Level.INFO, "generation 3: workers start again, after 1 failure in 1 s")]


def test_worker_that_dies_as_soon_as_it_is_ready_is_no_recovery() -> None:
    """So it does not make two lines a second."""
    log = CrashLog()
    now = 100.0
    lines = log.note(3, WHY, 1, now)
    for _ in range(119):
        log.recovered(3, now + 1)
        lines += log.on_time(now + 1)
        lines += log.note(3, "it died", 1, now + 1.5)
        now += 2
        lines += log.on_time(now)
    assert len(lines) == 1 + 238 // 60


def test_new_failure_after_a_while_is_told_in_full_again() -> None:
    """A minute after the recovery, not sooner."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    log.recovered(3, 101.0)
    log.on_time(110.0)
    assert log.note(3, WHY, 1, 169.9) == []
    assert log.next_deadline() == 170.0
    log.recovered(3, 169.9)
    assert log.next_deadline() == 169.9 + CALM
    [(level, text)] = log.on_time(175.0)
    assert (level, text) == (Level.INFO, "generation 3: workers start again, after 2 failures in 70 s")
    [(level, _)] = log.note(3, WHY, 1, 235.0)
    assert level is Level.ERROR


def test_generation_that_is_given_up_is_forgotten() -> None:
    """And one that never failed has nothing to recover from."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    log.note(3, WHY, 1, 101.0)
    log.forget(3)
    log.forget(3)
    log.recovered(3, 102.0)
    assert log.next_deadline() is None
    assert log.on_time(1000.0) == []


@pytest.mark.parametrize("is_ready", [False, True])
def test_stall_moves_everything(*, is_ready: bool) -> None:
    """What nobody saw does not count as time."""
    log = CrashLog()
    log.note(3, WHY, 1, 100.0)
    log.note(3, WHY, 10, 155.0)
    if is_ready:
        log.recovered(3, 156.0)
    before = log.next_deadline()
    assert before is not None
    log.shift(1000.0)
    assert log.next_deadline() == before + 1000.0
    [(_, text)] = log.on_time(before + 1000.0)
    assert text.endswith("in 56 s" if is_ready else "the next try is in 5.0 s")


@given(st.lists(st.tuples(st.sampled_from(["fail", "ready", "wait"]), st.floats(0.01, 20)), max_size=300))
def test_lines_are_few_and_no_failure_is_untold(steps: list[tuple[str, float]]) -> None:
    """At most one error a minute, at most one recovery for each; the counts add up to the failures."""
    log = CrashLog()
    now, failures = 0.0, 0
    lines: list[tuple[float, Line]] = []
    for what, pause in steps:
        now += pause
        lines += [(now, line) for line in log.on_time(now)]
        if what == "fail":
            failures += 1
            lines += [(now, line) for line in log.note(1, "why", 1, now)]
        elif what == "ready":
            log.recovered(1, now)
    errors = [moment for moment, (level, _) in lines if level is Level.ERROR]
    assert all(later - earlier >= MINUTE for earlier, later in itertools.pairwise(errors))
    assert len(lines) - len(errors) <= len(errors) + now / MINUTE
    while (deadline := log.next_deadline()) is not None:
        assert log.on_time(deadline)
    assert not failures or lines
