"""The mold: imports the application once, and forks the workers that share its memory.

Its life: boot as a worker does, up to the application; freeze; say ready; then wait for the arbiter's orders, each of
which brings the ends of a new worker's pipes, and fork (`births`). It ends by TERM or QUIT, and when the arbiter is
gone. A mold that a worker was promoted to (`promotion`) begins at the freeze. Both end by normal finalisation: what the
import registered with ``atexit`` runs in the mold as in each worker, once in each process.

The garbage collector is off while the application is imported, and all that there is then is frozen, as the
documentation of ``gc.freeze`` has it: pages that a collection empties would be filled, and so copied, by each worker,
and a collection in a worker would write to every object that it looks at. The heap is packed before that.

A process that becomes another in here (a worker, and that a mold again) unwinds to `mold_main`, so that no stack grows.
"""

import gc
import logging
import os
import select
import signal
from collections.abc import Callable
from functools import partial

from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff, MoldHandoff
from pyfork.ipc.orders import GarbledOrderError, SpawnOrder, decode_order
from pyfork.ipc.passing import close_all, receive_message
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.memory import pack_heap
from pyfork.process.signals import SignalQueue
from pyfork.workers.births import BecameMold, BecameWorker, Birth, flush_output, fork_apart, report_threads
from pyfork.workers.boot import (
    Preloaded,
    arm_lifeline,
    boot,
    enter,
    introduce,
    live,
    load_users,
    preloaded_worker_main,
)
from pyfork.workers.fork_hygiene import begin_anew, take_over_signals
from pyfork.workers.hook_loader import BEFORE_THE_FREEZE, BEFORE_THE_IMPORT, call_boot_hook, load_hooks
from pyfork.workers.signals import IGNORED_SIGNALS

_poll = select.poll  # imported in the arbiter: gevent puts one in its place that runs a hub
_log = logging.getLogger("pyfork.error")


def mold_main(handoff: MoldHandoff) -> ExitStatus:
    """Live the life of a mold, and of what it becomes; called in the child, on a clean stack, by the composition root.

    Returns:
        The exit status, of the mold in the mold and of a worker in a worker.
    """
    return live(lambda: _live_as_mold(handoff))


def _live_as_mold(handoff: MoldHandoff) -> ExitStatus:
    heartbeat = Heartbeat(handoff.heartbeat_fd, handoff.settings.workers.timeout)
    preloaded = boot(heartbeat, lambda: _load(handoff))
    if isinstance(preloaded, ExitStatus):
        return preloaded
    life: Callable[[Preloaded], ExitStatus] = partial(_be_first_mold, handoff)
    while True:
        try:
            return life(preloaded)
        except BecameWorker as born:
            life = partial(preloaded_worker_main, born.handoff)
        except BecameMold as born:
            life = partial(_be_promoted_mold, born.handoff)


def _load(handoff: MoldHandoff) -> Preloaded:
    """Import the worker's class and the application, in this order: gevent's patches the standard library."""
    take_over_signals()
    introduce(handoff)
    worker_type = enter(handoff)
    gc.disable()
    # Their modules are shared, too, and what is wrong is told now.
    others = partial(load_hooks, handoff.settings.hooks, [BEFORE_THE_IMPORT, BEFORE_THE_FREEZE])
    return load_users(worker_type, handoff, after=others)


def _be_first_mold(handoff: MoldHandoff, preloaded: Preloaded) -> ExitStatus:
    """Be the mold that has imported the application."""
    calls_hook = not preloaded.is_stand_in
    del preloaded  # it is `mold_main`'s to hand on
    return _fork_workers(handoff, lambda: _freeze(handoff, calls_hook=calls_hook))


def _be_promoted_mold(handoff: MoldHandoff, preloaded: Preloaded) -> ExitStatus:
    """Be the mold that a worker has forked."""
    calls_hook = not preloaded.is_stand_in
    del preloaded
    return _fork_workers(handoff, lambda: _freeze_again(handoff, calls_hook=calls_hook))


def _fork_workers(handoff: MoldHandoff, prepare: Callable[[], "Mold"]) -> ExitStatus:
    heartbeat = Heartbeat(handoff.heartbeat_fd, handoff.settings.workers.timeout)
    mold = boot(heartbeat, prepare)
    if isinstance(mold, ExitStatus):
        return mold
    heartbeat.say_ready()
    title.set_title(f"pyfork: {handoff.name} [{handoff.settings.label}]")
    status = ExitStatus.OK
    try:
        mold.run()
    except Exception:  # noqa: BLE001 - whatever it is, the log must have it
        _log.critical("the mold has failed and ends", exc_info=True)
        status = ExitStatus.FAILURE
    return status


