"""What the laws know by themselves about the workers: a model beside the core's own, made of the same events."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pyfork.arbiter import events as ev
from pyfork.arbiter.events import Verb
from pyfork.arbiter.figures import MoldStatistics
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.policy import SETTLED, SPAWN_TRIES
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind
from tests.simulation.counting import Count
from tests.simulation.crash_lines import CrashLines
from tests.simulation.figures import is_plain_beat
from tests.simulation.tries import Tries
from tests.simulation.upgrade_laws import UpgradeLaws

if TYPE_CHECKING:
    from pyfork.arbiter.figures import Statistics, WorkerStatistics
    from tests.simulation.world import World


class Model:
    def __init__(self, world: World) -> None:
        self.world = world
        self.count = Count(world.configuration, world.previous)
        self.current = world.current  # adopted by an order, be it carried out already or not
        self.candidate: int | None = None
        self.is_proved = False
        self.is_asked = False
        self.ever_ready = False
        self.is_stopping = False
        self.status = ExitStatus.OK
        self.stops_accepting = 0
        self.tries: defaultdict[int, Tries] = defaultdict(Tries)
        self.lost: list[int] = []  # the places, a place twice when two workers of it were lost
        self.hasty: set[int] = set()  # those of them that had only just become ready
        self.ready_since: dict[int, float] = {}
        self.gained = 0
        self.is_spawn_refused = False
        self.molds_ready_since: dict[int, float] = {}  # by pid
        self.crash_lines = CrashLines()
        self.upgrade = UpgradeLaws(self)
        self.stalls = 0.0
        """Seconds that the arbiter has not run: what it does late, it may do so much later."""
        self.before: Statistics = world.core.statistics()

    # The model.

    @property
    def wanted(self) -> int:
        """How many workers are wanted, also while they are drained."""
        return self.count.wanted

    @property
    def is_drained(self) -> bool:
        """Whether there are to be none for now."""
        return self.count.is_drained

    @property
    def target(self) -> int:
        """The generation that may replace others."""
        return self.candidate if self.candidate is not None and self.is_proved else self.current

    def before_event(self, event: ev.Event, *, is_answer: bool) -> None:
        if is_plain_beat(event):
            return  # by far the commonest, and it has to change nothing
        self.before = self.world.core.statistics()
        if not is_answer:
            self.lost.clear()
            self.hasty.clear()
            self.is_spawn_refused = False
        self.is_spawn_refused |= isinstance(event, ev.SpawnFailed)
        self.gained = 0
        self.upgrade.note(event)
        self._note(event)

    def _note(self, event: ev.Event) -> None:
        if isinstance(event, (ev.MoldRefused, ev.MoldReady, ev.MoldExited)):
            self._note_mold(event)
            return
        match event:
            case ev.VerbReceived(verb):
                self._verb(verb)
            case ev.WorkerReady(pid):
                self.ready_since.setdefault(pid, self.world.now)
                self._ready(self._worker(pid))
            case ev.BootFailed(pid, kind):
                self._boot_failed(self._worker(pid) or self._mold(pid), kind)
            case ev.SpawnFailed(number, generation):
                self._fork_failed(number, generation)
            case ev.WorkerExited(pid, code):
                self._worker_exited(self._worker(pid), pid, code)
            case ev.PipeGarbled(pid):  # it is killed, and counts as if it had died by then
                self._worker_exited(self._worker(pid), pid, None)
                self._mold_exited(self._mold(pid), pid, None)
            case ev.ConfigurationLoaded():
                self.candidate = max(self.world.generations)
                self.is_proved = False
            case ev.Stalled(seconds):
                for tries in self.tries.values():
                    tries.shift(seconds)
                self.ready_since = {one: since + seconds for one, since in self.ready_since.items()}
                moved = {one: since + seconds for one, since in self.molds_ready_since.items()}
                self.molds_ready_since = moved
                self.crash_lines.shift(seconds)

    def _worker_exited(self, worker: WorkerStatistics | None, pid: int, code: int | None) -> None:
        kind = FailureKind.APPLICATION if code == ExitStatus.APPLICATION else FailureKind.BOOT
        self._boot_failed(worker, kind)
        if worker is not None and worker.state is WorkerState.READY:
            self._died(worker, pid)

    def _died(self, worker: WorkerStatistics, pid: int) -> None:
        self.lost.append(worker.number)
        if self.world.now - self.ready_since[pid] >= SETTLED:
            return
        if worker.generation in {self.target, self.candidate} and not self.is_stopping:
            self.hasty.add(worker.number)
            self._failed(worker.generation, FailureKind.BOOT, is_boot=True, was_ready=True)

    def _note_mold(self, event: ev.MoldRefused | ev.MoldReady | ev.MoldExited) -> None:
        match event:
            case ev.MoldRefused(generation, serial):
                if next(mold.layer for mold in self.before.molds if mold.serial == serial) == 0:
                    self._failed(generation, FailureKind.BOOT, is_boot=False)
            case ev.MoldReady(pid):
                self.molds_ready_since.setdefault(pid, self.world.now)
            case ev.MoldExited(pid, code):
                self._mold_exited(self._mold(pid), pid, code)

    def _mold_exited(self, mold: MoldStatistics | None, pid: int, code: int | None) -> None:
        kind = FailureKind.APPLICATION if code == ExitStatus.APPLICATION else FailureKind.BOOT
        self._boot_failed(mold, kind)
        is_ready = mold is not None and mold.state is WorkerState.READY
        if mold is not None and is_ready and self.world.now - self.molds_ready_since[pid] < SETTLED:
            self._failed(mold.generation, FailureKind.BOOT, is_boot=True, was_ready=True)

    def _fork_failed(self, number: int, generation: int) -> None:
        """A mold may have been killed: that is held against its generation the third time."""
        worker = next(
            one
            for one in self.before.workers
            if (one.number, one.generation, one.state) == (number, generation, WorkerState.SPAWNING)
        )
        if worker.mold is None:
            self._failed(generation, FailureKind.BOOT, is_boot=False)
            return
        failures = self.tries[generation].count
        self._failed(
            generation, FailureKind.BOOT, is_boot=failures >= SPAWN_TRIES - 1, may_retry=failures < SPAWN_TRIES - 1
        )

    def _mold(self, pid: int) -> MoldStatistics | None:
        return next((mold for mold in self.before.molds if mold.pid == pid), None)

    def _worker(self, pid: int) -> WorkerStatistics | None:
        return next((worker for worker in self.before.workers if worker.pid == pid), None)

    def _verb(self, verb: Verb) -> None:
        match verb:
            case Verb.STOP | Verb.STOP_NOW:
                self.is_stopping = True
            case _ if self.is_stopping:
                pass
            case _:
                self.count.obey(verb)
                self.is_asked |= verb is Verb.RELOAD
                if verb in {Verb.DRAIN_WORKERS, Verb.RELOAD}:
                    self._abandon()

    def _abandon(self) -> None:
        if not self.is_proved:
            self.candidate = None

    def _ready(self, worker: WorkerStatistics | None) -> None:
        if worker is None or worker.state is not WorkerState.BOOTING:
            return
        self.ever_ready = True
        self.gained = 1
        self.tries[worker.generation].ready(self.world.now)
        if worker.generation == self.candidate and not self.is_proved:
            self.is_proved = True
            self.count.follow_file(*(self.world.generations[g] for g in (self.world.current, worker.generation)))

    def _boot_failed(self, process: WorkerStatistics | MoldStatistics | None, kind: FailureKind) -> None:
        is_copy = isinstance(process, MoldStatistics) and process.layer > 0  # its failure leaves everything as it was
        if process is not None and process.state is WorkerState.BOOTING and not is_copy:
            self._failed(process.generation, kind, is_boot=True)

    def _failed(
        self, generation: int, kind: FailureKind, *, is_boot: bool, may_retry: bool = False, was_ready: bool = False
    ) -> None:
        if self.is_stopping:
            return
        if not self.ever_ready and not may_retry:
            self.is_stopping = True
            self.status = ExitStatus.APPLICATION if kind is FailureKind.APPLICATION else ExitStatus.BOOT
        elif is_boot and generation == self.candidate:
            self.candidate = None
            self.count.take_back()
        elif generation in {self.target, self.candidate}:
            self.tries[generation].fail(self.world.now, was_ready=was_ready)
            self.crash_lines.note_failure(generation, self.world.now)
