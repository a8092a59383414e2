"""Has children forked: by the arbiter (`spawn`), by a mold, or, when they are molds, by a worker. Part of the shell.

The arbiter makes the pipes in every case. Where it does not fork itself, it sends the child's ends with the order and
closes its own copies; the child then is awaited, see `pyfork.arbiter.children`.
"""

import errno
import logging
from collections.abc import Callable
from functools import partial

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.children import Child, Children, Role, refused, spawned
from pyfork.arbiter.generations import Generation, Generations
from pyfork.arbiter.spawn import Ends, open_ends, spawn
from pyfork.ipc.fault import ReloadFault
from pyfork.ipc.messages import Handoff, MoldHandoff
from pyfork.ipc.orders import Order, PromoteOrder, SpawnOrder, encode_order
from pyfork.ipc.passing import close_all, send_message
from pyfork.ipc.scoreboard import Scoreboard
from pyfork.process.subreaper import become_subreaper

_log = logging.getLogger("pyfork.error")


class Spawner:
    """Carries out the orders that bring children into the world.

    Each method returns the answer, or None when it comes later, from the child's heartbeat pipe.

    Args:
        scoreboard: shared with all children.
        children: where they are remembered.
        generations: what they are made of.
        private: the loop's own descriptors, which no child may keep.
        watch: has the loop listen to a heartbeat pipe.
        fault: where the children read why newer versions fail; None without ``development.reload``.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        children: Children,
        generations: Generations,
        private: Callable[[], list[int]],
        watch: Callable[[int], None],
        fault: ReloadFault | None,
    ) -> None:
        self._scoreboard = scoreboard
        self._children = children
        self._generations = generations
        self._private = private
        self._watch = watch
        self._fault = fault

    def spawn_worker(self, action: act.SpawnWorker) -> ev.Event | None:
        """Fork a worker, or have its mold fork it.

        Raises:
            BecameChild: this is the child.
        """
        try:
            slot = self._children.free_slot()
            if action.mold is not None:
                self._order_worker(action, action.mold, slot)
                return None
            generation = self._generations[action.generation]
            pid, ends = spawn(
                partial(_worker_handoff, action, slot, self._scoreboard, generation, self._fault),
                self._kept_from(action.generation),
                has_control=False,
            )
        except OSError as error:
            return ev.SpawnFailed(action.number, action.generation, str(error))
        child = Child(Role.WORKER, action.number, action.generation, ends, pid=pid, slot_index=slot)
        self._remember(child)
        return spawned(child, pid)

    def spawn_mold(self, action: act.SpawnMold) -> ev.Event:
        """Fork a mold that imports the application.

        Raises:
            BecameChild: this is the child.
        """
        generation = self._generations[action.generation]
        try:
            become_subreaper()
            pid, ends = spawn(
                partial(_mold_handoff, action, self._scoreboard, generation, self._fault),
                self._kept_from(action.generation),
                has_control=True,
            )
        except OSError as error:
            return ev.MoldRefused(action.generation, action.serial, str(error))
        child = Child(Role.MOLD, action.serial, action.generation, ends, pid=pid)
        self._remember(child)
        return spawned(child, pid)

    def promote(self, action: act.PromoteWorker) -> ev.Event | None:
        """Ask a worker to fork a mold."""
        try:
            ends = _order(self._children.find(action.pid), PromoteOrder(action.serial), has_control=True)
        except OSError as error:
            return ev.MoldRefused(action.generation, action.serial, str(error))
        self._remember(Child(Role.MOLD, action.serial, action.generation, ends))
        return None

    def cancel_worker(self, action: act.CancelSpawn) -> ev.Event | None:
        """Give up on a worker that is not born yet."""
        return self._give_up(self._children.find_awaited(Role.WORKER, action.number, action.generation))

    def cancel_mold(self, action: act.CancelMold) -> ev.Event | None:
        """Give up on a promoted mold that is not born yet."""
        return self._give_up(self._children.find_awaited(Role.MOLD, action.serial, action.generation))

    def _give_up(self, child: Child | None) -> ev.Event | None:
        if child is None:  # it was answered before
            return None
        self._children.give_up(child)
        return refused(child, "it was not forked in time")

    def _order_worker(self, action: act.SpawnWorker, serial: int, slot: int) -> None:
        """Have a mold fork a worker, and await it."""
        mold = self._children.find_mold(serial)
        generation = self._generations[action.generation]
        order = SpawnOrder(action.number, action.generation, slot, action.refork_at or 0)
        ends = _order(mold, order, has_control=generation.can_refork)
        if mold is not None:
            what = f"worker {action.number} gen {action.generation}"
            _log.debug("%s (pid %d) is asked to fork %s", mold.name, mold.pid, what)
        self._remember(Child(Role.WORKER, action.number, action.generation, ends, slot_index=slot))

    def _kept_from(self, generation: int) -> list[int]:
        """Return the descriptors that a child of ``generation`` closes at birth."""
        return [*self._private(), *self._children.descriptors(), *self._generations.foreign_fds(generation)]

    def _remember(self, child: Child) -> None:
        self._children.add(child)
        self._watch(child.heartbeat_fd)


def _order(receiver: Child | None, order: Order, *, has_control: bool) -> Ends:
    """Send an order with a new child's ends, and return the arbiter's.

    Raises:
        OSError: it cannot be sent; nothing is left open.
    """
    if receiver is None or receiver.ends.control is None:
        raise OSError(errno.ESRCH, "the process that was to fork it has gone, or takes no orders")
    ends, childs = open_ends(has_control=has_control)
    try:
        send_message(receiver.ends.control, encode_order(order), childs.descriptors())
    except OSError:
        close_all(ends.descriptors())
        raise
    finally:
        close_all(childs.descriptors())
    return ends


def _worker_handoff(
    action: act.SpawnWorker,
    slot: int,
    scoreboard: Scoreboard,
    generation: Generation,
    fault: ReloadFault | None,
    ends: Ends,
) -> Handoff:
    return Handoff(
        number=action.number,
        generation=action.generation,
        slot=slot,
        scoreboard=scoreboard,
        listeners=generation.describe_listeners(),
        heartbeat_fd=ends.heartbeat,
        lifeline_fd=ends.lifeline,
        settings=generation.loaded.settings,
        worker_class=generation.worker_class,
        fault=fault,
        certificates=generation.certificates,
    )


def _mold_handoff(
    action: act.SpawnMold, scoreboard: Scoreboard, generation: Generation, fault: ReloadFault | None, ends: Ends
) -> MoldHandoff:
    if ends.control is None:
        raise ValueError("a mold without orders is of no use")
    return MoldHandoff(
        generation=action.generation,
        serial=action.serial,
        scoreboard=scoreboard,
        listeners=generation.describe_listeners(),
        heartbeat_fd=ends.heartbeat,
        lifeline_fd=ends.lifeline,
        control_fd=ends.control,
        settings=generation.loaded.settings,
        worker_class=generation.worker_class,
        fault=fault,
        certificates=generation.certificates,
    )
