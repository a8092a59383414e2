"""The law about the log: who fails to boot again and again is told of once a minute."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyfork.arbiter import actions as act
from pyfork.arbiter.actions import Level
from pyfork.arbiter.crashes import CALM, Kind
from tests.simulation.processes import EPSILON

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE = 60.0
_FIRST = re.compile(r"gen (\d+) .*\nthe next try is in", re.DOTALL)
_LATER = re.compile(r"generation (\d+): workers (have failed|start again)")


class CrashLines:
    """When each generation's failures were last told of."""

    def __init__(self) -> None:
        self._told: dict[int, list[float]] = {}
        self._untold: dict[int, float] = {}  # failures since then: the first one's moment

    def shift(self, seconds: float) -> None:
        """Note a stall of the arbiter's that it has noticed."""
        self._told = {one: [moment + seconds for moment in moments] for one, moments in self._told.items()}
        self._untold = {generation: moment + seconds for generation, moment in self._untold.items()}

    def note_failure(self, generation: int, now: float) -> None:
        """Note a failure that is no reason to give anything up; its line may have come in the same moment."""
        if now in self._told.get(generation, ()):
            return
        self._untold.setdefault(generation, now)

    def forget(self, generations: Iterable[int]) -> None:
        """Note which generations there are still."""
        kept = set(generations)
        self._untold = {generation: moment for generation, moment in self._untold.items() if generation in kept}

    def check(self, actions: list[act.Action], now: float) -> None:
        """At most one line of complaint within a minute about a generation, and one more for each kind of failure."""
        for action in actions:
            match = isinstance(action, act.Log) and (_FIRST.search(action.message) or _LATER.match(action.message))
            if not match or not isinstance(action, act.Log):
                continue
            generation = int(match[1])
            told = self._told.setdefault(generation, [])
            if action.level in {Level.ERROR, Level.WARNING}:
                told.append(now)
            recent = [moment for moment in told if now < moment + MINUTE - EPSILON]
            assert len(recent) <= 1 + len(Kind), "the log is flooded with failed boots"
            self._told[generation] = recent
            self._untold.pop(generation, None)

    def check_nobody_is_hushed(self, now: float) -> None:
        """A failure is told of after a minute at the latest, or after the calm that may have begun just before."""
        for generation, moment in self._untold.items():
            assert now < moment + MINUTE + CALM + EPSILON, f"failures of generation {generation} are not told of"
