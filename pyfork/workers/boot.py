"""How a child of the arbiter comes to serve: the steps of a boot, which workers and molds share, and a worker's life.

Everything here runs in the child, after the fork. `pyfork.workers.mold` has what is a mold's own.
"""

import contextlib
import gc
import importlib
import logging
import os
import signal
import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec import Struct

from pyfork.config.schema import Settings
from pyfork.development.stand_in import StandIn, load_or_stand_in
from pyfork.errors import (
    ApplicationLoadError,
    BootError,
    ConfigurationError,
    HookError,
    QuitNow,
    describe_exception,
    text_of,
)
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import BootReport, FailureKind, Handoff, MoldHandoff
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.privileges import confine
from pyfork.process.signals import disregard, raise_again, unwinding
from pyfork.process.stacks import register_stacks
from pyfork.workers.base import Worker
from pyfork.workers.fork_hygiene import take_over_signals
from pyfork.workers.hook_loader import BEFORE_THE_IMPORT, NO_HOOKS, WorkerHooks, call_boot_hook, load_worker_hooks
from pyfork.workers.loader import (
    Application,
    enter_application_directory,
    load_application,
    load_named,
    tell_unreadable,
    user_traceback,
)
from pyfork.workers.registry import is_ours
from pyfork.workers.signals import IGNORED_SIGNALS
from pyfork.workers.wear import prepare

DEADLY_AT_THE_END = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, *IGNORED_SIGNALS)
"""What would end a process that gives its handlers back while it ends; the arbiter kills who does not end by itself."""

_FOR_LARGE_BODIES = "tempfile"
"""What `pyfork.connection.spool` takes when it makes its first file, perhaps as a user who cannot read the library."""

_T = TypeVar("_T")
_log = logging.getLogger("pyfork.error")


class Preloaded(Struct, frozen=True):
    """What a mold has imported, and its workers find there.

    Attributes:
        worker_type: their class.
        application: None when the type serves none.
        hooks: those of the user's that they call.
    """

    worker_type: type[Worker]
    application: Application | None
    hooks: WorkerHooks = NO_HOOKS

    @property
    def is_stand_in(self) -> bool:
        """Whether what is served is an error page: the hooks are then what cannot be imported either."""
        return isinstance(self.application, StandIn)


def worker_main(handoff: Handoff) -> ExitStatus:
    """Live the life of a worker; called in the child, on a clean stack, by the composition root.

    Returns:
        The exit status; the process then ends by normal finalisation, so that ``atexit`` runs.
    """
    return live(lambda: _live_as_worker(handoff))


def live(life: Callable[[], ExitStatus]) -> ExitStatus:
    """Return what ``life`` returns, or OK when an order to end at once has cut it short.

    All that such an order can unwind in a worker or a mold lies within. Behind it the process ends by itself, and an
    order that comes then does nothing: it would only leave a traceback in the log, and cut ``atexit`` short.
    """
    status = ExitStatus.OK
    try:
        status = life()
        unwinding.is_over = True
    except QuitNow:
        unwinding.is_over = True
    disregard(DEADLY_AT_THE_END)
    return status


def _live_as_worker(handoff: Handoff) -> ExitStatus:
    heartbeat = Heartbeat(handoff.heartbeat_fd, handoff.settings.workers.timeout)
    worker = boot(heartbeat, lambda: _boot_worker(handoff, heartbeat))
    return worker if isinstance(worker, ExitStatus) else serve(worker)


def preloaded_worker_main(handoff: Handoff, preloaded: Preloaded) -> ExitStatus:
    """Live the life of a worker that a mold has forked; see `worker_main`."""
    heartbeat = Heartbeat(handoff.heartbeat_fd, handoff.settings.workers.timeout)
    worker = boot(heartbeat, lambda: _boot_preloaded(handoff, heartbeat, preloaded))
    return worker if isinstance(worker, ExitStatus) else serve(worker)


