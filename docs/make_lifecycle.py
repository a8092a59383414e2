"""Writes docs/lifecycle.md from the tables in the code: `python docs/make_lifecycle.py` (or `make docs`)."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pyfork.arbiter.lifecycle import (
    ARBITER_TRANSITIONS,
    RELOAD_TRANSITIONS,
    UPGRADE_TRANSITIONS,
    WORKER_TRANSITIONS,
    ArbiterState,
    ReloadState,
    UpgradeState,
    WorkerState,
)
from pyfork.arbiter.policy import SPAWN_TIMEOUT

PAGE = Path(__file__).parent / "lifecycle.md"

HEAD = """# The states of workers, reloads, upgrades and the arbiter

This page is made from the tables in `pyfork/arbiter/lifecycle.py` by `make docs`. A move that is not in a table raises:
what you see is all that can happen. What leads to a move is decided by `pyfork/arbiter/core.py` and by what it asks
beside it: `failures.py`, `mold_events.py`, `placement.py` and `staffing.py`, `stopping.py`, `upgrade_events.py`.
[sequences.md](sequences.md) shows real runs, message by message.
"""

WORKER = f"""
## A worker, a mold

As the arbiter sees it, from the order to spawn it until it is reaped. Where n workers are wanted there are n *places*,
numbered from 0. A worker that is spawning, booting or ready holds its place; in all other states its place is empty and
is filled again (`pyfork/arbiter/placement.py`). It goes from "spawning" to "gone" also when its mold has
not forked it within {SPAWN_TIMEOUT:g} s.

A mold goes through the same table, but holds no place; it is ready when workers can be forked from it.
"""

RELOAD = """
## A reload

What HUP sets going (`pyfork/arbiter/rollout.py`). A *generation* is what comes of one reading of the configuration: its
settings, its sockets, and the workers that were started with them. A ready worker is retired only when its replacement
is ready, on the way to the new generation and on the way back. A HUP during "loading" or "replacing" is remembered and
answered when that has ended. During "trying" it abandons the candidate at once, which may hang, and tries what is there
now: of HUPs that come faster than a worker boots, the last one is answered.
"""

UPGRADE = """
## An upgrade

What USR2 sets going, as the old arbiter sees it (`pyfork/arbiter/succession.py`, [upgrade.md](upgrade.md)). A HUP
meanwhile is remembered and answered if the upgrade fails.
"""

ARBITER = """
## The arbiter

It is "reloading" whenever a reload is not idle, and "upgrading" until the new arbiter has taken over or is gone.
"""


def render() -> str:
    """Return the page."""
    return (
        HEAD
        + WORKER
        + _section(WorkerState, WORKER_TRANSITIONS, WorkerState.SPAWNING, WorkerState.GONE)
        + RELOAD
        + _section(ReloadState, RELOAD_TRANSITIONS, ReloadState.IDLE)
        + UPGRADE
        + _section(UpgradeState, UPGRADE_TRANSITIONS, UpgradeState.NONE, UpgradeState.HANDED_OVER)
        + ARBITER
        + _section(ArbiterState, ARBITER_TRANSITIONS, ArbiterState.STARTING, ArbiterState.STOPPING)
    )


def _section(states: type[Enum], table: Mapping[Any, Mapping[Any, Enum]], first: Enum, last: Enum | None = None) -> str:
    meanings = dict(_meanings(states))
    rows = "".join(f"| {state.value} | {meanings[state.name]} |\n" for state in states)
    moves = [(state, to, move) for state, row in table.items() for move, to in row.items()]
    arrows = "".join(f"    {_name(state)} --> {_name(to)}: {move.value}\n" for state, to, move in moves)
    names = "".join(f'    state "{state.value}" as {_name(state)}\n' for state in states)
    end = f"    {_name(last)} --> [*]\n" if last is not None else ""
    diagram = f"stateDiagram-v2\n{names}    [*] --> {_name(first)}\n{arrows}{end}"
    return f"\n```mermaid\n{diagram}```\n\n| state | meaning |\n|---|---|\n{rows}"


def _name(state: Enum) -> str:
    return state.name.lower()


def _meanings(states: type[Enum]) -> Iterator[tuple[str, str]]:
    """Yield each member's name and the string below it, which Python itself forgets."""
    name = ""
    for statement in ast.parse(inspect.getsource(states)).body[0].body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                yield name, " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
