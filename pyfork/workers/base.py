"""What every worker does: boot, beat, drain, exit. A type adds how it waits and how it runs a connection.

The contract of a type is the class `Worker`; everything here runs in the worker, after the fork.
"""

import errno
import gc
import importlib
import logging
import os
import select
import signal
import socket
import traceback
from collections.abc import Iterable
from time import monotonic
from typing import ClassVar

from pyfork.config.schema import Settings
from pyfork.errors import ApplicationLoadError, BootError, ConfigurationError, QuitNow
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import BootReport, FailureKind, Handoff, Listener
from pyfork.ipc.scoreboard import SlotState
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.privileges import drop_privileges
from pyfork.process.signals import ForkWindow, SignalQueue, disregard, ignore, raise_in_main_thread, reset_in_child
from pyfork.process.stacks import register_stacks
from pyfork.workers.loader import Application, enter_application_directory, load_application, load_class
from pyfork.workers.registry import is_ours
from pyfork.workers.signals import IGNORED_SIGNALS
from pyfork.workers.wear import Wear, prepare

_DEADLY_AT_THE_END = (signal.SIGTERM, signal.SIGUSR1, *IGNORED_SIGNALS)
"""What would end a process that gives its handlers back while it ends."""

_log = logging.getLogger("pyfork.error")


def worker_main(handoff: Handoff) -> ExitStatus:
    """Live the life of a worker; called in the child, on a clean stack, by the composition root.

    Returns:
        The exit status; the process then ends by normal finalisation, so that ``atexit`` runs.
    """
    heartbeat = Heartbeat(handoff.heartbeat_fd, handoff.settings.workers.timeout)
    try:
        worker = _boot(handoff, heartbeat)
    except ApplicationLoadError as error:
        heartbeat.report_failure(BootReport(FailureKind.APPLICATION, str(error), error.traceback_text))
        return ExitStatus.APPLICATION
    except (BootError, ConfigurationError, OSError) as error:
        heartbeat.report_failure(BootReport(FailureKind.BOOT, str(error), ""))
        return ExitStatus.BOOT
    except QuitNow:
        return ExitStatus.OK
    except Exception as error:  # noqa: BLE001 - a fault of ours must reach the operator too
        report = BootReport(FailureKind.BOOT, f"{type(error).__name__}: {error}", traceback.format_exc())
        heartbeat.report_failure(report)
        return ExitStatus.BOOT
    try:
        worker.run()
    except QuitNow:
        _log.debug("ended at once, as asked")
    except Exception:  # noqa: BLE001 - whatever it is, the log must have it
        _log.critical("the worker has failed and ends", exc_info=True)
        disregard(_DEADLY_AT_THE_END)
        return ExitStatus.FAILURE
    disregard(_DEADLY_AT_THE_END)
    worker.close()
    return ExitStatus.OK


def _boot(handoff: Handoff, heartbeat: Heartbeat) -> "Worker":
    """Become a worker; the order matters.

    1. TERM and QUIT end a boot at once: nothing is served yet, and the import may take minutes.
    2. Name, log and scoreboard, so that whatever follows is told under the right name.
    3. A type of ours, and psutil if it is needed: files that the workers' user may not be able to read (they are not
       the application's).
    4. Privileges, before anything of the user's is read; then the lifeline, which a change of user would clear.
    5. Directory, environment, path; then a type of the user's own; then the application.
    """
    settings = handoff.settings
    ignore((*IGNORED_SIGNALS, signal.SIGUSR1))
    raise_in_main_thread(signal.SIGTERM, QuitNow)
    raise_in_main_thread(signal.SIGQUIT, QuitNow)
    title.set_title(f"pyfork: worker {handoff.number} gen {handoff.generation} [{settings.label}] booting")
    error_log.set_identity(handoff.name)
    handoff.scoreboard.slot(handoff.slot).open(handoff.generation, os.getpid())
    register_stacks(error_log.error_log_fd())
    worker_type = load_worker_type(handoff.worker_class) if is_ours(handoff.worker_class) else None
    prepare(settings.workers)
    drop_privileges(settings.server.user, settings.server.group)
    if settings.server.umask is not None:
        os.umask(settings.server.umask)
    lifeline.arm(handoff.lifeline_fd, settings.workers.graceful_timeout, lambda: None)  # the worker arms it anew
    enter_application_directory(settings.server)
    worker_type = worker_type or load_worker_type(handoff.worker_class)
    worker = worker_type(handoff, heartbeat)
    application = load_application_for(worker_type, settings)
    if application is not None:
        worker.boot(application)
    return worker


