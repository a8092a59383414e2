"""The workers and molds of the fake world: what a real process does between the orders that it gets, on a virtual clock."""

from dataclasses import dataclass, field
from enum import Enum
from random import Random

from pyfork.arbiter.events import LoadMeasured

EPSILON = 1e-6


class Boot(Enum):
    """How a boot goes."""

    GOOD = "good"
    SLOW = "slow"
    SAYS_WHY = "says why"
    DIES = "dies"
    IS_SIGNALLED = "is signalled"
    HANGS = "hangs"
    FLAKY = "flaky"


@dataclass(frozen=True)
class Configuration:
    """The file on the fake disk."""

    count: int = 2
    bounds: tuple[int, int] | None = None
    timeout: float = 30.0
    boot_timeout: float = 60.0
    graceful_timeout: float = 30.0
    is_valid: bool = True
    boots: bool = True
    preload: bool = False
    can_refork: bool = False


@dataclass(frozen=True)
class Load:
    """What a look at the load sees, more or less; by default what calls for neither more workers nor fewer."""

    utilisation: float = 0.7
    queued: int = 0

    def measured(self, random: Random) -> LoadMeasured:
        """Return the answer to a look."""
        return LoadMeasured(self.utilisation * random.choice((0.99, 1.0)), self.queued)


@dataclass
class Process:
    """A worker's or mold's process: the truth about it, which the core only hears of."""

    pid: int
    number: int
    generation: int
    configuration: Configuration
    spawned: float
    serial: int | None = None
    """A mold's; a worker has none."""
    owes_since: float | None = None
    """Since when it owes a fork, if it is a mold."""
    serves: bool = False
    """It has said that it is ready (whether or not anybody has heard it)."""
    dead: bool = False
    """It has ended, and nobody has reaped it yet."""
    hangs: bool = False
    """Its loop turns no more."""
    is_garbled: bool = False
    """It has said what is no word, and nothing more is heard of it."""
    is_stubborn: bool = False
    """It will not end before it is killed."""
    entered: float | None = None
    """Since when it is inside the application."""
    lives: bool = False
    """It is there in a thread: its loop turns, and beats."""
    entered_late: float = 0.0
    """Seconds since `entered` in which the arbiter did not run."""
    entered_frozen: float = 0.0
    """Those of them in which the process did not run either, and which the arbiter has noticed."""
    busy_until: float | None = None
    progress: float = 0.0
    """Its last beat or the start of its last stretch in the application, as far as the arbiter can know it."""
    told: dict[str, float] = field(default_factory=dict)
    """When it was given each order first, and when its stacks were dumped, because of a beat too, or it gave up
    ("DUMP", "DUMP ALIVE", "GAVE UP")."""
    late: float = 0.0
    """Seconds since `progress` in which the arbiter did not run: it may judge so much later."""
    frozen: float = 0.0
    """Those of them in which the process did not run either, and which the arbiter has noticed."""
    freezes: int = 0
    """How often since `progress` it did not run without anybody noticing: once has to be harmless."""
    beats: int = 0
    """How often it has made progress; a beat that was planned before the last time is not sent."""

    @property
    def is_mold(self) -> bool:
        """Whether workers are forked from it."""
        return self.serial is not None

    def make_progress(self, now: float) -> None:
        """Note a beat or a new stretch in the application."""
        self.progress = now
        self.late = self.frozen = 0.0
        self.freezes = 0
        self.beats += 1

    @property
    def is_silent(self) -> bool:
        """Whether it does not beat: it hangs, or its loop is what is inside the application."""
        return self.hangs or (self.entered is not None and not self.lives)

    @property
    def is_stuck_alive(self) -> bool:
        """Whether a thread of it is inside the application while its loop turns."""
        return self.lives and self.entered is not None and not self.hangs

    def is_overdue_alive(self, now: float) -> bool:
        """Whether that thread has been there for too long."""
        if self.entered is None or not self.is_stuck_alive or not self.configuration.timeout:
            return False
        return now - self.entered - self.entered_frozen >= self.configuration.timeout - EPSILON

    @property
    def beat_interval(self) -> float:
        """Seconds between its beats."""
        return min(5.0, self.configuration.timeout / 4) if self.configuration.timeout else 5.0
