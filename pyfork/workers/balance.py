"""Who has more than its fair share of the connections. Pure: figures go in, a verdict comes out.

Every worker says in its slot how many connections it has, and weighs the figures of all by itself. Its share is what
all of them have, and what still waits in the queue, divided by their number: accepting moves a connection from the
queue to a worker, so all workers come to the same share at the same time, whoever looks first. A hundred that arrive at
once are taken in four parts of twenty-five, not one by one with pauses between.

A worker above its share pauses, so that the kernel wakes the others. That is for nothing if those who have less are
stopped, or stuck in the application: then each pause ends with a connection that still waits. Whoever has let
`MOST_MISSED` of them pass without taking anything counts no longer, until its figure moves or `ABSENCE` has passed:
then it is tried again, with `SECOND_CHANCES` pauses. (Its figure alone would not do: a worker that was stopped and goes
on has no connection to show for it if the others, who do not wait for it, are always faster.)

What does not work:

- A stamp of the last beat tells of a stopped worker only seconds later, and nothing of one that is merely at a long
  request; what it does not take is known in milliseconds, whatever the reason.
- Weighing requests in flight too: they come and go between two looks, and a worker without a free thread says so
  itself. A connection is what an accept decides on.
- Comparing with the least loaded worker: right after a reload the newest one would get everything.
- Being as exact always as a worker must be when its threads are taken: short connections then cost a pause for each,
  and a quarter more. So one above the share is nothing, unless it would be one more than there are threads.
"""

import math
from collections.abc import Sequence

PAUSE = 0.005
"""Seconds that a worker above its share leaves the connections to the others, at most."""
MOST_MISSED = 10
"""Pauses in a row that ended with a connection waiting, though this worker should have taken it. On two busy cores a
worker that is merely not scheduled misses two or three."""
ABSENCE = 1.0
"""Seconds for which a worker that takes nothing does not count."""
SECOND_CHANCES = 2
SLACK = 128
"""One connection above the share is forgiven for so many: it saves pauses where thousands come and go."""

_AT_MOST_ONE = (1, 2)
"""Loads with which nobody is above: one connection at a time, now and then, is no reason to pause."""


class Balance:
    """What one worker makes of the loads of all.

    The loads are the words of `pyfork.ipc.scoreboard.Scoreboard.loads`: for each slot the connections and one, or 0 for
    a slot that does not count: nobody has it, or its worker boots, drains, has no room, or has no thread that is free.

    Args:
        slot: the worker's own.

    Attributes:
        at_once: how many connections the worker can serve at the same time: the number of its threads.
    """

    __slots__ = ("_absent", "_at_pause", "_missed", "_slot", "at_once")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self.at_once = math.inf
        self._at_pause: Sequence[int] = ()
        self._missed: dict[int, int] = {}
        self._absent: dict[int, tuple[int, float]] = {}

    def is_above(self, loads: Sequence[int], now: float, waiting: int = 1) -> bool:
        """Return whether this worker would have more than its share with one more connection.

        Args:
            loads: of all slots, its own among them; 0 for its own, if all that it could do is let a connection wait.
            now: monotonic seconds.
            waiting: how many connections wait in the queue, as far as that is known: the one more is one of them.
        """
        own = loads[self._slot]
        needed = 2 if own else 1
        counted = len(loads) - loads.count(0)
        if counted < needed or own in _AT_MOST_ONE:
            return False
        total = sum(loads) - counted + waiting
        if self._absent:
            for slot, (load, until) in tuple(self._absent.items()):
                if loads[slot] == load and now < until:
                    counted -= 1
                    total -= load - 1
                    continue
                del self._absent[slot]
                if loads[slot] == load:
                    self._missed[slot] = MOST_MISSED - SECOND_CHANCES
            if counted < needed:
                return False
        share = -(-total // counted)
        return not own or own > share + (own <= self.at_once) + share // SLACK

    def begin_pause(self, loads: Sequence[int]) -> None:
        """Remember who had what when this worker paused."""
        self._at_pause = loads

    def note_missed(self, loads: Sequence[int], now: float) -> None:
        """Judge the others by a pause that ended with a connection still waiting; ``now`` is monotonic.

        Those who have fewer than this worker and have not moved since the pause began have missed it.
        """
        before, self._at_pause = self._at_pause, ()
        own = loads[self._slot]
        missed: dict[int, int] = {}
        for slot, load in enumerate(before):
            if load and load == loads[slot] and load < own and slot not in self._absent:
                missed[slot] = self._missed.get(slot, 0) + 1
                if missed[slot] >= MOST_MISSED:
                    self._absent[slot] = load, now + ABSENCE
                    del missed[slot]
        self._missed = missed
