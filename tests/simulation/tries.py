"""How often a generation may try to start workers: what the laws hold `pyfork.arbiter.pacing` to."""

from dataclasses import dataclass

from pyfork.arbiter.policy import CALM


@dataclass
class Tries:
    """The failed starts of one generation.

    Attributes:
        count: tries that failed since one became ready; what fails before another try may begin is the same one.
    """

    count: int = 0
    _outlasts_readiness: bool = False
    _growth: int = 0
    _since: float | None = None
    _ready_at: float | None = None

    def fail(self, now: float, *, was_ready: bool) -> None:
        """Note a failure, of one that was ready or was not."""
        earliest = self.earliest
        if earliest is not None and now < earliest:
            self._outlasts_readiness |= was_ready
            self._ready_at = None
            return
        if self._ready_at is not None and now >= self._ready_at + CALM:
            self._growth = 0
        self.count += 1
        self._growth += 1
        self._outlasts_readiness = was_ready
        self._since, self._ready_at = now, None

    def ready(self, now: float) -> None:
        """Note that one became ready: whoever waits may go on, unless it is for one that was ready as well and died."""
        self.count = 0
        if not self._outlasts_readiness:
            self._since = None
        self._ready_at = now if self._ready_at is None else self._ready_at

    @property
    def earliest(self) -> float | None:
        """The moment before which no other may be tried, None when there is none."""
        return None if self._since is None else self._since + 0.8 * min(30.0, 1.5 ** min(self._growth - 1, 20))

    def shift(self, seconds: float) -> None:
        """Move everything by a stall."""
        self._since = None if self._since is None else self._since + seconds
        self._ready_at = None if self._ready_at is None else self._ready_at + seconds
