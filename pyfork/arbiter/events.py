"""What the shell tells the core. Each event is a frozen value; ``core.handle(event, now)`` answers with actions.

Times are seconds of the monotonic clock, as the shell read it. Pids stand for processes that the shell has not yet
reaped: after `WorkerExited` a pid never appears again.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

from pyfork.ipc.messages import FailureKind as FailureKind  # noqa: PLC0414 - a part of this vocabulary


class Verb(Enum):
    """What a signal (or an operator, later) asks of the arbiter. `arbiter.verbs` maps signals to verbs."""

    STOP = "stop"
    """TERM: finish what is in flight, then end."""
    STOP_NOW = "stop now"
    """INT, QUIT, a second TERM: end at once."""
    RELOAD = "reload"
    """HUP."""
    SCALE_UP = "scale up"
    """TTIN: one worker more."""
    SCALE_DOWN = "scale down"
    """TTOU: one worker less, never below one."""
    REOPEN_LOGS = "reopen logs"
    """USR1."""
    DRAIN_WORKERS = "drain workers"
    """WINCH without a controlling terminal: retire all workers, keep listening; HUP or TTIN brings them back."""
    UPGRADE = "upgrade"
    """USR2: start a new arbiter from what is on the disk now, and leave when it serves."""
    REFORK = "refork"
    """URG: make a warm worker the mold of the others."""


class Plan(msgspec.Struct, frozen=True):
    """What the core needs of the settings.

    Attributes:
        count: workers wanted.
        timeout: seconds without progress in the application before a worker is stuck; 0 is never.
        boot_timeout: seconds from the spawn until the worker must be ready; 0 is never.
        graceful_timeout: seconds that a draining worker may take.
        beat_interval: seconds between two beats of a worker that waits.
        bounds: the fewest and the most workers when their number follows the load, or None.
        preload: workers are forked from a mold.
        can_refork: a worker may become a mold.
        refork_after: requests of a worker after which it does, by how often that has happened.
        refork_repeats: the last of them counts again and again.
    """

    count: int
    timeout: float
    boot_timeout: float
    graceful_timeout: float
    beat_interval: float
    bounds: tuple[int, int] | None = None
    preload: bool = False
    can_refork: bool = False
    refork_after: tuple[int, ...] = ()
    refork_repeats: bool = False


class Started(msgspec.Struct, frozen=True):
    """The listeners are bound: start the first workers."""


class VerbReceived(msgspec.Struct, frozen=True):
    """A signal (or, later, an operator's command) asks for something."""

    verb: Verb


class WorkerSpawned(msgspec.Struct, frozen=True):
    """The answer to `actions.SpawnWorker`: the process exists. It comes at once, or, from a mold, later."""

    number: int
    generation: int
    pid: int


class SpawnFailed(msgspec.Struct, frozen=True):
    """The answer to `actions.SpawnWorker`: the kernel refused (EAGAIN, ENOMEM, EMFILE), or the mold has not done it."""

    number: int
    generation: int
    reason: str


class WorkerReady(msgspec.Struct, frozen=True):
    """The worker has loaded the application and accepts connections."""

    pid: int


class WorkerBeat(msgspec.Struct, frozen=True):
    """The worker's own loop is alive.

    Attributes:
        pid: whose.
        entered: the start of its oldest present stretch in the application, read from the scoreboard when the beat was
            heard; None outside of it. Where the loop runs the application itself, a beat never comes with one that
            matters.
    """

    pid: int
    entered: float | None = None


class WorkerWorn(msgspec.Struct, frozen=True):
    """The worker asks to be replaced, and serves on until it is: ``reason`` completes "because ..."."""

    pid: int
    reason: str


class WorkerRipe(msgspec.Struct, frozen=True):
    """The worker has served as many requests as make it a mold (`actions.SpawnWorker.refork_at`)."""

    pid: int


class LoadMeasured(msgspec.Struct, frozen=True):
    """The answer to `actions.MeasureLoad`.

    Attributes:
        utilisation: the part of their capacity that the ready workers used since the last time, 0 to 1.
        queued: connections that wait to be accepted.
    """

    utilisation: float
    queued: int


class MoldSpawned(msgspec.Struct, frozen=True):
    """The answer to `actions.SpawnMold`, at once, or to `actions.PromoteWorker`, later: the process exists."""

    generation: int
    serial: int
    pid: int


class MoldRefused(msgspec.Struct, frozen=True):
    """The answer to `actions.SpawnMold`, `actions.PromoteWorker` or `actions.CancelMold`: there is no such process."""

    generation: int
    serial: int
    reason: str


class MoldReady(msgspec.Struct, frozen=True):
    """The mold has loaded the application, or was forked from a worker that had, and takes orders."""

    pid: int


class MoldExited(msgspec.Struct, frozen=True):
    """The mold was reaped; see `WorkerExited`."""

    pid: int
    code: int | None
    signal: str | None
    oom_kills: int | None = None


class BootFailed(msgspec.Struct, frozen=True):
    """A worker or mold says why it will not become ready; its `WorkerExited` or `MoldExited` follows."""

    pid: int
    kind: FailureKind
    message: str
    traceback: str


class PipeGarbled(msgspec.Struct, frozen=True):
    """What a worker or mold has said is no word of its own, as ``reason`` says; nothing more is heard of it."""

    pid: int
    reason: str


class WorkerExited(msgspec.Struct, frozen=True):
    """The worker was reaped.

    Attributes:
        pid: never to be signalled again.
        code: its exit status, or None when a signal ended it.
        signal: the name of that signal ("SIGKILL"), or None.
        oom_kills: for a SIGKILL that pyfork did not send, how many out-of-memory kills the cgroup has counted that no
            other death has explained; None if that cannot be known.
    """

    pid: int
    code: int | None
    signal: str | None
    oom_kills: int | None = None


class ConfigurationLoaded(msgspec.Struct, frozen=True):
    """The answer to `actions.LoadConfiguration`: it is valid and its new listeners are open."""

    plan: Plan


class ConfigurationRefused(msgspec.Struct, frozen=True):
    """The answer to `actions.LoadConfiguration`: it is not; the shell has kept everything as it was."""

    problems: tuple[str, ...]


class UpgradeStarted(msgspec.Struct, frozen=True):
    """The answer to `actions.StartUpgrade`: the new arbiter's process exists."""

    pid: int


class UpgradeRefused(msgspec.Struct, frozen=True):
    """The answer to `actions.StartUpgrade`: it cannot be done here."""

    reason: str


class UpgradeReady(msgspec.Struct, frozen=True):
    """The new arbiter has as many ready workers as are wanted."""

    pid: int


class HandedOver(msgspec.Struct, frozen=True):
    """The answer to `actions.HandOver`: the new arbiter is in charge."""

    pid: int


class HandOverRefused(msgspec.Struct, frozen=True):
    """The answer to `actions.HandOver`: nothing has changed hands, as ``reason`` says."""

    pid: int
    reason: str


class UpgradeExited(msgspec.Struct, frozen=True):
    """The new arbiter was reaped; `WorkerExited` says what the other attributes mean.

    Attributes:
        said: why there would be nothing, if it said so.
    """

    pid: int
    code: int | None
    signal: str | None
    said: str = ""


class TimePassed(msgspec.Struct, frozen=True):
    """`core.next_deadline()` was reached (or anything else woke the shell).

    Attributes:
        in_application: for each living worker that is inside the application, the moment when the present stretch
            began (the call, or the last ``next()`` of its iterable), read from the scoreboard.
    """

    in_application: Mapping[int, float]


class Stalled(msgspec.Struct, frozen=True):
    """The arbiter itself slept through its deadline (SIGSTOP, a frozen cgroup, a paused machine).

    Every deadline moves by ``seconds``. The shell reads all pipes before it sends the next `TimePassed`.
    """

    seconds: float


Event = (
    Started
    | VerbReceived
    | WorkerSpawned
    | SpawnFailed
    | WorkerReady
    | WorkerBeat
    | WorkerWorn
    | WorkerRipe
    | LoadMeasured
    | MoldSpawned
    | MoldRefused
    | MoldReady
    | MoldExited
    | BootFailed
    | PipeGarbled
    | WorkerExited
    | ConfigurationLoaded
    | ConfigurationRefused
    | UpgradeStarted
    | UpgradeRefused
    | UpgradeReady
    | HandedOver
    | HandOverRefused
    | UpgradeExited
    | TimePassed
    | Stalled
)
