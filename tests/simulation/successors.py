"""The new arbiter of an upgrade in the fake world: it starts, becomes ready or not, and obeys or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Order

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Successor:
    """A new arbiter's process."""

    pid: int
    hangs: bool = False
    is_stubborn: bool = False
    dead: bool = False


class Successors:
    """Those that there were in the world, of which at most one is there still."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.present: Successor | None = None

    def is_present(self, pid: int) -> bool:
        """Whether ``pid`` is a new arbiter's that was not reaped."""
        return self.present is not None and self.present.pid == pid

    def start(self, pid: int) -> ev.UpgradeStarted | ev.UpgradeRefused:
        """Start one, unless the kernel or the configuration on the disk is against it."""
        world = self._world
        assert self.present is None or world.laws.upgrade.is_handed_over
        if world.spawns_to_fail:
            world.spawns_to_fail -= 1
            return ev.UpgradeRefused("[Errno 11] Resource temporarily unavailable")
        if not world.is_healed and world.random.random() < 0.2:
            return ev.UpgradeRefused("the command line of the new arbiter cannot be told")
        self.present = new = Successor(pid)
        takes = world.random.choice((0.1, 1.0, 8.0, 50.0))
        fate = "ready" if world.is_healed else world.random.choice(("ready", "dies", "dies", "hangs", "is stubborn"))
        new.is_stubborn = fate == "is stubborn"
        new.hangs = fate in {"hangs", "is stubborn"}
        if fate == "dies":
            world.later(takes, lambda: self.die(new, 3, None))
        elif fate == "ready":
            world.later(takes, lambda: self._get_ready(new))
        return ev.UpgradeStarted(pid)

    def take_over(self, pid: int) -> ev.HandedOver | ev.HandOverRefused:
        """Be given everything, unless the service manager cannot be told."""
        if not self._world.is_healed and self._world.random.random() < 0.2:
            return ev.HandOverRefused(pid, "the service manager does not listen")
        return ev.HandedOver(pid)

    def signal(self, order: Order) -> None:
        """Let it hear an order."""
        new, world = self.present, self._world
        assert new is not None
        if order in {Order.HUP, Order.USR1}:
            return  # it is the main arbiter now, and what it does is its own affair
        if order is Order.KILL:
            world.later(world.random.choice((0.0, 0.01, 0.5)), lambda: self.die(new, None, "SIGKILL"))
        elif not new.is_stubborn:
            takes = (0.0, 0.1, 1.0) if order is Order.QUIT else (0.0, 0.2, 3.0, 40.0)
            world.later(world.random.choice(takes), lambda: self.die(new, 0, None))

    def die(self, new: Successor, code: int | None, signal: str | None) -> None:
        """Let it end; it is reaped soon."""
        if not new.dead:
            new.dead = True
            self._world.later(self._world.random.choice((0.0, 0.0, 0.01)), lambda: self._reap(new, code, signal))

    def heal(self) -> None:
        """Let the present one end if nobody would notice that it will never be ready."""
        limit = self._world.generations[self._world.current].boot_timeout
        if self.present is not None and self.present.hangs and not limit:
            self.die(self.present, None, "SIGKILL")

    def _get_ready(self, new: Successor) -> None:
        if not new.hangs and not new.dead:
            self._world.tell(ev.UpgradeReady(new.pid))

    def _reap(self, new: Successor, code: int | None, signal: str | None) -> None:
        self.present = None
        self._world.tell(ev.UpgradeExited(new.pid, code, signal))
