"""Workers that serve a load under `Scaling`, in virtual time: a queue, first come first served, with several servers.

Requests arrive at random (Poisson) at the rate of a curve and take a random time (exponential). A curve gives the
*offered load* at a second: how many workers would be busy all the time. Each worker serves one request at a time, as
sync does; one that is started takes a while to boot, one that is retired finishes its request. The generator is
seeded, so that a run is the same every time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pyfork.arbiter.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Second:
    """What one second was like, and what was decided at its end.

    Attributes:
        offered: the load of the curve, in workers.
        utilisation: how busy the ready workers were.
        queued: requests that waited at the end.
        ready: workers that served at the end.
        wanted: workers that are wanted from then on.
    """

    offered: float
    utilisation: float
    queued: int
    ready: int
    wanted: int


@dataclass
class Model:
    """A server with its clients.

    Args:
        curve: the offered load at a second.
        minimum: workers.
        maximum: workers.
        boot: seconds from the decision until a worker serves.
        service: seconds that a request takes, on average.
        seed: of arrivals and lengths.
        count: workers at the beginning; the minimum by default.
    """

    curve: Callable[[int], float]
    minimum: int
    maximum: int
    boot: float = 1.0
    service: float = 0.05
    seed: int = 1
    count: int = 0
    scaling: Scaling = field(init=False)

    def __post_init__(self) -> None:
        self.scaling = Scaling(self.minimum, self.maximum)
        self._random = Random(self.seed)
        self._wanted = self.count or self.minimum
        self._free_at = [0.0] * self._wanted  # a heap: when each ready worker can take the next request
        self._booting: list[float] = []  # when each of those will be ready
        self._queue: deque[tuple[float, float]] = deque()  # (arrival, length)
        self._busy: dict[int, float] = {}
        self._now = 0

    def run(self, seconds: int) -> list[Second]:
        """Go on for so many seconds."""
        return [self._second() for _ in range(seconds)]

    def _second(self) -> Second:
        now = self._now
        self._now += 1
        offered = self.curve(now)
        self._arrive(now, offered)
        for ready_at in [moment for moment in self._booting if moment < self._now]:
            self._booting.remove(ready_at)
            heapq.heappush(self._free_at, ready_at)
        self._serve()
        ready, waiting = len(self._free_at), len(self._queue)
        utilisation = min(1.0, self._busy.pop(now, 0.0) / ready)
        self._obey(self.scaling.observe(float(self._now), utilisation, waiting, ready, self._wanted))
        return Second(offered, utilisation, waiting, ready, self._wanted)

    def _arrive(self, now: int, offered: float) -> None:
        moment = float(now)
        while offered > 0:
            moment += self._random.expovariate(offered / self.service)
            if moment >= now + 1:
                return
            self._queue.append((moment, self._random.expovariate(1 / self.service)))

    def _serve(self) -> None:
        """Let all begin that can before the end of the second."""
        while self._queue:
            arrival, length = self._queue[0]
            begin = max(arrival, self._free_at[0])
            if begin >= self._now:
                return
            self._queue.popleft()
            heapq.heapreplace(self._free_at, begin + length)
            self._account(begin, begin + length)

    def _account(self, begin: float, end: float) -> None:
        while begin < end:
            second = int(begin)
            until = min(end, float(second + 1))
            self._busy[second] = self._busy.get(second, 0.0) + until - begin
            begin = until

    def _obey(self, wanted: int) -> None:
        there = len(self._free_at) + len(self._booting)
        for _ in range(wanted - there):
            self._booting.append(self._now + self.boot)
        for _ in range(there - wanted):
            if self._booting:
                self._booting.pop()
            else:
                heapq.heappop(self._free_at)  # the one that is free first; it finishes what it is at
        self._wanted = wanted


def turns(seconds: list[Second]) -> int:
    """Return how often the wanted number changed its direction: up after down, or down after up."""
    steps = [later.wanted - earlier.wanted for earlier, later in itertools.pairwise(seconds)]
    signs = [step > 0 for step in steps if step]
    return sum(sign is not before for before, sign in itertools.pairwise(signs))


def recorded(name: str) -> list[float]:
    """Return the offered load of a recorded curve, second by second; the head of its file tells where it is from."""
    lines = (Path(__file__).parent / "curves" / f"{name}.txt").read_text().splitlines()
    return [float(number) for line in lines if not line.startswith("#") for number in line.split()]