def load_worker_type(worker_class: str) -> "type[Worker]":
    """Import the class that ``worker_class``, "module:Class", names; in the worker, or to check it.

    Raises:
        ApplicationLoadError: it is the user's own and cannot be imported, or is no `Worker`.
    """
    if is_ours(worker_class):
        module_name, _, class_name = worker_class.partition(":")
        ours: type[Worker] = getattr(importlib.import_module(module_name), class_name)
        return ours
    found = load_class(worker_class)
    if not (isinstance(found, type) and issubclass(found, Worker)):
        raise ApplicationLoadError(f"workers.type: {worker_class} is not a subclass of pyfork.workers.base.Worker")
    asked = ("boot", "run") if found.needs_application else ("run",)
    missing = [name for name in asked if getattr(found, name) is getattr(Worker, name)]
    if missing:
        raise ApplicationLoadError(f"workers.type: {worker_class} does not define {' and '.join(missing)}")
    return found


def load_application_for(worker_type: "type[Worker]", settings: Settings) -> Application | None:
    """Import the application, if the type serves one.

    Raises:
        ApplicationLoadError: it cannot be imported.
        BootError: there is none.
    """
    if not worker_type.needs_application:
        return None
    if settings.server.app is None:
        raise BootError(f"workers of type {settings.workers.type} serve an application, and server.app names none")
    return load_application(settings.server.app)


