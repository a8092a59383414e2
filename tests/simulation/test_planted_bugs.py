"""The simulation can fail: bugs that real arbiters had are planted into the core, and each has to be found.

Each bug is one replaced function. A machine has twice the budget of the normal run to see a law broken.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pyfork.arbiter import core as core_module
from pyfork.arbiter import events as ev
from pyfork.arbiter import load_events, placement, staffing
from pyfork.arbiter.actions import Level, Order, StartUpgrade, StopAccepting
from pyfork.arbiter.core import Core
from pyfork.arbiter.crashes import CrashLog
from pyfork.arbiter.handles import MoldHandle, WorkerHandle
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import ArbiterState, IllegalMoveError, ReloadState, WorkerMove, WorkerState
from pyfork.arbiter.load_events import LoadEvents
from pyfork.arbiter.mold_events import MoldEvents
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.policy import Silence
from pyfork.arbiter.rollout import Rollout
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.staffing import Staffing
from pyfork.arbiter.stopping import Stopping
from pyfork.arbiter.succession import Succession
from pyfork.arbiter.upgrade_events import UpgradeEvents
from tests.simulation.machine import machine_for

Plant = Callable[[pytest.MonkeyPatch], None]


def retire_before_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old worker is told to end as soon as its replacement boots."""

    def served(workers: Iterable[WorkerHandle], aim: placement.Aim) -> set[int]:
        return {one.number for one in workers if one.is_active and one.generation == aim.target}

    monkeypatch.setattr(placement, "served_places", served)


def retire_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first ready worker is reason enough to retire all others."""

    def everybody(worker: WorkerHandle, aim: placement.Aim, served: set[int], _covered: set[int]) -> bool:
        return worker.is_ready and worker.generation != aim.target and bool(served)

    monkeypatch.setattr(placement, "_is_surplus", everybody)


def forget_reaped_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reaped worker's pid stays on the roster, where a kill may hit whoever has it next."""
    remove = Roster.remove

    def keep(self: Roster, worker: WorkerHandle, move: WorkerMove) -> None:
        if worker.state is not WorkerState.DRAINING:
            remove(self, worker, move)

    monkeypatch.setattr(Roster, "remove", keep)


def reset_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """HUP sets the count back to the file's, and TTIN was for nothing."""
    prove = Rollout.prove
    monkeypatch.setattr(Rollout, "prove", lambda self: prove(self) or 1)


def keep_count_of_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count from a file whose generation failed goes on to rule."""
    monkeypatch.setattr(Headcount, "take_back", lambda self: self.keep())


def roll_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rolling back retires the good ones: the failed generation stays the target."""

    def target(self: Rollout) -> int:
        is_candidate = self.state in {ReloadState.REPLACING, ReloadState.ROLLING_BACK}
        return self.newest if is_candidate and self.newest in self._plans else self.current

    monkeypatch.setattr(Rollout, "target", property(target))


def prove_by_booting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate counts as the target from its first moment."""
    monkeypatch.setattr(Rollout, "trial", property(lambda self: None))
    monkeypatch.setattr(
        Rollout,
        "target",
        property(lambda self: self.newest if self.candidate is not None else self.current),
    )


def forget_hup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A HUP during a reload is lost."""
    ask = Core._ask_reload

    def ask_when_idle(self: Core) -> None:
        if self._rollout.state is not ReloadState.REPLACING:
            ask(self)

    monkeypatch.setattr(Core, "_ask_reload", ask_when_idle)


def ignore_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are judged by a clock that went on while nobody ran."""
    monkeypatch.setattr(Roster, "shift", lambda self, seconds, now: None)


def judge_at_first_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is held against a worker although the arbiter was not there to hear it."""

    def verdict(self: Silence, suspected: float) -> float:
        return self._progress() + self.plan.timeout

    monkeypatch.setattr(Silence, "_verdict", verdict)


def judge_by_beats_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's time counts from the last beat before it."""
    monkeypatch.setattr(Silence, "_progress", lambda self: self.heard)


def overlook_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs outside of a request is never noticed."""
    look = Silence.look
    monkeypatch.setattr(Silence, "look", lambda self, now, entered: look(self, now, entered) and entered is not None)


def overlook_living(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that beats is well, whatever becomes of its requests."""
    hear = Silence.hear
    monkeypatch.setattr(Silence, "hear", lambda self, now, entered=None: hear(self, now, entered) and False)


