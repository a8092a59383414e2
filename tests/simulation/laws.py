"""What has to be true of the core at every step, checked against a model of its own.

`Laws` watches every event before the core sees it, every answer, and every action before it is carried out. It keeps
the little that it needs to know by itself (the wanted count, the candidate and whether it has proved itself, the
failures of each generation), so that a wrong belief of the core's is a difference and not an excuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Order
from pyfork.arbiter.events import Verb
from pyfork.arbiter.figures import MoldStatistics, WorkerStatistics
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from pyfork.arbiter.policy import DUMP_GRACE, QUIT_GRACE, SETTLED, SPAWN_TIMEOUT, SPAWN_TRIES, surge
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind
from tests.simulation.processes import EPSILON

if TYPE_CHECKING:
    from pyfork.arbiter.figures import Statistics
    from tests.simulation.processes import Process
    from tests.simulation.world import World

ACTIVE = {WorkerState.SPAWNING, WorkerState.BOOTING, WorkerState.READY}


class Laws:
    def __init__(self, world: World) -> None:
        self.world = world
        self.wanted = world.configuration.count
        self.is_drained = False
        self.candidate: int | None = None
        self.is_proved = False
        self.file_change = 0
        self.is_asked = False
        self.ever_ready = False
        self.is_stopping = False
        self.status = ExitStatus.OK
        self.stops_accepting = 0
        self.failures: dict[int, tuple[int, float]] = {}
        self.lost: list[int] = []  # the places, a place twice when two workers of it were lost
        self.hasty: set[int] = set()  # those of them that had only just become ready
        self.ready_since: dict[int, float] = {}
        self.gained = 0
        self.is_spawn_refused = False
        self.molds_ready_since: dict[int, float] = {}  # by pid
        self.stalls = 0.0
        """Seconds that the arbiter has not run: what it does late, it may do so much later."""
        self.before: Statistics = world.core.statistics()

    # The model.

    @property
    def target(self) -> int:
        """The generation that may replace others."""
        return self.candidate if self.candidate is not None and self.is_proved else self.world.current

    def before_event(self, event: ev.Event, *, is_answer: bool) -> None:
        if _is_plain_beat(event):
            return  # by far the commonest, and it has to change nothing
        self.before = self.world.core.statistics()
        if not is_answer:
            self.lost.clear()
            self.hasty.clear()
            self.is_spawn_refused = False
        self.is_spawn_refused |= isinstance(event, ev.SpawnFailed)
        self.gained = 0
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
                worker = self._worker(pid)
                kind = FailureKind.APPLICATION if code == ExitStatus.APPLICATION else FailureKind.BOOT
                self._boot_failed(worker, kind)
                if worker is not None and worker.state is WorkerState.READY:
                    self._died(worker, pid)
            case ev.ConfigurationLoaded():
                self.candidate = max(self.world.generations)
                self.is_proved = False
            case ev.Stalled(seconds):
                self.failures = {g: (n, since + seconds) for g, (n, since) in self.failures.items()}
                self.ready_since = {one: since + seconds for one, since in self.ready_since.items()}
                moved = {one: since + seconds for one, since in self.molds_ready_since.items()}
                self.molds_ready_since = moved

    def _died(self, worker: WorkerStatistics, pid: int) -> None:
        self.lost.append(worker.number)
        if self.world.now - self.ready_since[pid] >= SETTLED:
            return
        if worker.generation in {self.target, self.candidate} and not self.is_stopping:
            self.hasty.add(worker.number)
            self._failed(worker.generation, FailureKind.BOOT, is_boot=False)

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
            self._failed(mold.generation, FailureKind.BOOT, is_boot=True)

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
        failures, _ = self.failures.get(generation, (0, 0.0))
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
            case Verb.SCALE_UP if self.is_drained:
                self.is_drained = False
            case Verb.SCALE_UP:
                self.wanted = min(512, self.wanted + 1)
            case Verb.SCALE_DOWN:
                self.wanted = max(1, self.wanted - 1)
            case Verb.DRAIN_WORKERS:
                self.is_drained = True
                self._abandon()
            case Verb.RELOAD:
                self.is_drained = False
                self.is_asked = True
                self._abandon()

    def _abandon(self) -> None:
        if not self.is_proved:
            self.candidate = None

    def _ready(self, worker: WorkerStatistics | None) -> None:
        if worker is None or worker.state is not WorkerState.BOOTING:
            return
        self.ever_ready = True
        self.gained = 1
        self.failures.pop(worker.generation, None)
        if worker.generation == self.candidate and not self.is_proved:
            self.is_proved = True
            old, new = (self.world.generations[g].count for g in (self.world.current, worker.generation))
            if old != new:
                self.file_change = new - self.wanted
                self.wanted = new

    def _boot_failed(self, process: WorkerStatistics | MoldStatistics | None, kind: FailureKind) -> None:
        is_copy = isinstance(process, MoldStatistics) and process.layer > 0  # its failure leaves everything as it was
        if process is not None and process.state is WorkerState.BOOTING and not is_copy:
            self._failed(process.generation, kind, is_boot=True)

    def _failed(self, generation: int, kind: FailureKind, *, is_boot: bool, may_retry: bool = False) -> None:
        if self.is_stopping:
            return
        if not self.ever_ready and not may_retry:
            self.is_stopping = True
            self.status = ExitStatus.APPLICATION if kind is FailureKind.APPLICATION else ExitStatus.BOOT
        elif is_boot and generation == self.candidate:
            self.candidate = None
            self.wanted = min(512, max(1, self.wanted - self.file_change))
            self.file_change = 0
        elif generation in {self.target, self.candidate}:
            count, _ = self.failures.get(generation, (0, 0.0))
            self.failures[generation] = (count + 1, self.world.now)

    # The laws, about one answer of the core.

    def after_event(self, event: ev.Event, actions: list[act.Action]) -> None:
        if _is_plain_beat(event):
            assert not actions, "a beat orders something"
            return
        after = self.world.core.statistics()
        for action in actions:
            match action:
                case act.DumpStacks(pid):
                    self._check_dump(pid, is_alive=isinstance(event, ev.WorkerBeat))
                case act.SignalWorker(pid, Order.TERM | Order.QUIT):
                    self._check_retirement(pid, after)
                case act.SpawnWorker(number, generation, mold):
                    self._check_spawn(number, generation, after)
                    self._check_source(generation, mold, after)
                case act.SpawnMold(generation, serial):
                    self._check_mold(generation, serial, after)
                case act.PromoteWorker(pid):
                    self._check_promotion(pid, after)
                case act.LoadConfiguration():
                    assert not self.is_stopping, "a configuration is loaded while stopping"
                    self.is_asked = False
                case act.AdoptGeneration(generation):
                    self._check_adoption(generation, after)
                case act.DropGeneration(generation):
                    assert generation != self.world.current, "the current generation is dropped"
                    assert not _active(after, generation), "a generation is dropped that still has workers"
                    assert not _molds(after, generation), "a generation is dropped that still has a mold"
                case act.Exit(status):
                    assert not after.workers, "the arbiter exits before its workers are gone"
                    assert not after.molds, "the arbiter exits before its molds are gone"
                    assert status == self.status, f"exit status {status} instead of {self.status}"
        self._check_capacity(after)
        self._check_figures(after)

    def _check_dump(self, pid: int, *, is_alive: bool) -> None:
        """Only a worker that is silent or overdue is dumped; then it no longer counts as ready."""
        process, worker = self.world.processes[pid], self._worker(pid)
        now = self.world.now
        mold = self._mold(pid)
        if mold is not None and mold.state is WorkerState.READY:
            assert process.owes_since is not None, "a mold is ended that owes nobody a fork"
            assert now - process.owes_since >= SPAWN_TIMEOUT - EPSILON, "a mold is ended too early"
            return
        if mold is not None and mold.layer > 0:
            assert now - process.spawned >= process.configuration.boot_timeout - EPSILON, "overdue too early"
            return
        worker = worker or mold  # type: ignore[assignment]
        assert worker is not None
        if worker.state is WorkerState.BOOTING:
            limit = process.configuration.boot_timeout
            assert limit, "a boot without a limit is overdue"
            assert now - process.spawned >= limit - EPSILON, "a boot is overdue too early"
            self._failed(worker.generation, FailureKind.BOOT, is_boot=True)
            return
        assert worker.state is WorkerState.READY, f"a worker is stuck that is {worker.state}"
        timeout = process.configuration.timeout
        assert timeout, "a worker without a timeout is stuck"
        if is_alive:
            process.told["DUMP ALIVE"] = now
            assert process.is_overdue_alive(now), "a request is stuck too early"
            self.lost.append(worker.number)
            return
        is_healthy = not process.is_silent and not process.dead
        assert not is_healthy or process.freezes > 1, "a healthy worker is stuck"
        assert now - process.progress - process.frozen >= timeout - EPSILON, "a worker is stuck too early"
        self.lost.append(worker.number)

    def _check_retirement(self, pid: int, after: Statistics) -> None:
        """A ready worker is retired only when its replacement is ready; a failed generation never retires a good one."""
        worker = self._worker(pid)
        mold = self._mold(pid)
        if mold is not None and mold.state is WorkerState.READY and not self.is_stopping and not self.is_drained:
            warmer = [one for one in _molds(after, mold.generation) if one.serial > mold.serial]
            needed = {after.generation, self.candidate}  # the generation that serves, and the one that is tried
            assert warmer or mold.generation not in needed, "a mold is ended that is needed"
        if worker is None or worker.state is not WorkerState.READY or self.is_stopping or self.is_drained:
            return
        if "DUMP ALIVE" in self.world.processes[pid].told:
            return
        ready = _ready(after)
        if worker.number < self.wanted:
            fresh = [one for one in ready if one.generation == self.target and not one.is_outworn]
            replacements = [one for one in fresh if one.number == worker.number]
            is_wanted = worker.generation == self.target and not self._is_outworn(pid, after)
            assert not is_wanted, "a worker of the generation that is wanted is retired"
            assert replacements, "a ready worker is retired before its replacement is ready"
        else:
            served = {one.number for one in ready if one.number < self.wanted}
            assert len(served) == self.wanted, "a worker beyond the count is retired while a place is empty"

    def _is_outworn(self, pid: int, after: Statistics) -> bool:
        return any(one.is_outworn for one in after.workers if one.pid == pid)

    def _check_source(self, generation: int, mold: int | None, after: Statistics) -> None:
        """A worker is forked from the newest mold that is ready, where its generation preloads."""
        if not self.world.generations[generation].preload:
            assert mold is None, "a worker is forked from a mold that its generation does not have"
            return
        ready = [one.serial for one in _molds(after, generation) if one.state is WorkerState.READY]
        assert ready, "a worker is to be forked from a mold that is not ready"
        assert mold == max(ready), "a worker is forked from a mold that has been outdone"

    def _check_mold(self, generation: int, serial: int, after: Statistics) -> None:
        assert not self.is_stopping, "a mold is spawned while stopping"
        assert not self.is_drained, "a mold is spawned while drained"
        assert generation in {self.target, self.candidate}, "a mold of a generation is spawned that is not wanted"
        assert self.world.generations[generation].preload, "a mold is spawned that nobody has asked for"
        assert [one.serial for one in _molds(after, generation)] == [serial], "a mold is spawned beside another"
        if generation in self.failures:
            count, since = self.failures[generation]
            wait = 0.8 * min(30.0, 1.5 ** (count - 1))
            assert self.world.now >= since + wait - EPSILON, "a failed mold is tried again too soon"

    def _check_promotion(self, pid: int, after: Statistics) -> None:
        [worker] = [one for one in after.workers if one.pid == pid]
        assert worker.state is WorkerState.READY, "a worker is promoted that does not serve"
        assert not worker.is_outworn, "a worker is promoted that is to be replaced"
        assert worker.generation == after.generation, "a worker of another generation is promoted"
        assert self.world.generations[worker.generation].can_refork, "a worker is promoted that cannot be copied"
        assert after.state is ArbiterState.RUNNING, "a worker is promoted while something else is under way"
        coming = [one for one in _molds(after, worker.generation) if one.state is not WorkerState.READY]
        assert len(coming) == 1, "two workers are promoted at once"

    def _check_spawn(self, number: int, generation: int, after: Statistics) -> None:
        now = self.world.now
        assert not self.is_stopping, "a worker is spawned while stopping"
        assert not self.is_drained, "a worker is spawned while drained"
        assert number < self.wanted, "a worker is spawned beyond the count"
        assert generation in {self.target, self.candidate}, "a worker of a generation is spawned that is not wanted"
        if generation in self.failures and (number not in self.lost or number in self.hasty):
            count, since = self.failures[generation]
            wait = 0.8 * min(30.0, 1.5 ** (count - 1))
            assert now >= since + wait - EPSILON, "a failed boot is tried again too soon"
        held = {one.number for one in _ready(after)}
        if generation == self.target and number in held:
            coming = [one for one in _active(after, generation) if one.state is not WorkerState.READY]
            under_way = [one for one in coming if one.number in held and not _is_outrun(one)]
            assert len(under_way) <= surge(self.wanted), "too many ready workers are in replacement at once"

    def _check_adoption(self, generation: int, after: Statistics) -> None:
        assert generation == self.target, "a generation is adopted that is not the proved candidate"
        assert all(one.generation == generation for one in _active(after)), "adopted beside another generation"
        if not self.is_drained:
            assert {one.number for one in _ready(after)} >= set(range(self.wanted)), "adopted while a place is empty"
        self.candidate = None
        self.is_proved = False
        self.file_change = 0

    def _check_capacity(self, after: Statistics) -> None:
        """No ready worker is retired when that leaves fewer than wanted."""
        if not self.is_stopping and not self.is_drained:
            without_retiring = len(_ready(self.before)) - len(self.lost) + self.gained
            assert len(_ready(after)) >= min(without_retiring, self.wanted), "too few ready workers are left"

    def _check_figures(self, after: Statistics) -> None:
        assert after.wanted == self.wanted, f"{after.wanted} workers are wanted instead of {self.wanted}"
        assert after.is_drained == (self.is_drained)
        assert (after.state is ArbiterState.STOPPING) == self.is_stopping
        assert self.is_stopping or (after.state is ArbiterState.STARTING) == (not self.ever_ready)
        active = [(one.number, one.generation) for one in _active(after) if not _is_outrun(one)]
        assert len(active) == len(set(active)), "two workers have one place in one generation"

    # The laws, about what is carried out.

    def before_action(self, action: act.Action) -> None:
        world = self.world
        assert world.exit is None, f"{action} after the exit"
        match action:
            case act.SignalWorker(pid) | act.DumpStacks(pid):
                assert pid in world.processes, f"pid {pid} is signalled after it was reaped"
                if isinstance(action, act.SignalWorker):
                    self._check_order(world.processes[pid], action.order)
            case act.SpawnWorker(_, generation) | act.SpawnMold(generation):
                assert generation in world.generations, f"generation {generation} is not there"
            case act.CancelSpawn(number, generation):
                assert (number, generation) in world.births, "a spawn is given up that is not under way"
            case act.StopAccepting():
                self.stops_accepting += 1
                assert self.stops_accepting == 1, "listeners are closed twice"
                assert self.is_stopping
            case act.Exit():
                assert not world.processes, "the arbiter exits before its workers are reaped"

    def _check_order(self, process: Process, order: Order) -> None:
        now = self.world.now
        told, configuration = process.told, process.configuration
        assert "KILL" not in told, "a killed worker is told something"
        if order is Order.USR1:
            assert process.serves, "USR1 ends a worker that still boots"
        if order is Order.TERM:
            assert "TERM" not in told, "a worker is told TERM twice"
        if order is Order.KILL:
            limits = {
                "TERM": max(configuration.graceful_timeout, QUIT_GRACE) if process.serves else QUIT_GRACE,
                "QUIT": QUIT_GRACE,
                "DUMP": DUMP_GRACE,
                "GAVE UP": QUIT_GRACE,
            }
            if "DUMP ALIVE" in told:
                del limits["DUMP"]
            is_over = any(now >= told[why] + seconds - EPSILON for why, seconds in limits.items() if why in told)
            boot_timeout = configuration.boot_timeout
            is_over |= "QUIT" in told and boot_timeout > 0 and now >= process.spawned + boot_timeout - EPSILON
            assert is_over, "a worker is killed without a warning or before its time"

    # The laws, about a whole step (an event and all answers to it).

    def after_step(self, event: ev.Event) -> None:
        if _is_plain_beat(event) or self.world.exit is not None:
            return
        core, now = self.world.core, self.world.now
        after = core.statistics()
        is_empty = not after.workers and not after.molds
        assert not (self.is_stopping and is_empty), "nobody is left and the arbiter does not exit"
        if not self.is_stopping and not self.is_drained and not self.is_spawn_refused and self._can_fork(after):
            filled = {one.number for one in _active(after)}
            lost = set(self.lost) - self.hasty
            assert lost & set(range(self.wanted)) <= filled, "a lost worker is not replaced at once"
        if isinstance(event, ev.TimePassed):
            deadline = core.next_deadline()
            assert deadline is None or deadline > now, "the deadline is dealt with and still there"
            assert not core.handle(event, now), "a second look at the same moment orders something"
            self._check_nobody_is_overlooked(after)

    def _can_fork(self, after: Statistics) -> bool:
        """Whether there is something to fork workers of the target from."""
        is_ready = any(mold.state is WorkerState.READY for mold in _molds(after, self.target))
        return is_ready or not self.world.generations[self.target].preload

    def _check_nobody_is_overlooked(self, after: Statistics) -> None:
        for process in self.world.births.values():
            if process.owes_since is not None:
                overdue = process.owes_since + SPAWN_TIMEOUT + self.stalls
                assert self.world.now < overdue + EPSILON, "a mold that does not fork is overlooked"
        for worker in after.workers:
            if worker.state is not WorkerState.READY or worker.pid is None:
                continue
            process = self.world.processes[worker.pid]
            timeout = process.configuration.timeout
            if timeout:
                limit = timeout + process.progress + process.late
                if process.lives and process.entered is not None:  # the stretch may have begun after the last beat
                    limit = max(limit, timeout + process.entered + process.entered_late)
                assert self.world.now < limit + EPSILON, "a stuck worker is overlooked"
            if timeout and process.is_stuck_alive:
                limit = (process.entered or 0.0) + timeout + process.entered_late + process.beat_interval
                assert self.world.now < limit + EPSILON, "a stuck worker whose loop lives keeps its place"

    # The laws, about the end of all faults.

    def has_peace(self) -> bool:
        """Whether nothing is under way."""
        after = self.world.core.statistics()
        is_quiet = not any(process.hangs or process.entered for process in self.world.processes.values())
        fresh = [one for one in _ready(after) if not one.is_outworn]
        is_full = sorted(one.number for one in fresh) == self._places() and len(fresh) == len(after.workers)
        has_molds = [one.state for one in after.molds] == [WorkerState.READY] * self._molds_wanted()
        return is_quiet and is_full and has_molds and after.reload is ReloadState.IDLE

    def _molds_wanted(self) -> int:
        return int(self.world.generations[self.world.current].preload and not self.is_drained)

    def _places(self) -> list[int]:
        return [] if self.is_drained else list(range(self.wanted))

    def check_peace(self) -> None:
        """After faults have stopped for long enough, everything is as it is wanted."""
        after = self.world.core.statistics()
        expected = ArbiterState.RUNNING if self.ever_ready else ArbiterState.STARTING
        assert after.state is expected, f"the arbiter is still {after.state}"
        assert after.reload is ReloadState.IDLE
        assert not (self.is_asked and self.ever_ready), "a reload was asked for and forgotten"
        assert {one.state for one in after.workers} <= {WorkerState.READY}, "somebody is still on the way"
        assert all(one.generation == self.world.current for one in after.workers)
        assert not any(one.is_outworn for one in after.workers), "an outworn worker is never replaced"
        assert len(after.molds) == self._molds_wanted(), f"there are {len(after.molds)} molds"
        assert all(one.state is WorkerState.READY for one in after.molds), "a mold is still on the way"
        assert all(one.generation == self.world.current for one in after.molds), "a mold of another generation is kept"
        numbers = sorted(one.number for one in after.workers)
        assert numbers == self._places(), f"the places are {numbers}"
        assert list(self.world.generations) == [self.world.current], "settings of another generation are kept"


def _is_plain_beat(event: ev.Event) -> bool:
    return isinstance(event, ev.WorkerBeat) and event.entered is None


def _active(statistics: Statistics, generation: int | None = None) -> list[WorkerStatistics]:
    return [
        worker for worker in statistics.workers if worker.state in ACTIVE and generation in {None, worker.generation}
    ]


def _is_outrun(worker: WorkerStatistics) -> bool:
    """Whether another one is to have its place; while it is being forked nobody can tell the two apart."""
    return worker.is_outworn and worker.state is not WorkerState.SPAWNING


def _molds(statistics: Statistics, generation: int) -> list[MoldStatistics]:
    """Return the molds of a generation that are ready or going to be."""
    return [mold for mold in statistics.molds if mold.generation == generation and mold.state in ACTIVE]


def _ready(statistics: Statistics) -> list[WorkerStatistics]:
    return [worker for worker in statistics.workers if worker.state is WorkerState.READY]
