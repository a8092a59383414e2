"""The states of a worker, a reload, an upgrade and the arbiter, and every legal move between them, as tables.

A move that has no entry raises: it is a bug of ours. What others may do at any moment (a worker's word that crosses our
order to it, an event about a pid that is gone) is sorted out before a move is made.

docs/lifecycle.md is drawn from these tables. A mold has the moves of a worker; what a mold or a worker is to fork is
SPAWNING until its pid is known. Recycling, reforking and scaling need no table: the first two retire READY workers
whose replacement is READY, as a reload does, and the last changes the number of places.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from pyfork.errors import PyforkError


class IllegalMoveError(PyforkError):
    """The core was about to make a move that its tables do not have."""


class WorkerState(Enum):
    """A worker in the arbiter's eyes."""

    SPAWNING = "spawning"
    """Ordered; the shell has not yet said its pid."""
    BOOTING = "booting"
    """The process exists and loads the application."""
    READY = "ready"
    """It accepts connections."""
    DRAINING = "draining"
    """It was told to end, or said that it will, and has until its deadline."""
    STUCK = "stuck"
    """It missed its deadline; its stacks are being written, then it is killed, or told to end if its loop lives."""
    KILLED = "killed"
    """SIGKILL is sent; the kernel has yet to report its end."""
    GONE = "gone"
    """Reaped, or never there."""


class WorkerMove(Enum):
    """What happens to a worker."""

    SPAWNED = "the process exists"
    REFUSED = "the kernel refused"
    GOT_READY = "says ready"
    GAVE_UP = "says why it cannot boot"
    RETIRED = "is told to end"
    MISSED = "misses its deadline"
    KILLED = "runs out of time and is killed"
    GARBLED = "says what is no word and is killed"
    EXITED = "is reaped"


class ReloadState(Enum):
    """How far a reload has come."""

    IDLE = "idle"
    """There is one generation and nothing to do."""
    LOADING = "loading"
    """The configuration is being read."""
    TRYING = "trying"
    """One worker of the new generation boots beside the old ones; nothing of theirs is touched."""
    REPLACING = "replacing"
    """It became ready: the others are replaced, at most a quarter of the wanted number (or one) at a time, each retired
    once its replacement is ready."""
    ROLLING_BACK = "rolling back"
    """The new generation failed: what there is of it is replaced by the old one, just as carefully."""


class ReloadMove(Enum):
    """What happens to a reload."""

    ASKED = "HUP"
    LOADED = "configuration is valid"
    REFUSED = "configuration is refused"
    PROVED = "its first worker is ready"
    FAILED = "a worker of it cannot boot"
    ABANDONED = "HUP or WINCH"
    DONE = "every place has a ready worker of it"
    UNDONE = "nothing of it is left"


class UpgradeState(Enum):
    """How far an upgrade has come."""

    NONE = "none"
    """There is one arbiter."""
    ORDERED = "ordered"
    """The shell has not yet said the new arbiter's pid."""
    TRYING = "trying"
    """The new arbiter starts its workers; nothing of ours is touched."""
    READY = "ready"
    """It serves; the shell has not yet said that what is ours has become its own."""
    ENDING = "ending"
    """It was told to end: its time is over, or nothing can be handed over to it, or we stop."""
    KILLED = "killed"
    """SIGKILL is sent; the kernel has yet to report its end."""
    HANDED_OVER = "handed over"
    """It serves, and what was ours is its own."""


class UpgradeMove(Enum):
    """What happens to an upgrade."""

    ASKED = "USR2"
    STARTED = "the process exists"
    REFUSED = "the shell refused"
    GOT_READY = "all its workers are ready"
    HANDED_OVER = "it is in charge"
    TOLD = "is told to end"
    KILLED = "runs out of time and is killed"
    EXITED = "is reaped"


class ArbiterState(Enum):
    """The arbiter itself."""

    STARTING = "starting"
    """No worker has ever been ready: a boot failure ends it."""
    RUNNING = "running"
    """One generation serves."""
    RELOADING = "reloading"
    """A reload is not idle."""
    UPGRADING = "upgrading"
    """A new arbiter is being tried beside this one, which serves as ever."""
    STOPPING = "stopping"
    """Nothing is started any more; it ends when the last worker is reaped."""


class ArbiterMove(Enum):
    """What happens to the arbiter."""

    SERVING = "the first worker is ready"
    RELOAD = "a reload begins"
    RELOADED = "the reload is idle again"
    UPGRADE = "USR2"
    UPGRADE_FAILED = "the new arbiter failed"
    HANDED_OVER = "the new arbiter is ready"
    STOP = "TERM, INT, QUIT"
    BOOT_FAILED = "a worker cannot boot"


