"""The two hooks that the arbiter waits for: on_starting, before the first worker, and on_exit, after the last.

It waits as it does otherwise, for signals and a deadline. An order to stop ends the hooks at once; every other signal
is put back into the queue, for the loop to look at.
"""

import logging
import os
import select
import signal
from collections.abc import Callable
from time import monotonic

from pyfork.arbiter.events import Verb
from pyfork.arbiter.hook_runner import HookRunner
from pyfork.arbiter.policy import STALL
from pyfork.arbiter.verbs import VERBS
from pyfork.config.schema import Settings
from pyfork.ipc.exits import ExitStatus
from pyfork.process.signals import SignalQueue

_log = logging.getLogger("pyfork.error")


class HookWaits:
    """Waits in the arbiter's place while its loop does not turn.

    Args:
        runner: of the hooks.
        signals: of the arbiter.
        reap: takes note of every process that has ended.
        extend: asks whoever supervises the arbiter to wait until a moment (monotonic), if need be.
    """

    def __init__(
        self,
        runner: HookRunner,
        signals: SignalQueue,
        reap: Callable[[], None],
        extend: Callable[[float], None] = lambda _until: None,
    ) -> None:
        self._runner = runner
        self._signals = signals
        self._reap = reap
        self._extend = extend

    def start(self, settings: Settings) -> ExitStatus | None:
        """Have on_starting called, and wait for it.

        Returns:
            The exit status if nothing is to be started: it failed, or an order to stop came. None to go on.
        """
        self._runner.run(settings, "on_starting", os.getpid())
        if self._wait():
            return ExitStatus.OK
        status = self._runner.failed.get("on_starting")
        if status is not None:
            _log.critical("the hook on_starting has failed: no worker is started, pyfork ends")
        return status

    def finish(self, settings: Settings, status: ExitStatus | None) -> None:
        """Wait for the hooks that still run, ``hooks.timeout`` at most; have on_exit called, and wait for it.

        Args:
            settings: those in force.
            status: what pyfork ends with; None when it goes on in another arbiter, and on_exit is not called.
        """
        self._wait(monotonic() + settings.hooks.timeout)
        if status is None:
            return
        self._runner.run(settings, "on_exit", os.getpid(), int(status))
        self._wait()

    def _wait(self, until: float | None = None) -> bool:
        """Wait for the end of all hooks, or end them; return whether an order to stop came meanwhile."""
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        postponed: list[signal.Signals] = []
        is_stopped = False
        while not self._runner.is_idle:
            moments = (self._runner.next_deadline(), until)
            due = min((moment for moment in moments if moment is not None), default=None)
            if due is not None:
                self._extend(due)
            began = monotonic()
            poll.poll(None if due is None else 1000 * max(0.0, due - began))
            now = monotonic()
            if due is not None and now > due + STALL:  # nobody ran: hooks are not judged by that
                self._runner.shift(now - began)
                until = None if until is None else until + now - began
            for number in self._signals.drain():
                if number == signal.SIGCHLD:
                    self._reap()
                elif VERBS[number] in {Verb.STOP, Verb.STOP_NOW}:
                    is_stopped = True
                    self._runner.kill_all(f"signal {number.name}")
                else:
                    postponed.append(number)
            self._runner.on_time(monotonic())
            if until is not None and monotonic() >= until:
                until = None
                self._runner.kill_all("pyfork ends")
        self._signals.put_back(postponed)
        return is_stopped