def kill_living(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose loop lives is killed right after the dump, with the requests that do get on."""
    monkeypatch.setattr(WorkerHandle, "dump_and_drain", WorkerHandle.dump)


def judge_living_through_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a request goes on while the machine stands still."""
    monkeypatch.setattr(Silence, "_moved", lambda self, entered: entered)


def storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boots that fail are tried again at once."""
    monkeypatch.setattr(Pacing, "fail", lambda self, generation, now, was_ready: 0.0)


def storm_of_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that die as soon as they are ready are replaced at once, again and again."""
    monkeypatch.setattr(WorkerHandle, "has_settled", lambda self, now: True)


def storm_of_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that die as soon as they are ready are replaced as soon as another is ready, which dies as soon."""
    fail = Pacing.fail

    def forget_how(self: Pacing, generation: int, now: float, was_ready: bool) -> float:
        return fail(self, generation, now)

    monkeypatch.setattr(Pacing, "fail", forget_how)


def wait_after_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost worker waits for the delay of somebody else's failed boot."""
    monkeypatch.setattr(Pacing, "lose", lambda self, number: None)


def replace_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload boots as many workers as there are."""
    monkeypatch.setattr(placement, "surge", lambda count: count)


def wait_for_stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody kills a worker that does not end."""

    def end(self: WorkerHandle, order: Order, deadline: float) -> list[Any]:
        return original(self, order, deadline + 1e9)

    original = WorkerHandle._end
    monkeypatch.setattr(WorkerHandle, "_end", end)


def exit_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbiter leaves while killed workers have yet to end."""
    settle = Stopping.settle

    def settle_without_killed(self: Stopping, roster: Roster, molds: Molds, now: float) -> list[Any]:
        for worker in roster:
            if worker.state is WorkerState.KILLED:
                roster.remove(worker, WorkerMove.EXITED)
        return settle(self, roster, molds, now)

    monkeypatch.setattr(Stopping, "settle", settle_without_killed)


def reopen_in_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """USR1 is sent to a worker that has no handler yet, and ends it."""

    def reopen(self: WorkerHandle) -> list[Any]:
        return [] if self.pid is None else [self.signal(Order.USR1)]

    monkeypatch.setattr(WorkerHandle, "reopen_logs", reopen)


def adopt_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old listeners are closed while old workers are still wanted."""

    def is_reached(workers: Iterable[WorkerHandle], aim: placement.Aim) -> bool:
        return any(worker.is_ready and worker.generation == aim.target for worker in workers)

    monkeypatch.setattr(core_module, "is_reached", is_reached)


def sleep_badly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopping arbiter keeps the deadline of a delay that nobody waits for any more, and turns without end."""
    monkeypatch.setattr(Pacing, "rest", lambda self: None)


def end_old_mold_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old mold goes as soon as the new one has proved itself, and a roll-back imports whatever is on the disk."""

    def settle(self: Staffing, aim: placement.Aim, now: float) -> list[Any]:
        orders = original(self, aim, now)
        molds = [mold for mold in self._molds if mold.is_ready and mold.generation not in aim.generations]
        return [*orders, *(order for mold in molds for order in mold.quit(now))]

    original = Staffing.settle
    monkeypatch.setattr(Staffing, "settle", settle)


def forget_mold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mold that has died is not made again."""
    monkeypatch.setattr(Molds, "find_missing", lambda self, generations: [] if self._serial > 2 else [*generations])


def fork_from_cold_mold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest mold is forked from, although there is a warmer one."""

    def source(self: Molds, generation: int) -> MoldHandle | None:
        return next((mold for mold in self if mold.generation == generation and mold.is_ready), None)

    monkeypatch.setattr(Molds, "source", source)


def promote_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ripe worker becomes a mold at once."""

    def candidate(self: Molds, workers: Iterable[WorkerHandle], generation: int, _now: float) -> WorkerHandle | None:
        source = self.source(generation)
        return None if source is None else next(iter(self._due(workers, source)), None)

    monkeypatch.setattr(Molds, "find_candidate", candidate)


def retire_outworn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a replacement is told to end before there is one."""

    def surplus(worker: WorkerHandle, aim: placement.Aim, served: set[int], covered: set[int]) -> bool:
        return original(worker, aim, served, covered) or (worker.is_ready and worker.is_outworn)

    original = placement._is_surplus
    monkeypatch.setattr(placement, "_is_surplus", surplus)
    monkeypatch.setattr(placement, "covered_places", lambda workers, aim: set())


def forget_outworn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outworn worker counts as what its place is to have."""

    def fills(worker: WorkerHandle, aim: placement.Aim) -> bool:
        return worker.generation == aim.target and worker.number < aim.places

    monkeypatch.setattr(placement, "_fills_place", fills)


def wait_for_deaf_mold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mold that does not fork is waited for, for good."""
    monkeypatch.setattr(staffing, "SPAWN_TIMEOUT", 1e9)


def keep_deaf_mold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawn is given up and the mold is asked again and again."""
    monkeypatch.setattr(MoldEvents, "on_late_fork", lambda self, worker: None)


def fail_reload_by_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that could not be made a mold counts as a failed boot."""
    monkeypatch.setattr(MoldHandle, "is_promoted", property(lambda self: False))


def leave_mold_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbiter exits when its workers are gone, and the mold is nobody's."""
    monkeypatch.setattr(Molds, "__bool__", lambda self: False)


def hand_over_before_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new arbiter gets everything as soon as it runs."""
    started = UpgradeEvents.on_started

    def trust(self: UpgradeEvents, event: ev.UpgradeStarted) -> None:
        started(self, event)
        self.on_ready(ev.UpgradeReady(event.pid))

    monkeypatch.setattr(UpgradeEvents, "on_started", trust)


def close_sockets_of_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replaced arbiter stops as any other, and no connection gets into the queues that are the new one's."""
    handed_over = UpgradeEvents.on_handed_over

    def stop(self: UpgradeEvents, event: ev.HandedOver) -> None:
        handed_over(self, event)
        self._context.order(StopAccepting())

    monkeypatch.setattr(UpgradeEvents, "on_handed_over", stop)


def leave_successor_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbiter exits while a new one still ends."""
    monkeypatch.setattr(Succession, "is_under_way", property(lambda self: False))


def forget_to_tell_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbiter stops, and the new one starts on."""
    monkeypatch.setattr(Succession, "end", lambda self, now, is_hurried: [])


def wait_for_deaf_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new arbiter that never gets ready is waited for, for good."""
    started = Succession.started

    def start(self: Succession, *args: Any) -> list[Any]:
        orders = started(self, *args)
        self.deadline = None
        return orders

    monkeypatch.setattr(Succession, "started", start)


def forget_hup_during_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A HUP while a new arbiter starts is lost, although that fails."""
    ask = Core._ask_reload

    def ask_when_alone(self: Core) -> None:
        if self._context.state is not ArbiterState.UPGRADING:
            ask(self)

    monkeypatch.setattr(Core, "_ask_reload", ask_when_alone)


def forget_usr2_during_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    """A USR2 during a reload is lost."""
    ask = UpgradeEvents.ask

    def ask_when_idle(self: UpgradeEvents) -> None:
        if self._context.state is not ArbiterState.RELOADING:
            ask(self)

    monkeypatch.setattr(UpgradeEvents, "ask", ask_when_idle)


def start_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every USR2 starts a new arbiter."""
    ask = UpgradeEvents.ask

    def ask_again(self: UpgradeEvents) -> None:
        if self._context.state is ArbiterState.UPGRADING:
            self._context.order(StartUpgrade())
        ask(self)

    monkeypatch.setattr(UpgradeEvents, "ask", ask_again)


def report_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new arbiter says that all is well when its first worker is ready, and capacity falls."""
    settle = UpgradeEvents.settle

    def report(self: UpgradeEvents, roster: Roster) -> None:
        if any(worker.is_ready for worker in roster):
            self._context.order(*self._succession.report())
        settle(self, roster)

    monkeypatch.setattr(UpgradeEvents, "settle", report)


def follow_load_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load alone says how many workers there are."""

    def follow(self: Headcount, count: int, _utilisation: float, _queued: int) -> str:
        self.wanted = count + (count > self.wanted)
        return ""

    monkeypatch.setattr(Headcount, "follow_load", follow)


def measure_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load is looked at all the time."""
    monkeypatch.setattr(load_events, "PERIOD", 0.1)


def measure_while_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arbiter that has handed over looks at the load until its last request is answered."""
    settle = LoadEvents.settle

    def settle_unless_stopping(self: LoadEvents) -> None:
        if not self._context.is_stopping:
            settle(self)

    monkeypatch.setattr(LoadEvents, "settle", settle_unless_stopping)


def lose_ttin_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the load moves the count, the bounds are the file's again, whatever operators had said."""
    follow = Headcount.follow_load

    def forget(self: Headcount, *args: Any) -> str:
        self.steps = 0
        self._set()
        return follow(self, *args)

    monkeypatch.setattr(Headcount, "follow_load", forget)


def flood_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failed boot has a line of its own."""

    def note(self: CrashLog, generation: int, why: str, delay: float, _now: float, kind: Any = None) -> Any:
        return [(Level.ERROR, f"{why}\nthe next try is in {delay:.1f} s")]

    monkeypatch.setattr(CrashLog, "note", note)


def hush_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first failure nothing is said any more."""
    monkeypatch.setattr(CrashLog, "on_time", lambda self, now: [])
    monkeypatch.setattr(CrashLog, "next_deadline", lambda self: None)


def forgive_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed for its words is replaced at once, each time: its successor may say the same."""

    def only_kill(self: Core, event: ev.PipeGarbled) -> None:
        process = self._roster.find(event.pid) or self._molds.find(event.pid)
        if process is not None and process.state is not WorkerState.KILLED:
            self._context.order(*process.kill(WorkerMove.GARBLED))

    monkeypatch.setattr(Core, "_on_garbled", only_kill)


def overlook_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker or mold whose words are no words goes on, and nobody hears of it any more."""
    monkeypatch.setattr(Core, "_on_garbled", lambda self, event: None)


BUGS = {
    "reloads": (
        retire_before_ready,
        retire_all_at_once,
        forget_reaped_pid,
        reset_count,
        keep_count_of_failed,
        roll_forward,
        prove_by_booting,
        forget_hup,
        storm,
        storm_of_ready,
        storm_of_siblings,
        wait_after_loss,
        replace_all_at_once,
        adopt_early,
        sleep_badly,
        reopen_in_boot,
        flood_log,
        hush_failures,
    ),
    "requests": (
        ignore_stalls,
        judge_at_first_sight,
        judge_by_beats_only,
        overlook_silence,
        overlook_living,
        kill_living,
        judge_living_through_stalls,
        wait_for_stubborn,
        forgive_garbled,
        exit_early,
    ),
    "molds": (
        end_old_mold_early,
        forget_mold,
        fork_from_cold_mold,
        promote_two,
        retire_outworn_at_once,
        forget_outworn,
        wait_for_deaf_mold,
        keep_deaf_mold,
        fail_reload_by_copy,
        leave_mold_behind,
        overlook_garbled,
    ),
    "upgrades": (
        hand_over_before_ready,
        close_sockets_of_successor,
        leave_successor_behind,
        forget_to_tell_successor,
        wait_for_deaf_successor,
        forget_hup_during_upgrade,
        forget_usr2_during_reload,
        start_two,
        report_too_early,
    ),
    "loads": (
        follow_load_out_of_bounds,
        measure_without_pause,
        measure_while_replaced,
        lose_ttin_to_load,
    ),
}
"""By the subject that each concerns: the rules that it takes are few, and seldom follow one another among all."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "plant"),
    [(subject, plant) for subject, plants in BUGS.items() for plant in plants],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_planted_bug_is_found(
    subject: str, plant: Plant, simulation_settings: settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that dwells upon its subject sees a law broken, with twice the examples of the normal run at most."""
    plant(monkeypatch)
    budget = 2 * simulation_settings.max_examples  # most take a tenth of it: luck must not fail the run
    once = settings(
        simulation_settings, max_examples=budget, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False
    )
    with pytest.raises((AssertionError, IllegalMoveError)):
        run_state_machine_as_test(machine_for(subject), settings=once)
