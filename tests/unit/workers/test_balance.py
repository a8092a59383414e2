"""Who is above its fair share."""

import pytest

from pyfork.workers.balance import ABSENCE, MOST_MISSED, SECOND_CHANCES, SLACK, Balance

NOW = 1000.0


def exact(slot: int) -> Balance:
    """Return the balance of a worker whose threads are all taken already."""
    balance = Balance(slot)
    balance.at_once = 0
    return balance


def loads_of(*connections: int | None) -> list[int]:
    """Return the words of the scoreboard: None for a slot that does not count."""
    return [0 if count is None else count + 1 for count in connections]


@pytest.mark.parametrize(
    ("connections", "is_above"),
    [
        ((5,), False),
        ((5, None, None), False),
        ((1, 0, 0, 0), False),
        ((2, 0, 0, 0), True),
        ((2, 1, 1, 1), True),
        ((2, 2, 2, 1), True),
        ((2, 2, 2, 2), False),
        ((2, 3, 3, 3), False),
        ((0, 9, 9, 9), False),
        ((28, None, None, 28), False),
        ((29, None, None, 28), True),
    ],
)
def test_the_next_connection_is_for_whoever_has_fewest(connections, is_above):
    """One more must not lift a worker above the mean, rounded up; who boots, drains or has no room does not count."""
    assert exact(0).is_above(loads_of(*connections), NOW) is is_above


def test_every_worker_looks_with_its_own_eyes():
    """The figures are the same for all, the verdicts are not."""
    loads = loads_of(7, 2, None, 3)
    assert [exact(slot).is_above(loads, NOW) for slot in (0, 1, 3)] == [True, False, False]


def test_what_waits_is_everybodys():
    """Of 80 that arrive at once whoever looks first takes a quarter, and the last takes what is left."""
    assert not exact(0).is_above(loads_of(19, 0, 0, 0), NOW, waiting=61)
    assert exact(0).is_above(loads_of(20, 0, 0, 0), NOW, waiting=60)
    assert not exact(3).is_above(loads_of(20, 20, 20, 19), NOW)
    assert exact(2).is_above(loads_of(20, 20, 20, 19), NOW)


def test_one_above_the_share_is_nothing_while_there_are_threads():
    """Short connections would cost a pause for each; one that would have to wait for a thread is another matter."""
    balance = Balance(0)
    balance.at_once = 20
    assert not balance.is_above(loads_of(19, 18, 18, 18), NOW)
    assert balance.is_above(loads_of(20, 20, 20, 19), NOW)
    assert not Balance(0).is_above(loads_of(20, 19, 19, 19), NOW)
    assert Balance(0).is_above(loads_of(21, 19, 19, 19), NOW)


def test_who_is_busy_leaves_it_to_anybody_who_is_not():
    """However few connections it has; if all are busy, any may let one wait."""
    assert exact(0).is_above(loads_of(None, 500, None), NOW)
    assert not exact(0).is_above(loads_of(None, None, None), NOW)
    balance = exact(0)
    miss(balance, loads_of(9, 3), loads_of(9, 3), MOST_MISSED)
    assert not balance.is_above(loads_of(None, 3), NOW)
    assert balance.is_above(loads_of(None, 4), NOW)


def test_thousands_are_weighed_less_finely():
    """One in 64 above the share is forgiven, so that few pauses are for nothing."""
    assert not exact(0).is_above(loads_of(SLACK * 10 + 10, SLACK * 10 - 10), NOW)
    assert exact(0).is_above(loads_of(SLACK * 10 + 12, SLACK * 10 - 12), NOW)
    assert exact(0).is_above(loads_of(SLACK - 1 + 2, SLACK - 1 - 2), NOW)


def miss(balance: Balance, before: list[int], after: list[int], times: int = 1) -> None:
    """Let pauses pass that end with a connection waiting."""
    for _ in range(times):
        balance.begin_pause(before)
        balance.note_missed(after, NOW)


def test_a_worker_that_takes_nothing_counts_no_longer():
    """After ten pauses in vain it is stopped or stuck, and nobody waits for it; when it moves it counts again."""
    balance = exact(0)
    before, after = loads_of(10, 4), loads_of(11, 4)
    miss(balance, before, after, MOST_MISSED - 1)
    assert balance.is_above(after, NOW)
    miss(balance, before, after)
    assert not balance.is_above(after, NOW)
    assert not balance.is_above(loads_of(500, 4), NOW)
    assert balance.is_above(loads_of(500, 5), NOW), "it has moved"
    assert balance.is_above(loads_of(500, 5), NOW)


def test_whoever_was_absent_is_tried_again_after_a_second():
    """It may have gone on long ago, and had no occasion to show it; if it has not, it takes two pauses to tell."""
    balance = exact(0)
    loads = loads_of(10, 4)
    miss(balance, loads, loads, MOST_MISSED)
    assert not balance.is_above(loads, NOW + ABSENCE / 2)
    assert balance.is_above(loads, NOW + ABSENCE)
    miss(balance, loads, loads, SECOND_CHANCES - 1)
    assert balance.is_above(loads, NOW)
    miss(balance, loads, loads)
    assert not balance.is_above(loads, NOW)


def test_an_absent_worker_leaves_the_share_to_the_others():
    """Those who do accept are still held equal."""
    balance = exact(0)
    miss(balance, loads_of(9, 0, 9), loads_of(10, 0, 10), MOST_MISSED)
    assert not balance.is_above(loads_of(20, 0, 20), NOW)
    assert balance.is_above(loads_of(22, 0, 20), NOW)
    miss(balance, loads_of(9, 0, 9), loads_of(10, 0, 10), MOST_MISSED)  # it is not judged twice
    assert not balance.is_above(loads_of(20, 0, 20), NOW)


def test_whoever_moves_now_and_then_is_not_absent():
    """The pauses in vain count in a row."""
    balance = exact(0)
    for _ in range(3):
        miss(balance, loads_of(10, 4), loads_of(10, 4), MOST_MISSED - 1)
        miss(balance, loads_of(10, 4), loads_of(10, 5))
    assert balance.is_above(loads_of(10, 4), NOW)


def test_only_those_who_should_have_taken_it_miss_it():
    """Who has as much as this worker has paused too, and whose slot does not count cannot accept."""
    balance = exact(0)
    miss(balance, loads_of(10, 10, None), loads_of(10, 10, None), MOST_MISSED)
    assert balance.is_above(loads_of(12, 10, None), NOW)
    assert balance.is_above(loads_of(12, None, 0), NOW)


def test_a_slot_taken_into_use_meanwhile_is_not_judged():
    """A list may have grown since the pause began."""
    balance = exact(0)
    miss(balance, loads_of(10), loads_of(10, 0), MOST_MISSED)
    assert balance.is_above(loads_of(10, 0), NOW)


def test_a_return_without_a_pause_judges_nobody():
    """What a pause showed is used once."""
    balance = exact(0)
    balance.begin_pause(loads_of(10, 0))
    for _ in range(MOST_MISSED):
        balance.note_missed(loads_of(11, 0), NOW)
    assert balance.is_above(loads_of(11, 0), NOW)