WORKER_TRANSITIONS: Mapping[WorkerState, Mapping[WorkerMove, WorkerState]] = {
    WorkerState.SPAWNING: {
        WorkerMove.SPAWNED: WorkerState.BOOTING,
        WorkerMove.REFUSED: WorkerState.GONE,
    },
    WorkerState.BOOTING: {
        WorkerMove.GOT_READY: WorkerState.READY,
        WorkerMove.GAVE_UP: WorkerState.DRAINING,
        WorkerMove.RETIRED: WorkerState.DRAINING,
        WorkerMove.MISSED: WorkerState.STUCK,
        WorkerMove.GARBLED: WorkerState.KILLED,
        WorkerMove.EXITED: WorkerState.GONE,
    },
    WorkerState.READY: {
        WorkerMove.RETIRED: WorkerState.DRAINING,
        WorkerMove.MISSED: WorkerState.STUCK,
        WorkerMove.GARBLED: WorkerState.KILLED,
        WorkerMove.EXITED: WorkerState.GONE,
    },
    WorkerState.DRAINING: {
        WorkerMove.RETIRED: WorkerState.DRAINING,  # told again, and sooner
        WorkerMove.KILLED: WorkerState.KILLED,
        WorkerMove.GARBLED: WorkerState.KILLED,
        WorkerMove.EXITED: WorkerState.GONE,
    },
    WorkerState.STUCK: {
        WorkerMove.RETIRED: WorkerState.DRAINING,  # its loop lives: it can finish its other requests
        WorkerMove.KILLED: WorkerState.KILLED,
        WorkerMove.GARBLED: WorkerState.KILLED,
        WorkerMove.EXITED: WorkerState.GONE,
    },
    WorkerState.KILLED: {
        WorkerMove.EXITED: WorkerState.GONE,
    },
    WorkerState.GONE: {},
}

RELOAD_TRANSITIONS: Mapping[ReloadState, Mapping[ReloadMove, ReloadState]] = {
    ReloadState.IDLE: {
        ReloadMove.ASKED: ReloadState.LOADING,
    },
    ReloadState.LOADING: {
        ReloadMove.LOADED: ReloadState.TRYING,
        ReloadMove.REFUSED: ReloadState.ROLLING_BACK,
    },
    ReloadState.TRYING: {
        ReloadMove.PROVED: ReloadState.REPLACING,
        ReloadMove.FAILED: ReloadState.ROLLING_BACK,
        ReloadMove.ABANDONED: ReloadState.ROLLING_BACK,
    },
    ReloadState.REPLACING: {
        ReloadMove.DONE: ReloadState.IDLE,
        ReloadMove.FAILED: ReloadState.ROLLING_BACK,
    },
    ReloadState.ROLLING_BACK: {
        ReloadMove.UNDONE: ReloadState.IDLE,
        ReloadMove.ASKED: ReloadState.LOADING,
    },
}

UPGRADE_TRANSITIONS: Mapping[UpgradeState, Mapping[UpgradeMove, UpgradeState]] = {
    UpgradeState.NONE: {
        UpgradeMove.ASKED: UpgradeState.ORDERED,
    },
    UpgradeState.ORDERED: {
        UpgradeMove.STARTED: UpgradeState.TRYING,
        UpgradeMove.REFUSED: UpgradeState.NONE,
    },
    UpgradeState.TRYING: {
        UpgradeMove.GOT_READY: UpgradeState.READY,
        UpgradeMove.TOLD: UpgradeState.ENDING,
        UpgradeMove.EXITED: UpgradeState.NONE,
    },
    UpgradeState.READY: {
        UpgradeMove.HANDED_OVER: UpgradeState.HANDED_OVER,
        UpgradeMove.TOLD: UpgradeState.ENDING,
    },
    UpgradeState.ENDING: {
        UpgradeMove.TOLD: UpgradeState.ENDING,  # told again, and sooner
        UpgradeMove.KILLED: UpgradeState.KILLED,
        UpgradeMove.EXITED: UpgradeState.NONE,
    },
    UpgradeState.KILLED: {
        UpgradeMove.EXITED: UpgradeState.NONE,
    },
    UpgradeState.HANDED_OVER: {},
}

ARBITER_TRANSITIONS: Mapping[ArbiterState, Mapping[ArbiterMove, ArbiterState]] = {
    ArbiterState.STARTING: {
        ArbiterMove.SERVING: ArbiterState.RUNNING,
        ArbiterMove.BOOT_FAILED: ArbiterState.STOPPING,
        ArbiterMove.STOP: ArbiterState.STOPPING,
    },
    ArbiterState.RUNNING: {
        ArbiterMove.RELOAD: ArbiterState.RELOADING,
        ArbiterMove.UPGRADE: ArbiterState.UPGRADING,
        ArbiterMove.STOP: ArbiterState.STOPPING,
    },
    ArbiterState.RELOADING: {
        ArbiterMove.RELOADED: ArbiterState.RUNNING,
        ArbiterMove.STOP: ArbiterState.STOPPING,
    },
    ArbiterState.UPGRADING: {
        ArbiterMove.UPGRADE_FAILED: ArbiterState.RUNNING,
        ArbiterMove.HANDED_OVER: ArbiterState.STOPPING,
        ArbiterMove.STOP: ArbiterState.STOPPING,
    },
    ArbiterState.STOPPING: {},
}

State = TypeVar("State", bound=Enum)
Move = TypeVar("Move", bound=Enum)


def advance(table: Mapping[State, Mapping[Move, State]], state: State, move: Move) -> State:
    """Return the state that ``move`` leads to from ``state``.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    try:
        return table[state][move]
    except KeyError:
        raise IllegalMoveError(f"{state} has no move {move}") from None
