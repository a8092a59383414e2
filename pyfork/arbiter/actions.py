"""What the core orders and the shell carries out, in order. Each action is a frozen value."""

from enum import Enum

import msgspec

from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.ipc.exits import ExitStatus


class Order(Enum):
    """What a process is told, by a signal of the same name."""

    TERM = "TERM"
    """Drain: finish what is in flight, then exit."""
    QUIT = "QUIT"
    """End at once, by normal finalisation."""
    KILL = "KILL"
    """The kernel ends it."""
    USR1 = "USR1"
    """Reopen the logs."""
    HUP = "HUP"
    """To a new arbiter: reload."""


class Level(Enum):
    """The levels of the error log that the core uses."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class SpawnWorker(msgspec.Struct, frozen=True):
    """Fork worker ``number`` of ``generation``; answered by `WorkerSpawned` or `SpawnFailed`.

    Attributes:
        number: its place.
        generation: whose settings it gets.
        mold: the serial of the ready mold to fork it from, and then the answer comes later; None to fork it from the
            arbiter, which answers at once.
        refork_at: requests after which it is to say that it is ripe, or None.
    """

    number: int
    generation: int
    mold: int | None = None
    refork_at: int | None = None


class CancelSpawn(msgspec.Struct, frozen=True):
    """Wait no longer for a mold to fork that worker; answered at once by `SpawnFailed`. One born later exits."""

    number: int
    generation: int


class SpawnMold(msgspec.Struct, frozen=True):
    """Fork a mold for ``generation``, which imports the application; ``serial`` counts the molds of this arbiter.

    Answered at once by `MoldSpawned` or `MoldRefused`.
    """

    generation: int
    serial: int


class PromoteWorker(msgspec.Struct, frozen=True):
    """Have worker ``pid`` fork a copy of itself, once it is between two requests, that becomes the mold ``serial``.

    Answered later by `MoldSpawned` or `MoldRefused`.
    """

    pid: int
    generation: int
    serial: int


class CancelMold(msgspec.Struct, frozen=True):
    """Wait no longer for the worker to do that; answered at once by `MoldRefused`. A mold born later exits."""

    generation: int
    serial: int


class MeasureLoad(msgspec.Struct, frozen=True):
    """See how busy the workers are and how many connections wait; answered at once by `LoadMeasured`."""


class SignalWorker(msgspec.Struct, frozen=True):
    """Send ``order`` to a worker or mold that has not been reaped."""

    pid: int
    order: Order


class DumpStacks(msgspec.Struct, frozen=True):
    """Log the oldest request of the worker and have it write the stacks of all its threads to the error log."""

    pid: int


class LoadConfiguration(msgspec.Struct, frozen=True):
    """Read and check the configuration and open its new listeners for ``generation``.

    Answered by `ConfigurationLoaded` or `ConfigurationRefused`. Nothing of the old is closed yet.
    """

    generation: int


class AdoptGeneration(msgspec.Struct, frozen=True):
    """``generation`` has replaced the others: close the listeners that only they used, forget their settings."""

    generation: int


class DropGeneration(msgspec.Struct, frozen=True):
    """``generation`` failed: close the listeners that only it used, forget its settings."""

    generation: int


class StopAccepting(msgspec.Struct, frozen=True):
    """Let no new connection into the queues (the workers accept what is queued, then everyone closes)."""


class StartUpgrade(msgspec.Struct, frozen=True):
    """Start a new arbiter beside this one; answered at once by `UpgradeStarted` or `UpgradeRefused`."""


class HandOver(msgspec.Struct, frozen=True):
    """The new arbiter ``pid`` serves: the sockets and their paths, the pidfile and MAINPID are to be its own.

    Answered at once by `HandedOver`, or by `HandOverRefused` when nothing has changed hands.
    """

    pid: int


class ReportReady(msgspec.Struct, frozen=True):
    """Tell the arbiter that started this one that all wanted workers are ready."""


class ReopenLogs(msgspec.Struct, frozen=True):
    """Open the arbiter's own log files anew (the core sends USR1 to the workers)."""


class StateChanged(msgspec.Struct, frozen=True):
    """Let those know who look on (systemd, hooks): the arbiter has made a move to ``state``."""

    state: ArbiterState


class ReloadEnded(msgspec.Struct, frozen=True):
    """Let them know that a reload has ended: well, or with the reason why the old generation goes on."""

    error: str | None


class UpgradeFailed(msgspec.Struct, frozen=True):
    """Let them know that an upgrade has come to nothing, and why: this arbiter goes on."""

    reason: str


class Log(msgspec.Struct, frozen=True):
    """Write one line (or, with a traceback, several) to the error log."""

    level: Level
    message: str


class Exit(msgspec.Struct, frozen=True):
    """Everything has ended: close, remove the pidfile and leave with ``status``."""

    status: ExitStatus


Action = (
    SpawnWorker
    | CancelSpawn
    | SpawnMold
    | PromoteWorker
    | CancelMold
    | MeasureLoad
    | SignalWorker
    | DumpStacks
    | LoadConfiguration
    | AdoptGeneration
    | DropGeneration
    | StopAccepting
    | StartUpgrade
    | HandOver
    | ReportReady
    | ReopenLogs
    | StateChanged
    | ReloadEnded
    | UpgradeFailed
    | Log
    | Exit
)