def boot(heartbeat: Heartbeat, steps: Callable[[], _T]) -> _T | ExitStatus:
    """Return what ``steps`` return, or, when they fail, the status to end with; the arbiter has been told why.

    What fails ends by itself: an order to end at once, as those who boot beside it may just get it, must not disturb
    the report.

    Raises:
        QuitNow: an order came before that.
    """
    try:
        result = steps()
        raise_again()
    except Exception as error:  # noqa: BLE001 - a fault of ours must reach the operator too
        unwinding.is_over = True
        return _report(heartbeat, error)
    return result


def _report(heartbeat: Heartbeat, error: Exception) -> ExitStatus:
    """Tell the arbiter why this process does not boot; return the status to end with."""
    kind, message, traceback_text = FailureKind.BOOT, text_of(error), ""
    if isinstance(error, ApplicationLoadError):
        kind, traceback_text = FailureKind.APPLICATION, error.traceback_text
    elif isinstance(error, HookError):
        traceback_text = user_traceback(error.__cause__ or error)
    elif not isinstance(error, BootError | ConfigurationError | OSError):
        hint = tell_unreadable(error)
        message = f"{describe_exception(error)}{hint}"
        traceback_text = "" if hint else "".join(traceback.format_exception(error))
    heartbeat.report_failure(BootReport(kind, message, traceback_text))
    return ExitStatus.APPLICATION if kind is FailureKind.APPLICATION else ExitStatus.BOOT


def serve(worker: Worker) -> ExitStatus:
    """Have a worker that has booted serve until its end; return the status to end with."""
    status = _serve(worker)
    disregard(DEADLY_AT_THE_END)
    if status is ExitStatus.OK:
        worker.close()
    return status


def _serve(worker: Worker) -> ExitStatus:
    """Serve to the end, and call the hook for that if the worker has got as far as serving."""
    status = ExitStatus.OK
    try:
        try:
            worker.run()
        except HookError as error:  # worker_ready
            unwinding.is_over = True
            return _report(worker.heartbeat, error)
        except Exception:  # noqa: BLE001 - whatever it is, the log must have it
            _log.critical("the worker has failed and ends", exc_info=True)
            status = ExitStatus.FAILURE
    except QuitNow:
        _log.debug("ended at once, as asked")
    hook = worker.hooks.worker_exit
    if hook is not None and worker.has_served and not worker.is_copy:
        with contextlib.suppress(QuitNow):  # at once: the hook is what is left to end
            hook.call_safely(*worker.identity)
    return status


# The steps; the order matters:
#
# 1. TERM and QUIT end a boot at once: nothing is served yet, and the import may take minutes.
# 2. Name, log and scoreboard, so that whatever follows is told under the right name.
# 3. A type of ours, and psutil or tempfile if they are needed: files that the workers' user may not be able to read
#    (they are not the application's).
# 4. Privileges, before anything of the user's is read; then the lifeline, which a change of user would clear.
# 5. Directory, environment, path; then a type of the user's own; the hook that comes before the application; the
#    application; the hooks that come after it, which may import parts of it.
#
# With a mold, it takes the steps up to the application, and its workers 1, 2, the lifeline and the hooks.


def introduce(handoff: Handoff | MoldHandoff) -> None:
    """Let the process be known by its name, in ``ps`` and in the log, and dump its stacks to the latter."""
    title.set_title(f"pyfork: {handoff.name} [{handoff.settings.label}] booting")
    error_log.set_identity(handoff.name)
    register_stacks(error_log.error_log_fd())


def enter(handoff: Handoff | MoldHandoff) -> type[Worker]:
    """Be where and who the application is to be, and return the workers' class; the steps 3 to 5, but for the last.

    Raises:
        ApplicationLoadError: a class of the user's own cannot be imported.
        BootError: the user or the directory cannot be had.
    """
    settings = handoff.settings
    worker_type = load_worker_type(handoff.worker_class) if is_ours(handoff.worker_class) else None
    prepare(settings.workers)
    if settings.server.user:
        importlib.import_module(_FOR_LARGE_BODIES)
    confine(settings.server)
    arm_lifeline(handoff)
    enter_application_directory(settings.server)
    return worker_type or load_worker_type(handoff.worker_class)


