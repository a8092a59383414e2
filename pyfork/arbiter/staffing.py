"""From what is to what shall be: who is retired, who is spawned, which mold is made, which worker is promoted.

A comparison of roster and molds with the aim, made after every event. `placement` says which workers are missing and
too many, `molds` the same of molds; here that becomes orders, as far as `Pacing` allows it now.
"""

from pyfork.arbiter import actions as act
from pyfork.arbiter.actions import Action, Level, Log
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.placement import Aim, Vacancy, find_surplus, find_vacancies
from pyfork.arbiter.policy import SPAWN_TIMEOUT, refork_threshold
from pyfork.arbiter.rollout import Rollout
from pyfork.arbiter.roster import Roster


class Staffing:
    """Orders what is missing for the aim.

    Args:
        roster: the workers.
        molds: the molds.
        pacing: how soon again.
        rollout: the generations' settings.
    """

    def __init__(self, roster: Roster, molds: Molds, pacing: Pacing, rollout: Rollout) -> None:
        self._roster = roster
        self._molds = molds
        self._pacing = pacing
        self._rollout = rollout

    def settle(self, aim: Aim, now: float) -> list[Action]:
        """Return the orders; nobody is ordered twice, so a second look at an unchanged world orders nothing."""
        actions: list[Action] = []
        wanted = aim.generations if aim.places else frozenset()
        for worker in find_surplus(self._roster, aim):
            actions += worker.retire(now)
        asked = {worker.mold for worker in self._roster if worker.state is WorkerState.SPAWNING}
        kept = {*wanted, self._rollout.current} if wanted else set()
        for mold in self._molds.find_surplus(kept, asked):
            actions += mold.quit(now)
        vacancies = find_vacancies(self._roster, aim)
        fillable = [vacancy for vacancy in vacancies if self._can_fork(vacancy.generation)]
        actions += [self._spawn(vacancy, now) for vacancy in self._pacing.admit(fillable, now)]
        molded = [generation for generation in wanted if self._rollout.plan(generation).preload]
        for generation in self._molds.find_missing(sorted(molded)):
            if self._pacing.may_begin(generation, now):
                mold = self._molds.add(generation, self._rollout.plan(generation))
                actions.append(act.SpawnMold(generation, mold.serial))
        return actions

    def promote(self, now: float) -> list[Action]:
        """Return the orders to make a worker the mold of the others, if one is due for it."""
        generation = self._rollout.current
        worker = self._molds.find_candidate(self._roster, generation, now)
        source = self._molds.source(generation)
        if worker is None or worker.pid is None or source is None:
            return []
        mold = self._molds.add_promoted(worker, source.layer + 1, now)
        return [
            Log(Level.INFO, f"refork: {worker} is asked to become the mold of the others"),
            act.PromoteWorker(worker.pid, generation, mold.serial),
        ]

    def _can_fork(self, generation: int) -> bool:
        return not self._rollout.plan(generation).preload or self._molds.source(generation) is not None

    def _spawn(self, vacancy: Vacancy, now: float) -> Action:
        plan = self._rollout.plan(vacancy.generation)
        worker = self._roster.add(vacancy.number, vacancy.generation, plan)
        source = self._molds.source(vacancy.generation) if plan.preload else None
        if source is None:
            return act.SpawnWorker(vacancy.number, vacancy.generation)
        worker.mold = source.serial
        worker.deadline = now + SPAWN_TIMEOUT
        refork_at = refork_threshold(plan, source.layer)
        return act.SpawnWorker(vacancy.number, vacancy.generation, mold=source.serial, refork_at=refork_at)
