"""How many workers the load calls for, between two bounds: up within seconds, down within minutes, one at a time.

Once in `PERIOD` the arbiter looks how busy the ready workers are and how many connections wait (`measure`). Together
that is the *demand*, in workers: three that are busy for half of the time are a demand of 1.5.

- **Up** when the workers that are wanted would be busy for more than `HIGH` of the time, on average over `UP_WINDOW`.
  As many are wanted then as would be busy for `GOAL`; but the demand of workers that are all busy, or that have a
  queue, is only known to be larger. So there may be twice as many as are ready, and the rest is seen when those serve.
- Workers that boot are counted as wanted: while they do, more are wanted only if those will not be enough. As they
  may be no more than those that serve, a boot of a minute does not start one worker for each second that it takes.
- **Down** by one when the remaining ones would not have been busy for more than `LOW` of the time, at any time within
  the *patience*; then again after `DOWN_INTERVAL` if that still holds. `LOW` is so far below `HIGH` that taking one
  away does not call for it again.
- A load that comes and goes is not followed down and up: if one more is wanted soon after one was taken away, taking
  it away was a mistake, and the patience doubles, up to `LONGEST_PATIENCE`. If that was long ago (twice the patience),
  it was none, and the patience halves.
- What is seen across a gap (the arbiter was stopped) counts for nothing.

Pure: times are seconds of the monotonic clock. Peers: uWSGI's busyness algorithm (up above 50 % over 3 s or more, down
below 25 %, a penalty for flapping), and PHP-FPM, which doubles what it starts.
"""

import math
from collections import deque

PERIOD = 1.0
"""Seconds between two looks. A shorter one would see single requests rather than the load; a longer one comes late."""
UP_WINDOW = 3
"""Looks whose average decides for more: one second that is full may be a few requests that came together."""
HIGH = 0.8
"""Where requests begin to wait for others: in a queue with random arrivals and one server, 80 % busy means that a
request waits four times as long as it takes (M/M/1); with several servers less, so it is a late sign for them."""
GOAL = 0.65
"""How busy the workers shall be after a step up: there is room for a quarter more before the next."""
LOW = 0.55
"""How busy the rest may be after a step down: they bear 1.45 times as much before one more is wanted again. (In the
simulation 0.6 doubles the changes of direction under loads that come and go, 0.5 costs a tenth more workers.)"""
QUEUE_PER_WORKER = 4
"""Waiting connections that count as one worker's work. A connection that waits for a moment is no lack of workers;
four that wait at two looks in a row for each worker are."""
QUEUE_WINDOW = 2
"""Looks of which the shortest queue counts: one that is gone at the next look has been served."""
PATIENCE = 30.0
"""Seconds for which the load must have been low before a worker is taken away, at first: ten times `UP_WINDOW`."""
LONGEST_PATIENCE = 240.0
"""Seconds that the patience may grow to: a load that comes back every few minutes has its workers kept."""
DOWN_INTERVAL = 10.0
"""Seconds between two steps down: a worker that goes has some time to show that it was needed."""
GAP = 3 * PERIOD
"""Seconds without a look after which what was seen before says nothing about now."""


class Scaling:
    """Decides how many workers are wanted, by what it has seen.

    Args:
        minimum: the fewest.
        maximum: the most.
    """

    def __init__(self, minimum: int, maximum: int) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._recent: deque[tuple[float, int]] = deque(maxlen=max(UP_WINDOW, QUEUE_WINDOW))  # (busy workers, queued)
        self._demands: deque[tuple[float, float]] = deque()  # (moment, demand) for as long as the patience
        self._looked_at: float | None = None
        self._quiet_since = 0.0
        self._stepped_down_at: float | None = None  # since the last step up
        self.patience = PATIENCE

    def bound(self, minimum: int, maximum: int) -> None:
        """Set other bounds; the next `observe` obeys them."""
        self._minimum = minimum
        self._maximum = maximum

    def shift(self, seconds: float) -> None:
        """Note a stall of the arbiter: what was seen before it, and while it lasted, is forgotten."""
        self._looked_at = None
        if self._stepped_down_at is not None:
            self._stepped_down_at += seconds

    def observe(self, now: float, utilisation: float, queued: int, ready: int, wanted: int) -> int:
        """Take note of what was measured, and return how many workers are wanted from now on.

        Args:
            now: the moment.
            utilisation: the part of their capacity that the ready workers used since the last look, 0 to 1.
            queued: connections that wait to be accepted, now.
            ready: workers that serve.
            wanted: workers that were wanted until now; those beyond ``ready`` are on their way.

        Returns:
            ``wanted``, or another number within the bounds.
        """
        if self._looked_at is None or not 0 < now - self._looked_at <= GAP:
            self._begin_anew(now)
        elif ready:
            self._remember(now, min(1.0, max(0.0, utilisation)) * ready, max(0, queued))
            wanted = self._judge(now, ready, wanted)
        self._looked_at = now
        return min(self._maximum, max(self._minimum, wanted))

    def _begin_anew(self, now: float) -> None:
        self._recent.clear()
        self._demands.clear()
        self._quiet_since = now

    def _remember(self, now: float, busy: float, queued: int) -> None:
        self._recent.append((busy, queued))
        self._demands.append((now, self._demand()))
        while self._demands[0][0] <= now - self.patience:
            self._demands.popleft()

    def _demand(self) -> float:
        """Return how many workers would be busy all the time, as far as can be seen."""
        busy = [busy for busy, _ in self._recent][-UP_WINDOW:]
        queued = min([queued for _, queued in self._recent][-QUEUE_WINDOW:])
        return sum(busy) / len(busy) + queued / QUEUE_PER_WORKER

    def _judge(self, now: float, ready: int, wanted: int) -> int:
        demand = self._demands[-1][1]
        if len(self._recent) == self._recent.maxlen and demand > HIGH * wanted:
            more = min(math.ceil(demand / GOAL), 2 * ready, self._maximum)
            if more > wanted:
                self._note_step_up(now)
                return more
        if wanted <= self._minimum or ready < wanted or not self._is_low(now, wanted):
            return wanted
        self._stepped_down_at = now
        return wanted - 1

    def _is_low(self, now: float, wanted: int) -> bool:
        """Return whether one worker less would have been enough for as long as the patience."""
        last_step = -math.inf if self._stepped_down_at is None else self._stepped_down_at
        if now < max(self._quiet_since + self.patience, last_step + DOWN_INTERVAL):
            return False
        return max(demand for _, demand in self._demands) <= LOW * (wanted - 1)

    def _note_step_up(self, now: float) -> None:
        self._quiet_since = now
        if self._stepped_down_at is None:
            return
        was_mistake = now - self._stepped_down_at <= 2 * self.patience
        self.patience = min(LONGEST_PATIENCE, max(PATIENCE, self.patience * (2 if was_mistake else 0.5)))
        self._stepped_down_at = None
