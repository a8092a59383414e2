"""The scratch process of ``--check-config``: becomes what a worker would become, imports the application and hooks.

Nothing of the user's runs in the process that was asked; whatever the application does at its import ends here.
"""

import os
import sys
import traceback

from msgspec import json

from pyfork.config.schema import Settings
from pyfork.errors import ApplicationLoadError, BootError
from pyfork.hooks.catalogue import KINDS
from pyfork.ipc.exits import ExitStatus
from pyfork.process.privileges import confine
from pyfork.workers.base import Worker
from pyfork.workers.boot import load_application_for, load_worker_type
from pyfork.workers.hook_loader import load_hooks
from pyfork.workers.loader import enter_application_directory
from pyfork.workers.registry import find_class, is_ours


def main(verdict_fd: int) -> None:
    """Import the application and write the exit status to ``verdict_fd`` as one octet; does not return.

    The settings come as JSON from standard input: on a command line everybody could read the secrets among them.

    Without a verdict the process was ended from within (a crash, ``os._exit``) or without (a signal, the deadline).

    Args:
        verdict_fd: the write end of a pipe.
    """
    status = try_import(json.decode(sys.stdin.buffer.read(), type=Settings))
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(verdict_fd, bytes([status]))
    os._exit(0)  # threads that the application has started, and what it registered to run at exit, are of no interest


def try_import(settings: Settings) -> int:
    """Do as a worker does until the application is imported; returns the status and prints all that is wrong."""
    worker_class = find_class(settings.workers.type)
    try:
        worker_type = load_worker_type(worker_class) if is_ours(worker_class) else None
        confine(settings.server)
        enter_application_directory(settings.server)
        failures = _import_all(settings, worker_type, worker_class)
    except BootError as error:
        sys.stderr.write(f"pyfork: error: {error}\n")
        return ExitStatus.CONFIGURATION
    except BaseException:  # noqa: BLE001 (whatever it is, it came from the application, and the verdict must be given)
        traceback.print_exc()
        return ExitStatus.APPLICATION
    sys.stderr.writelines(failures)
    return ExitStatus.APPLICATION if failures else ExitStatus.OK


def _import_all(settings: Settings, worker_type: type[Worker] | None, worker_class: str) -> list[str]:
    """Import the application, a worker class of the user's own and all hooks; returns what is wrong with them.

    Raises:
        BootError: there is no application.
    """
    failures: dict[str, str] = {}  # by traceback: the application and its hooks may fail by one import
    for load in (
        lambda: load_application_for(worker_type or load_worker_type(worker_class), settings),
        lambda: load_hooks(settings.hooks, KINDS),
    ):
        try:
            load()
        except ApplicationLoadError as error:
            said = "".join(f"pyfork: error: {line}\n" for line in str(error).splitlines())
            failures[error.traceback_text] = failures.get(error.traceback_text, "") + said
    return [said + traceback_text for traceback_text, said in failures.items()]