def arm_lifeline(handoff: Handoff | MoldHandoff) -> None:
    """Have the kernel watch for the arbiter's end; who serves arms it anew, to hear of it itself."""
    lifeline.arm(handoff.lifeline_fd, handoff.settings.workers.graceful_timeout, lambda: None)


def _boot_worker(handoff: Handoff, heartbeat: Heartbeat) -> Worker:
    """Become a worker that imports the application itself."""
    take_over_signals()
    introduce(handoff)
    handoff.scoreboard.slot(handoff.slot).open(handoff.generation, os.getpid())
    worker_type = enter(handoff)
    worker = worker_type(handoff, heartbeat)
    hooks = handoff.settings.hooks
    loaded = load_users(worker_type, handoff, before=lambda: call_boot_hook(hooks, BEFORE_THE_IMPORT, *worker.identity))
    worker.hooks = loaded.hooks
    if loaded.application is not None:
        worker.boot(loaded.application)
    return worker


def _boot_preloaded(handoff: Handoff, heartbeat: Heartbeat, preloaded: Preloaded) -> Worker:
    """Become a worker that has been forked from a mold."""
    introduce(handoff)
    handoff.scoreboard.slot(handoff.slot).open(handoff.generation, os.getpid())
    arm_lifeline(handoff)
    gc.enable()
    worker = preloaded.worker_type(handoff, heartbeat)
    worker.hooks = preloaded.hooks
    if not preloaded.is_stand_in:
        call_boot_hook(handoff.settings.hooks, BEFORE_THE_IMPORT, *worker.identity)
    if preloaded.application is not None:
        worker.boot(preloaded.application)
    return worker


def load_users(
    worker_type: type[Worker],
    handoff: Handoff | MoldHandoff,
    *,
    before: Callable[[], object] = bool,
    after: Callable[[], object] = bool,
) -> Preloaded:
    """Import the application and the hooks of its workers, or with `development.reload` what stands in for them.

    All of it is the user's, and may fail by one broken file: so the page stands in for all of it.

    Args:
        worker_type: the class of the workers.
        handoff: the worker's, or the mold's.
        before: what of the user's comes before the application.
        after: what comes after it.

    Raises:
        ApplicationLoadError: something of it cannot be imported, and nothing stands in.
        BootError: there is no application.
        HookError: a hook raised.
    """
    settings = handoff.settings

    def load() -> Preloaded:
        before()
        application = load_application_for(worker_type, settings)
        after()
        return Preloaded(worker_type, application, load_worker_hooks(settings.hooks))

    stand_in = partial(Preloaded, worker_type) if worker_type.needs_application else None
    return load_or_stand_in(load, stand_in, handoff.fault, handoff.generation)


def load_worker_type(worker_class: str) -> type[Worker]:
    """Import the class that ``worker_class``, "module:Class", names; in the worker, or to check it.

    Raises:
        ApplicationLoadError: it is the user's own and cannot be imported, or is no `Worker`.
    """
    if is_ours(worker_class):
        module_name, _, class_name = worker_class.partition(":")
        ours: type[Worker] = getattr(importlib.import_module(module_name), class_name)
        return ours
    found = load_named(worker_class, "worker class")
    if not (isinstance(found, type) and issubclass(found, Worker)):
        raise ApplicationLoadError(f"workers.type: {worker_class} is not a subclass of pyfork.workers.base.Worker")
    asked = ("boot", "run") if found.needs_application else ("run",)
    missing = [name for name in asked if getattr(found, name) is getattr(Worker, name)]
    if missing:
        raise ApplicationLoadError(f"workers.type: {worker_class} does not define {' and '.join(missing)}")
    return found


def load_application_for(worker_type: type[Worker], settings: Settings) -> Application | None:
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
