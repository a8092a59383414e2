"""The scratch process of ``--check-config``: becomes what a worker would become, and imports the application.

Nothing of the user's runs in the process that was asked; whatever the application does at its import ends here.
"""

import os
import sys
import traceback

from msgspec import json

from pyfork.config.schema import Settings
from pyfork.errors import ApplicationLoadError, BootError
from pyfork.ipc.exits import ExitStatus
from pyfork.process.privileges import confine
from pyfork.workers.base import load_application_for, load_worker_type
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
    """Do as a worker does until the application is imported; returns the status and prints what is wrong."""
    worker_class = find_class(settings.workers.type)
    try:
        worker_type = load_worker_type(worker_class) if is_ours(worker_class) else None
        confine(settings.server)
        enter_application_directory(settings.server)
        load_application_for(worker_type or load_worker_type(worker_class), settings)
    except ApplicationLoadError as error:
        sys.stderr.write(f"pyfork: error: {error}\n{error.traceback_text}")
        return ExitStatus.APPLICATION
    except BootError as error:
        sys.stderr.write(f"pyfork: error: {error}\n")
        return ExitStatus.CONFIGURATION
    except BaseException:  # noqa: BLE001 (whatever it is, it came from the application, and the verdict must be given)
        traceback.print_exc()
        return ExitStatus.APPLICATION
    return ExitStatus.OK
