"""The tables of legal moves."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from pyfork.arbiter.lifecycle import (
    ARBITER_TRANSITIONS,
    RELOAD_TRANSITIONS,
    WORKER_TRANSITIONS,
    ArbiterMove,
    ArbiterState,
    IllegalMoveError,
    ReloadMove,
    ReloadState,
    WorkerMove,
    WorkerState,
    advance,
)

Table = Mapping[Any, Mapping[Any, Any]]

TABLES = [
    pytest.param(WORKER_TRANSITIONS, WorkerState, WorkerMove, WorkerState.SPAWNING, id="worker"),
    pytest.param(RELOAD_TRANSITIONS, ReloadState, ReloadMove, ReloadState.IDLE, id="reload"),
    pytest.param(ARBITER_TRANSITIONS, ArbiterState, ArbiterMove, ArbiterState.STARTING, id="arbiter"),
]


@pytest.mark.parametrize(("table", "states", "moves", "first"), TABLES)
def test_table_is_whole(table: Table, states: type[Enum], moves: type[Enum], first: Enum) -> None:
    """Every state has a row and can be reached, every move is possible somewhere."""
    assert set(table) == set(states)
    assert {move for row in table.values() for move in row} == set(moves)
    reached, todo = {first}, [first]
    while todo:
        for state in table[todo.pop()].values():
            if state not in reached:
                reached.add(state)
                todo.append(state)
    assert reached == set(states)


def test_worker_can_always_end() -> None:
    """Whatever it does, being reaped is a legal move of every process."""
    for state in set(WorkerState) - {WorkerState.SPAWNING, WorkerState.GONE}:
        assert advance(WORKER_TRANSITIONS, state, WorkerMove.EXITED) is WorkerState.GONE


def test_arbiter_can_always_be_stopped() -> None:
    """TERM leads to STOPPING from everywhere, and nothing leads out of it."""
    for state in set(ArbiterState) - {ArbiterState.STOPPING}:
        assert advance(ARBITER_TRANSITIONS, state, ArbiterMove.STOP) is ArbiterState.STOPPING
    assert not ARBITER_TRANSITIONS[ArbiterState.STOPPING]


def test_absent_entry_raises() -> None:
    """A move that the table does not have is our bug, and says which."""
    with pytest.raises(IllegalMoveError, match=r"WorkerState\.GONE has no move WorkerMove\.KILLED"):
        advance(WORKER_TRANSITIONS, WorkerState.GONE, WorkerMove.KILLED)
