"""The process that the arbiter forks to call one hook: it becomes what a worker would become, calls, and ends.

Whatever the user's code does to a process ends with this one: modules, threads, changed signals, a changed directory.
"""

import logging
import os
import signal

from pyfork.errors import ApplicationLoadError, BootError, HookError
from pyfork.hooks.calling import log_failure
from pyfork.hooks.catalogue import KINDS
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import HookHandoff
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.privileges import confine
from pyfork.process.signals import disregard, ignore, restore_default
from pyfork.workers.hook_loader import load_hook
from pyfork.workers.loader import enter_application_directory
from pyfork.workers.signals import IGNORED_SIGNALS

LAST_RESORT = 5.0
"""Seconds beyond ``hooks.timeout``, after which the kernel ends this process: the arbiter that should have is gone, and
the hook has closed its lifeline or become another program."""

_log = logging.getLogger("pyfork.error")


def hook_main(handoff: HookHandoff) -> ExitStatus:
    """Call the hook; called in the child, on a clean stack, by the composition root.

    Returns:
        The exit status, 0 if the hook returned. What went wrong otherwise is in the log by then. The process ends by
        normal finalisation, so that ``atexit`` runs and what was printed is written.
    """
    stops = KINDS[handoff.name].consequence
    try:
        _prepare(handoff)
        hook = load_hook(handoff.name, handoff.specification)
        hook.call(handoff.name, handoff.pid, handoff.status)
    except ApplicationLoadError as error:
        _log.error("%s; %s%s", error, stops, error.traceback_text and f"\n{error.traceback_text.rstrip()}")
        return ExitStatus.APPLICATION
    except BootError as error:
        _log.error("hooks.%s: %s; %s", handoff.name, error, stops)
        return ExitStatus.BOOT
    except HookError as error:
        log_failure(error)
        return ExitStatus.FAILURE
    return ExitStatus.OK


def _prepare(handoff: HookHandoff) -> None:
    """Become a process for the user's code; the order is that of a worker's boot.

    Raises:
        BootError: the user or the directory is not to be had.
    """
    settings = handoff.settings
    os.setpgid(0, 0)
    lifeline.tie_group(handoff.lifeline_fd)
    disregard(
        (signal.SIGTTIN, signal.SIGTTOU)
    )  # a terminal's, to a group in the background: an error of read(2) will do
    ignore({*IGNORED_SIGNALS, signal.SIGUSR1} - {signal.SIGTTIN, signal.SIGTTOU})
    restore_default(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, settings.hooks.timeout + LAST_RESORT)
    title.set_title(f"pyfork: hook {handoff.name} [{settings.label}]")
    error_log.set_identity(f"hook {handoff.name}")
    confine(settings.server)
    enter_application_directory(settings.server)
