"""What the core orders and the shell carries out, in order. Each action is a frozen value."""

from dataclasses import dataclass
from enum import Enum

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


class Level(Enum):
    """The levels of the error log that the core uses."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    """Fork worker ``number`` of ``generation``; answered at once by `WorkerSpawned` or `SpawnFailed`."""

    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class SignalWorker:
    """Send ``order`` to a process that has not been reaped."""

    pid: int
    order: Order


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Log the oldest request of the worker and have it write the stacks of all its threads to the error log."""

    pid: int


@dataclass(frozen=True, slots=True)
class LoadConfiguration:
    """Read and check the configuration and open its new listeners for ``generation``.

    Answered by `ConfigurationLoaded` or `ConfigurationRefused`. Nothing of the old is closed yet.
    """

    generation: int


@dataclass(frozen=True, slots=True)
class AdoptGeneration:
    """``generation`` has replaced the others: close the listeners that only they used, forget their settings."""

    generation: int


@dataclass(frozen=True, slots=True)
class DropGeneration:
    """``generation`` failed: close the listeners that only it used, forget its settings."""

    generation: int


@dataclass(frozen=True, slots=True)
class StopAccepting:
    """Let no new connection into the queues (the workers accept what is queued, then everyone closes)."""


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Open the arbiter's own log files anew (the core sends USR1 to the workers)."""


@dataclass(frozen=True, slots=True)
class Log:
    """Write one line (or, with a traceback, several) to the error log."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class Exit:
    """Everything has ended: close, remove the pidfile and leave with ``status``."""

    status: ExitStatus


Action = (
    SpawnWorker
    | SignalWorker
    | DumpStacks
    | LoadConfiguration
    | AdoptGeneration
    | DropGeneration
    | StopAccepting
    | ReopenLogs
    | Log
    | Exit
)
