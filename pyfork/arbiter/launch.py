"""How this process was started, kept so that its successor can be started the same way (USR2).

The successor is looked up anew by the words that the user wrote: the working directory by ``$PWD``, the program by its
path. So where a symbolic link in one of them has been switched, what starts is the new release, interpreter and pyfork.

A script (``bin/pyfork`` of a virtual environment) is executed itself, as its first line names the interpreter and the
kernel has put that in front (execve(2)); everything else, as ``python -m pyfork``, is executed by its interpreter.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct

from pyfork.errors import LaunchError

LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
"""Of sd_listen_fds(3); nobody but the process that they name may heed them."""

_FIRST_LINES = 512
"""Octets: the kernel looks at 256, and pip writes a longer path into the second line."""


class Launch(Struct, frozen=True):
    """A command line with its surroundings.

    Attributes:
        command: the program and its arguments.
        directory: the working directory as the user named it.
        environ: complete.
    """

    command: tuple[str, ...]
    directory: str
    environ: Mapping[str, str]

    def become(self, variables: Mapping[str, str]) -> NoReturn:
        """Replace this process by the same program, started anew; descriptors pass if they are inheritable.

        Args:
            variables: set in its environment besides.

        Raises:
            LaunchError: the directory or the program is not there; it says which, and the way out.
        """
        environ = {name: value for name, value in self.environ.items() if name not in LISTEN_VARIABLES}
        if "WATCHDOG_PID" in environ:  # sd_watchdog_enabled(3): of the process that has to beat
            environ["WATCHDOG_PID"] = str(os.getpid())
        try:
            os.chdir(self.directory)
        except OSError as error:
            raise LaunchError(
                f"the directory that pyfork was started in, {self.directory}, cannot be entered: {_reason(error)}; put "
                "it (or the link) back and send USR2 again, or restart pyfork in another"
            ) from error
        program = self.command[0]
        try:
            os.execvpe(program, self.command, {**environ, **variables})  # noqa: S606 - the user's own command
        except OSError as error:
            what = f"the program {program} cannot be started: {_reason(error)}"
            if isinstance(error, FileNotFoundError) and "/" in program and os.path.exists(program):
                what = f"the program {program} cannot be started: the interpreter in its first line is not there"
            raise LaunchError(
                f"{what}; put it back and send USR2 again, or restart pyfork from where it is now"
            ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def remember(directory: str, environ: Mapping[str, str]) -> Launch:
    """Return how this process was started; called before anything of ``environ`` is changed.

    Args:
        directory: the working directory as the user named it.
        environ: of this process.
    """
    return Launch(_command(sys.orig_argv, sys.argv[0], environ), directory, dict(environ))


def _command(original: Sequence[str], script: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to execute.

    Args:
        original: what the interpreter was started with, its own options included (``sys.orig_argv``).
        script: ``sys.argv[0]``.
        environ: whose PATH counts.
    """
    if script in original[1:] and _names_interpreter(script, original[0]):
        return tuple(original[original.index(script, 1) :])
    return (original[0] if _can_be_found(original[0], environ) else sys.executable, *original[1:])


def _can_be_found(program: str, environ: Mapping[str, str]) -> bool:
    """Whether execvp(3) would find ``program``; `shutil.which` says it too, with 0.3 MB of archivers."""
    folders = [""] if "/" in program else os.get_exec_path(environ)
    paths = [os.path.join(folder, program) for folder in folders]
    return any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths)


def _names_interpreter(script: str, interpreter: str) -> bool:
    """Whether ``script``, executed by itself, was run by ``interpreter``: then the kernel chose it, not the user."""
    if "/" not in script or not os.access(script, os.X_OK):
        return False
    with suppress(OSError), open(script, "rb") as file:
        beginning = file.read(_FIRST_LINES)
        return beginning.startswith(b"#!") and os.fsencode(interpreter) in beginning
    return False
