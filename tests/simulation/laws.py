"""What has to be true of the core at every step, checked against a model of its own.

`Laws` watches every event before the core sees it, every answer, and every action before it is carried out. It keeps
the little that it needs to know by itself (`model`: the wanted count, the candidate and whether it has proved itself,
the failures of each generation), so that a wrong belief of the core's is a difference and not an excuse. What stands
by itself has a module of its own: `counting`, `tries`, `upgrade_laws`, `crash_lines`,
`peace`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Order
from pyfork.arbiter.lifecycle import ArbiterState, WorkerState
from pyfork.arbiter.policy import DUMP_GRACE, QUIT_GRACE, SPAWN_TIMEOUT, surge
from pyfork.ipc.messages import FailureKind
from tests.simulation.figures import active_workers, is_outrun, is_plain_beat, molds_of, ready_workers
from tests.simulation.model import Model
from tests.simulation.processes import EPSILON

if TYPE_CHECKING:
    from pyfork.arbiter.figures import Statistics
    from tests.simulation.processes import Process


class Laws(Model):
    """The laws, on top of the model."""

    # The laws, about one answer of the core.

    def after_event(self, event: ev.Event, actions: list[act.Action]) -> None:
        if is_plain_beat(event):
            assert not actions, "a beat orders something"
            return
        after = self.world.core.statistics()
        self.crash_lines.check(actions, self.world.now)
        if isinstance(event, ev.LoadMeasured):
            self.count.check_measured(after)
        for action in actions:
            self.upgrade.check_order(action, after)
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
                case _:
                    self._check_rest(action, after)
        self._check_capacity(after)
        self._check_figures(after)
        self.upgrade.check_answer(event, after)

    def _check_rest(self, action: act.Action, after: Statistics) -> None:
        """Check what concerns no worker or mold by itself."""
        match action:
            case act.MeasureLoad():
                self.count.check_look(self.world.now, serves=self.ever_ready and not self.is_stopping)
            case act.LoadConfiguration():
                assert not self.is_stopping, "a configuration is loaded while stopping"
                self.is_asked = False
            case act.AdoptGeneration(generation):
                self._check_adoption(generation, after)
            case act.DropGeneration(generation):
                assert generation != self.world.current, "the current generation is dropped"
                assert not active_workers(after, generation), "a generation is dropped that still has workers"
                assert not molds_of(after, generation), "a generation is dropped that still has a mold"
            case act.Exit(status):
                assert not after.workers, "the arbiter exits before its workers are gone"
                assert not after.molds, "the arbiter exits before its molds are gone"
                assert status == self.status, f"exit status {status} instead of {self.status}"

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
            warmer = [one for one in molds_of(after, mold.generation) if one.serial > mold.serial]
            needed = {after.generation, self.candidate}  # the generation that serves, and the one that is tried
            assert warmer or mold.generation not in needed, "a mold is ended that is needed"
        if worker is None or worker.state is not WorkerState.READY or self.is_stopping or self.is_drained:
            return
        if "DUMP ALIVE" in self.world.processes[pid].told:
            return
        ready = ready_workers(after)
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
        ready = [one.serial for one in molds_of(after, generation) if one.state is WorkerState.READY]
        assert ready, "a worker is to be forked from a mold that is not ready"
        assert mold == max(ready), "a worker is forked from a mold that has been outdone"

    def _check_mold(self, generation: int, serial: int, after: Statistics) -> None:
        assert not self.is_stopping, "a mold is spawned while stopping"
        assert not self.is_drained, "a mold is spawned while drained"
        assert generation in {self.target, self.candidate}, "a mold of a generation is spawned that is not wanted"
        assert self.world.generations[generation].preload, "a mold is spawned that nobody has asked for"
        assert [one.serial for one in molds_of(after, generation)] == [serial], "a mold is spawned beside another"
        earliest = self.tries[generation].earliest
        assert earliest is None or self.world.now >= earliest - EPSILON, "a failed mold is tried again too soon"

    def _check_promotion(self, pid: int, after: Statistics) -> None:
        [worker] = [one for one in after.workers if one.pid == pid]
        assert worker.state is WorkerState.READY, "a worker is promoted that does not serve"
        assert not worker.is_outworn, "a worker is promoted that is to be replaced"
        assert worker.generation == after.generation, "a worker of another generation is promoted"
        assert self.world.generations[worker.generation].can_refork, "a worker is promoted that cannot be copied"
        assert after.state is ArbiterState.RUNNING, "a worker is promoted while something else is under way"
        coming = [one for one in molds_of(after, worker.generation) if one.state is not WorkerState.READY]
        assert len(coming) == 1, "two workers are promoted at once"

    def _check_spawn(self, number: int, generation: int, after: Statistics) -> None:
        now = self.world.now
        assert not self.is_stopping, "a worker is spawned while stopping"
        assert not self.is_drained, "a worker is spawned while drained"
        assert number < self.wanted, "a worker is spawned beyond the count"
        assert generation in {self.target, self.candidate}, "a worker of a generation is spawned that is not wanted"
        earliest = self.tries[generation].earliest
        if earliest is not None and (number not in self.lost or number in self.hasty):
            assert now >= earliest - EPSILON, "a failed boot is tried again too soon"
        held = {one.number for one in ready_workers(after)}
        if generation == self.target and number in held:
            coming = [one for one in active_workers(after, generation) if one.state is not WorkerState.READY]
            # A place beyond the count is not in replacement: its worker goes, and what is being forked for it goes then.
            held_on_to = {number for number in held if number < self.wanted}
            under_way = [one for one in coming if one.number in held_on_to and not is_outrun(one)]
            assert len(under_way) <= surge(self.wanted), "too many ready workers are in replacement at once"

    def _check_adoption(self, generation: int, after: Statistics) -> None:
        assert generation == self.target, "a generation is adopted that is not the proved candidate"
        assert all(one.generation == generation for one in active_workers(after)), "adopted beside another generation"
        if not self.is_drained:
            assert {one.number for one in ready_workers(after)} >= set(range(self.wanted)), (
                "adopted while a place is empty"
            )
        self.current = generation
        self.candidate = None
        self.is_proved = False
        self.count.keep()

    def _check_capacity(self, after: Statistics) -> None:
        """No ready worker is retired when that leaves fewer than wanted."""
        if not self.is_stopping and not self.is_drained:
            without_retiring = len(ready_workers(self.before)) - len(self.lost) + self.gained
            assert len(ready_workers(after)) >= min(without_retiring, self.wanted), "too few ready workers are left"

    def _check_figures(self, after: Statistics) -> None:
        self.count.check_figures(after)
        assert (after.state is ArbiterState.STOPPING) == self.is_stopping
        assert self.is_stopping or (after.state is ArbiterState.STARTING) == (not self.ever_ready)
        active = [(one.number, one.generation) for one in active_workers(after) if not is_outrun(one)]
        assert len(active) == len(set(active)), "two workers have one place in one generation"

    # The laws, about what is carried out.

    def before_action(self, action: act.Action) -> None:
        world = self.world
        assert world.exit is None, f"{action} after the exit"
        match action:
            case act.SignalWorker(pid) if world.successors.is_present(pid):
                pass
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
                assert self.is_stopping, "listeners are closed while the arbiter serves"
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
                "GARBLED": 0.0,
            }
            if "DUMP ALIVE" in told:
                del limits["DUMP"]
            is_over = any(now >= told[why] + seconds - EPSILON for why, seconds in limits.items() if why in told)
            boot_timeout = configuration.boot_timeout
            is_over |= "QUIT" in told and boot_timeout > 0 and now >= process.spawned + boot_timeout - EPSILON
            assert is_over, "a worker is killed without a warning or before its time"

    # The laws, about a whole step (an event and all answers to it).

    def after_step(self, event: ev.Event) -> None:
        if is_plain_beat(event) or self.world.exit is not None:
            return
        core, now = self.world.core, self.world.now
        after = core.statistics()
        is_empty = not after.workers and not after.molds and not self.upgrade.is_under_way
        assert not (self.is_stopping and is_empty), "nobody is left and the arbiter does not exit"
        if not self.is_stopping and not self.is_drained and not self.is_spawn_refused and self._can_fork(after):
            filled = {one.number for one in active_workers(after)}
            lost = set(self.lost) - self.hasty
            assert lost & set(range(self.wanted)) <= filled, "a lost worker is not replaced at once"
        if self.is_stopping:
            expected = 0 if self.upgrade.is_handed_over else 1
            assert self.stops_accepting == expected, "a stop that lets connections in, or a hand-over that does not"
        deadline = core.next_deadline()
        self.count.check_deadline(now, deadline, serves=self.ever_ready and not self.is_stopping)
        is_idle = after.state is ArbiterState.RUNNING and not self.is_stopping
        assert not (self.is_asked and is_idle), "a reload was asked for and forgotten"
        self.crash_lines.forget(self.world.generations)
        self.upgrade.check_step(event, after)
        if isinstance(event, ev.TimePassed):
            if not self.is_stopping:  # then nothing is tried any more, and nothing is said of it
                self.crash_lines.check_nobody_is_hushed(now)
            assert deadline is None or deadline > now, "the deadline is dealt with and still there"
            assert not core.handle(event, now), "a second look at the same moment orders something"
            self._check_nobody_is_overlooked(after)

    def _can_fork(self, after: Statistics) -> bool:
        """Whether there is something to fork workers of the target from."""
        is_ready = any(mold.state is WorkerState.READY for mold in molds_of(after, self.target))
        return is_ready or not self.world.generations[self.target].preload

    def _check_nobody_is_overlooked(self, after: Statistics) -> None:
        serving = {mold.pid for mold in after.molds if mold.state is WorkerState.READY}
        for process in self.world.births.values():
            if process.owes_since is not None and process.pid in serving:  # otherwise it is being ended
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
