"""Which generation serves, which is tried, which has failed."""

from typing import Any

import pytest

from pyfork.arbiter.lifecycle import IllegalMoveError, ReloadMove, ReloadState
from pyfork.arbiter.rollout import Rollout
from tests.unit.arbiter.script import plan


def trying(count: int = 2, **more: Any) -> Rollout:
    rollout = Rollout(plan(count=2))
    rollout.begin()
    rollout.load(plan(count=count, **more))
    return rollout


def test_candidate_is_the_target_only_after_its_proof() -> None:
    """Until then it is a trial."""
    rollout = trying()
    assert (rollout.current, rollout.trial, rollout.candidate, rollout.target) == (1, 2, 2, 1)
    rollout.prove()
    assert (rollout.current, rollout.trial, rollout.candidate, rollout.target) == (1, None, 2, 2)
    assert rollout.adopt() == 2
    assert (rollout.current, rollout.trial, rollout.candidate, rollout.target) == (2, None, None, 2)
    assert rollout.state is ReloadState.IDLE


def test_proof_tells_whether_the_file_changed_the_count() -> None:
    """Compared with the current generation's file, not with what operators made of it."""
    assert not trying(count=2).prove()
    assert trying(count=5).prove()
    assert trying(bounds=(1, 4)).prove()


def test_failed_candidate_is_remembered_until_it_is_dropped() -> None:
    """Its settings are kept as long, and no longer."""
    rollout = trying()
    assert rollout.fail(ReloadMove.FAILED) == 2
    assert rollout.failed == {2}
    assert rollout.target == 1
    assert rollout.plan(2).count == 2
    rollout.drop(2)
    rollout.undo()
    assert rollout.state is ReloadState.IDLE
    with pytest.raises(KeyError):
        rollout.plan(2)


def test_numbers_are_never_used_twice() -> None:
    """A refused generation has had its number in the log."""
    rollout = Rollout(plan())
    assert rollout.begin() == 2
    rollout.refuse()
    assert rollout.can_begin
    assert rollout.begin() == 3


def test_reload_can_begin_when_idle_or_rolling_back() -> None:
    """Not in the middle of another."""
    rollout = Rollout(plan())
    assert rollout.can_begin
    rollout.begin()
    assert not rollout.can_begin
    rollout.load(plan())
    rollout.prove()
    assert not rollout.can_begin
    with pytest.raises(IllegalMoveError):
        rollout.begin()
    rollout.fail(ReloadMove.FAILED)
    assert rollout.can_begin