def _freeze(handoff: MoldHandoff, *, calls_hook: bool, is_warm: bool = False) -> "Mold":
    """Do what has to be done before workers can be forked.

    Args:
        handoff: the mold's.
        calls_hook: the user's hook is there to be called: no error page stands in for it.
        is_warm: the process has served: it holds what the worker held beside the application.
    """
    if calls_hook:
        call_boot_hook(handoff.settings.hooks, BEFORE_THE_FREEZE, handoff.serial, handoff.generation, os.getpid())
    report_threads("after the import")
    mold = Mold(handoff)
    flush_output()
    if is_warm:
        gc.collect()
    pack_heap()
    gc.freeze()
    return mold


def _freeze_again(handoff: MoldHandoff, *, calls_hook: bool) -> "Mold":
    """Be known as a mold, and freeze what has come since the first one did."""
    introduce(handoff)
    arm_lifeline(handoff)
    gc.disable()
    return _freeze(handoff, calls_hook=calls_hook, is_warm=True)


class Mold:
    """Waits for orders and forks workers.

    Args:
        handoff: what the arbiter gave.
    """

    def __init__(self, handoff: MoldHandoff) -> None:
        self._handoff = handoff
        self._signals = SignalQueue()
        self._signals.install((signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, *IGNORED_SIGNALS))
        self._is_over = False

    def run(self) -> None:
        """Fork what is ordered, until the end.

        Raises:
            BecameWorker: in a worker, and there only.
        """
        poll = _poll()
        for fd in (self._signals.fd, self._handoff.control_fd, self._handoff.lifeline_fd):
            poll.register(fd, select.POLLIN)
        while not self._is_over:
            ready = {fd for fd, _ in poll.poll()}
            self._take_signals()  # before an order, also one that came while the signal waited for us to run
            if self._handoff.lifeline_fd in ready and lifeline.is_cut(self._handoff.lifeline_fd):
                self._is_over = True
            if self._handoff.control_fd in ready and not self._is_over:
                self._take_order()

    def _take_signals(self) -> None:
        for number in self._signals.drain_all():
            if number in {signal.SIGTERM, signal.SIGQUIT}:
                self._is_over = True
            elif number == signal.SIGUSR1:
                error_log.reopen()

    def _take_order(self) -> None:
        """Fork the next worker that was asked for; when that fails, its pipes end, and the arbiter hears it by that."""
        try:
            message, descriptors = receive_message(self._handoff.control_fd)
        except BlockingIOError:
            return
        except ConnectionError:
            message, descriptors = b"", []
        if not message:
            self._is_over = True
            return
        try:
            handoff = self._read_order(message, descriptors)
            is_born = fork_apart(Birth(partial(begin_anew, self._private()), handoff.heartbeat_fd, handoff.lifeline_fd))
        except (GarbledOrderError, OSError) as error:
            _log.error("cannot fork a worker: %s", error)
            close_all(descriptors)
            return
        if is_born:
            raise BecameWorker(handoff)
        close_all(descriptors)

    def _read_order(self, message: bytes, descriptors: list[int]) -> Handoff:
        order = decode_order(message)
        if not isinstance(order, SpawnOrder) or len(descriptors) < 2:
            raise GarbledOrderError(f"{order} came with {len(descriptors)} descriptors")
        own = self._handoff
        heartbeat_fd, lifeline_fd, *control = descriptors
        return Handoff(
            number=order.number,
            generation=order.generation,
            slot=order.slot,
            scoreboard=own.scoreboard,
            listeners=own.listeners,
            heartbeat_fd=heartbeat_fd,
            lifeline_fd=lifeline_fd,
            settings=own.settings,
            worker_class=own.worker_class,
            control_fd=control[0] if control else None,
            refork_at=order.refork_at,
            fault=own.fault,
            certificates=own.certificates,
        )

    def _private(self) -> list[int]:
        """Return what no worker may keep."""
        own = self._handoff
        return [own.heartbeat_fd, own.lifeline_fd, own.control_fd, self._signals.fd, self._signals.write_fd]