class Worker:
    """The base of every worker type.

    A type implements `boot` and `run`, calls `beat_if_due` from the loop that serves, looks at `is_draining` and
    `is_orphaned` there, and calls `take_signals` when `signals` is readable. `wait` does the latter by itself.
    docs/custom_workers.md is the long form.

    Args:
        handoff: what the arbiter gave.
        heartbeat: the pipe to it.

    Attributes:
        sockets: the listeners, non-blocking, beside what is known of them.
        signals: the queue of signals; its ``fd`` belongs into the loop.
        wear: whether it has served for long enough.
        is_draining: TERM came: finish and return from `run`.
        is_orphaned: the arbiter is gone: finish what is in flight and return.
        is_copy: this process is one that the application forked: it must not serve.
        needs_application: whether the type serves ``server.app``; without, `boot` is not called.
        is_multithread: whether the application runs in several threads at once (``wsgi.multithread``).
        can_keep_alive: whether connections outlive a response.
    """

    needs_application: ClassVar[bool] = True
    is_multithread: ClassVar[bool] = False
    can_keep_alive: ClassVar[bool] = False

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        settings = handoff.settings
        self.handoff = handoff
        self.settings = settings
        self.heartbeat = heartbeat
        self.slot = handoff.scoreboard.slot(handoff.slot)
        self.wear = Wear(settings.workers, self.slot, heartbeat)
        self.signals = SignalQueue()
        self.is_draining = False
        self.is_orphaned = False
        self.is_copy = False
        self.title = f"pyfork: worker {handoff.number} gen {handoff.generation} [{settings.label}]"
        self.sockets: list[tuple[socket.socket, Listener]] = [
            (socket.socket(fileno=listener.fd), listener) for listener in handoff.listeners
        ]
        lifeline.arm(handoff.lifeline_fd, settings.workers.graceful_timeout, self._on_orphaned)

    def boot(self, application: Application) -> None:
        """Prepare to serve ``application``; must not accept yet.

        Raises:
            BootError: it cannot; the worker ends with status 3.
        """
        raise NotImplementedError

    def run(self) -> None:
        """Serve until `is_draining` or `is_orphaned`, and until what is in flight has ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the listeners; called last."""
        for listener, _ in self.sockets:
            listener.close()

    def begin_serving(self) -> None:
        """Tell the arbiter that this worker serves; called by the type at the head of `run`."""
        gc.collect()
        self._install_signals()
        window = ForkWindow()
        os.register_at_fork(before=window.open, after_in_parent=window.close, after_in_child=self._on_copied)
        os.register_at_fork(after_in_child=window.close)
        title.set_title(f"{self.title} idle")
        self.slot.set_state(SlotState.READY)
        self.heartbeat.say_ready()
        self.wear.begin(monotonic())
        _log.debug("ready")

    def beat_if_due(self) -> None:
        """Beat if it is time; cheap enough to be called after each request."""
        now = monotonic()
        if now >= self.heartbeat.next_beat:
            self.beat(now)

    def beat(self, now: float) -> None:
        """Beat, and see whether this worker is to be replaced; ``now`` is monotonic."""
        self.heartbeat.beat(now)
        self.wear.look(now)

    def wait(self, fds: Iterable[int] = (), timeout: float | None = None) -> list[int]:
        """Wait until one of ``fds`` is readable; beat and take signals. A whole loop for types with few descriptors.

        It ends early when a beat is due, a signal has come or the arbiter is gone: look at `is_draining` and
        `is_orphaned` after each call.

        Returns:
            The readable ones of ``fds``, also at the end of a stream.
        """
        self.beat_if_due()
        poll = select.poll()
        for fd in (watched := [*fds, self.signals.fd, self.handoff.lifeline_fd]):
            poll.register(fd, select.POLLIN)
        rest = max(0.0, self.heartbeat.next_beat - monotonic())
        ready = {fd for fd, _ in poll.poll(1000 * (rest if timeout is None else min(rest, timeout)))}
        self.beat_if_due()
        if self.signals.fd in ready:
            self.take_signals()
        if self.handoff.lifeline_fd in ready:
            self.is_orphaned = lifeline.is_cut(self.handoff.lifeline_fd)
        return [fd for fd in watched[:-2] if fd in ready]

    def accept(self, fd: int) -> socket.socket | None:
        """Accept one connection from the listener ``fd``; for types without an `Acceptor`.

        Returns:
            The connection, in blocking mode; None when there is none: another worker was faster, or the client has
            gone, or this process has no descriptor left (then after a pause, so that a loop does not spin).
        """
        try:
            return next(listener for listener, _ in self.sockets if listener.fileno() == fd).accept()[0]
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                _log.error("cannot accept: %s", error.strerror)
                self.wait(timeout=1.0)
            return None

    @property
    def is_stopping(self) -> bool:
        """Whether the whole server stops: what is queued is then for this worker to answer, before it closes."""
        return self.handoff.scoreboard.is_stopping

    def take_signals(self) -> None:
        """Do what the queued signals ask for; called by the loop."""
        for number in self.signals.drain_all():
            if number == signal.SIGTERM:
                self.is_draining = True
                self.slot.set_state(SlotState.DRAINING)
            elif number == signal.SIGUSR1:
                error_log.reopen()
                register_stacks(error_log.error_log_fd())

    def _install_signals(self) -> None:
        self.signals.install((signal.SIGTERM, signal.SIGUSR1, *IGNORED_SIGNALS))
        raise_in_main_thread(signal.SIGQUIT, QuitNow)

    def _on_copied(self) -> None:
        """Make a process that the application forks its own: in multiprocessing, for one, TERM must end it.

        It keeps neither the addresses open nor our pipes, and a signal to it is not queued for the worker.
        """
        reset_in_child()
        self.is_copy = True
        self.wear.forget()
        for listener, _ in self.sockets:
            listener.close()

    def _on_orphaned(self) -> None:
        self.is_orphaned = True
