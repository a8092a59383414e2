"""Core tests read as scripts: what happens, and what the core orders then.

The script answers spawns by itself, as the shell does. A worker's pid tells its place: worker 2 of generation 3 is
pid 302, the next one in that place 1302, then 2302.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import (
    Action,
    CancelMold,
    CancelSpawn,
    Level,
    Log,
    Order,
    ReloadEnded,
    SignalWorker,
    SpawnMold,
    SpawnWorker,
    StateChanged,
    UpgradeFailed,
)
from pyfork.arbiter.core import Core
from pyfork.arbiter.policy import SETTLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyfork.arbiter.events import FailureKind, Verb
    from pyfork.arbiter.lifecycle import WorkerState


def plan(
    count: int = 2,
    timeout: float = 30.0,
    boot_timeout: float = 60.0,
    graceful_timeout: float = 30.0,
    beat_interval: float = 5.0,
    **more: Any,
) -> ev.Plan:
    return ev.Plan(count, timeout, boot_timeout, graceful_timeout, beat_interval, **more)


class Script:
    """One core and the time; every method that tells it something returns what it ordered, without log and news."""

    def __init__(self, first: ev.Plan | None = None) -> None:
        self.now = 0.0
        self.core = Core(first or plan(), random=Random(1))
        self.log: list[Log] = []
        self.news: list[Action] = []
        self.refusals = 0
        self.is_shell_slow = False
        self._spawned: dict[tuple[int, int], int] = {}

    @classmethod
    def preloading(cls, **settings: Any) -> Script:
        """Begin with mold 1 and all workers of generation 1, forked from it, ready for a while."""
        script = cls(plan(preload=True, can_refork=True, **settings))
        script.now = -SETTLED
        script.tell(ev.Started())
        script.mold_ready(1)
        pids = [worker.pid or 0 for worker in script.core.statistics().workers]
        script.ready(*pids)
        script.now = 0.0
        script.beat(*pids)
        script.log.clear()
        return script

    @classmethod
    def serving(cls, first: ev.Plan | None = None) -> Script:
        """Begin with all workers of generation 1 ready for a while; the last beats are of this moment."""
        script = cls(first)
        script.now = -SETTLED
        script.tell(ev.Started())
        pids = [worker.pid or 0 for worker in script.core.statistics().workers]
        script.ready(*pids)
        script.now = 0.0
        script.beat(*pids)
        script.log.clear()
        return script

    def at(self, now: float) -> Script:
        """Go to a moment without telling the core."""
        assert now >= self.now
        self.now = now
        return self

    def tell(self, event: ev.Event) -> list[Action]:
        return self._carry_out(self.core.handle(event, self.now))

    def _carry_out(self, actions: Iterable[Action]) -> list[Action]:
        orders: list[Action] = []
        for action in actions:
            if isinstance(action, Log):
                self.log.append(action)
                continue
            if isinstance(action, StateChanged | ReloadEnded | UpgradeFailed):
                self.news.append(action)
                continue
            orders.append(action)
            if isinstance(action, SpawnWorker) and not self.is_shell_slow:
                orders += self.tell(self.spawn_answer(action))
            elif isinstance(action, SpawnMold):
                orders += self.tell(self.mold_answer(action))
            elif isinstance(action, CancelSpawn):
                orders += self.tell(ev.SpawnFailed(action.number, action.generation, "given up"))
            elif isinstance(action, CancelMold):
                orders += self.tell(ev.MoldRefused(action.generation, action.serial, "given up"))
        return orders

    def spawn_answer(self, action: SpawnWorker) -> ev.Event:
        if self.refusals:
            self.refusals -= 1
            return ev.SpawnFailed(action.number, action.generation, "[Errno 12] Cannot allocate memory")
        place = (action.number, action.generation)
        before = self._spawned.get(place, 0)
        self._spawned[place] = before + 1
        return ev.WorkerSpawned(*place, 1000 * before + 100 * action.generation + action.number)

    def mold_answer(self, action: SpawnMold) -> ev.Event:
        if self.refusals:
            self.refusals -= 1
            return ev.MoldRefused(action.generation, action.serial, "[Errno 12] Cannot allocate memory")
        return ev.MoldSpawned(action.generation, action.serial, mold_pid(action.serial))

    # What happens, in a word.

    def verb(self, verb: Verb) -> list[Action]:
        return self.tell(ev.VerbReceived(verb))

    def ready(self, *pids: int | None) -> list[Action]:
        return [order for pid in pids for order in self.tell(ev.WorkerReady(pid or 0))]

    def mold_ready(self, serial: int) -> list[Action]:
        return self.tell(ev.MoldReady(mold_pid(serial)))

    def mold_exits(self, serial: int, code: int | None = None, signal: str | None = "SIGKILL") -> list[Action]:
        return self.tell(ev.MoldExited(mold_pid(serial), code, signal))

    def beat(self, *pids: int) -> None:
        for pid in pids:
            assert self.tell(ev.WorkerBeat(pid)) == []

    def beat_inside(self, pid: int, entered: float) -> list[Action]:
        """A worker beats while its oldest stretch in the application goes on since ``entered``."""
        return self.tell(ev.WorkerBeat(pid, entered))

    def boot_fails(self, pid: int, kind: FailureKind = ev.FailureKind.APPLICATION, trace: str = "") -> list[Action]:
        return self.tell(ev.BootFailed(pid, kind, "no module named shop", trace))

    def exits(self, pid: int, code: int | None = 0, signal: str | None = None) -> list[Action]:
        return self.tell(ev.WorkerExited(pid, code, signal))

    def killed(self, pid: int, signal: str = "SIGKILL") -> list[Action]:
        return self.exits(pid, None, signal)

    def loaded(self, new: ev.Plan | None = None) -> list[Action]:
        return self.tell(ev.ConfigurationLoaded(new or plan()))

    def refused(self, *problems: str) -> list[Action]:
        return self.tell(ev.ConfigurationRefused(problems))

    def time(self, now: float, in_application: dict[int, float] | None = None) -> list[Action]:
        """Let the shell wake at ``now``."""
        return self.at(now).tell(ev.TimePassed(in_application or {}))

    def stalled(self, seconds: float) -> list[Action]:
        return self.at(self.now + seconds).tell(ev.Stalled(seconds))

    def reloading(self, new: ev.Plan | None = None) -> list[Action]:
        """HUP, and the configuration is valid; the trial worker boots."""
        return self.verb(ev.Verb.RELOAD) + self.loaded(new)

    # What can be seen.

    def state_of(self, pid: int) -> WorkerState | None:
        return next((one.state for one in self.core.statistics().workers if one.pid == pid), None)

    def messages(self, level: Level) -> list[str]:
        return [line.message for line in self.log if line.level is level]

    def says(self, level: Level, *words: str) -> bool:
        """Whether one line of that level has all these words."""
        return any(all(word in message for word in words) for message in self.messages(level))


def mold_pid(serial: int) -> int:
    return 90_000 + serial


def term(pid: int) -> SignalWorker:
    return SignalWorker(pid, Order.TERM)


def quit_(pid: int) -> SignalWorker:
    return SignalWorker(pid, Order.QUIT)


def kill(pid: int) -> SignalWorker:
    return SignalWorker(pid, Order.KILL)


def usr1(pid: int) -> SignalWorker:
    return SignalWorker(pid, Order.USR1)
