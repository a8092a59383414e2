"""The command ``pyfork``: from the command line to the action that it asks for, and to the exit status."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NoReturn

import msgspec

from pyfork.arbiter.launch import remember
from pyfork.arbiter.predecessor import Predecessor
from pyfork.arbiter.systemd import Notifier
from pyfork.cli.check_config import try_application
from pyfork.cli.checks import check
from pyfork.cli.command_line import GUNICORN_VARIABLE, CommandLine, left_out_of
from pyfork.cli.parsing import parse_apart
from pyfork.cli.serve import serve
from pyfork.config.load import DEFAULT_FILE, Loaded, LoadRequest, absolute, examine
from pyfork.errors import ApplicationLoadError, ConfigurationError
from pyfork.ipc.exits import ExitStatus
from pyfork.workers.loader import logical_directory

GUNICORN_FILE = "gunicorn.conf.py"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run pyfork and exit with its status.

    Args:
        arguments: the command line without the program's name; None for this process's.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Do what the command line asks for and return the exit status."""
    predecessor = None
    try:
        predecessor = Predecessor.find(os.environ)
        command_line = parse_apart(arguments)
        if isinstance(command_line, int):
            return command_line
        return _dispatch(command_line, predecessor)
    except ConfigurationError as error:
        _refuse(error.problems, predecessor)
        if predecessor is None:
            Notifier.from_environment(os.environ).refused(error.problems[0])
    except ApplicationLoadError as error:
        _report("error", [str(error)])
        return ExitStatus.APPLICATION
    except BrokenPipeError:  # `pyfork --print-config | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor can the interpreter's last flush fail
        return ExitStatus.FAILURE
    return ExitStatus.CONFIGURATION


def _refuse(problems: Sequence[str], predecessor: Predecessor | None) -> None:
    """Tell what is wrong: who reads standard error, and the old arbiter of an upgrade, whose log is read."""
    _report("error", problems)
    if predecessor is not None:
        for problem in problems:
            predecessor.report_failure(problem)


def _dispatch(command_line: CommandLine, predecessor: Predecessor | None) -> int:
    directory = _start_directory()
    launch = remember(directory, os.environ)
    if command_line.convert is not None:
        from pyfork.cli.conversion import convert_settings  # noqa: PLC0415 (kept out of the arbiter, as is to_toml)

        text, warnings = convert_settings(command_line, command_line.convert, directory)
        sys.stdout.write(text)
        sys.stdout.flush()
        _report("warning", warnings)
        return ExitStatus.OK
    _report("warning", _doubts(command_line, directory))
    problems = _refusals(command_line)
    is_first = predecessor is None
    request = LoadRequest(directory, dict(os.environ), command_line.overrides, command_line.config, is_first)
    loaded = _load(request, problems, needs_application=not command_line.print_config or command_line.check_config)
    if command_line.print_config:
        from pyfork.config.render import to_toml  # noqa: PLC0415 (as above)

        sys.stdout.write(to_toml(loaded))
        sys.stdout.flush()
    if command_line.print_config or command_line.check_config:
        _report("warning", loaded.warnings)
        return _check(loaded) if command_line.check_config else ExitStatus.OK
    # A ./server.toml that was read is asked for from now on: a reload without it must fail, not serve the defaults.
    again = msgspec.structs.replace(request, file=loaded.file or request.file, is_first=False)
    reload_configuration = partial(_load, again, ())
    return serve(loaded, reload_configuration, launch, predecessor)


def _start_directory() -> str:
    try:
        return logical_directory(os.environ)
    except OSError as error:
        raise ConfigurationError(
            f"the current directory is gone ({error.strerror}); start pyfork in another"
        ) from error


def _load(request: LoadRequest, problems: Iterable[str], *, needs_application: bool = True) -> Loaded:
    """Load and check; at the start and at each HUP.

    Raises:
        ConfigurationError: with ``problems`` and all that come to light.
    """
    examined = examine(request)
    is_nameless = needs_application and not examined.has_application
    found = [
        *problems,
        *examined.problems,
        *check(examined.loaded, needs_application=is_nameless, is_first=request.is_first),
    ]
    if found:
        raise ConfigurationError(*found)
    return examined.loaded


def _check(loaded: Loaded) -> int:
    status = try_application(loaded.settings)
    if status == ExitStatus.OK:
        sys.stdout.write("ok\n")
    return status


# What gunicorn's users bring with them.


def _doubts(command_line: CommandLine, directory: str) -> list[str]:
    """Return warnings of what is given and will not be read."""
    doubts = [left_out.complaint for left_out in left_out_of(command_line) if not left_out.is_error]
    if os.environ.get(GUNICORN_VARIABLE):
        doubts.append(
            f"environment {GUNICORN_VARIABLE} is not read; `pyfork --convert {GUNICORN_FILE}` writes what it says, and "
            "what that file says, as a server.toml"
        )
    files = [name for name in (DEFAULT_FILE, GUNICORN_FILE) if os.path.lexists(absolute(name, directory))]
    if command_line.config is None and files == [GUNICORN_FILE]:
        doubts.append(f"{GUNICORN_FILE} is not read; `pyfork --convert {GUNICORN_FILE} > {DEFAULT_FILE}` converts it")
    return doubts


def _refusals(command_line: CommandLine) -> list[str]:
    """Return what is wrong with the command line itself.

    Raises:
        ConfigurationError: it names a Python file as its configuration, so nothing more can be said of that.
    """
    problems = [left_out.complaint for left_out in left_out_of(command_line) if left_out.is_error]
    problems += command_line.problems
    config = command_line.config or ""
    if config.startswith("python:") or config.endswith((".py", ".pyc")):
        file = config.removeprefix("file:") if not config.startswith("python:") else GUNICORN_FILE
        problems.append(
            f"command line --config: {config} is Python, and pyfork reads TOML; "
            f"`pyfork --convert {shlex.quote(file)} > {DEFAULT_FILE}` converts it"
        )
        raise ConfigurationError(*problems)
    return problems


def _report(kind: str, messages: Iterable[str]) -> None:
    """Write to standard error, a line each: the log does not exist yet."""
    for message in messages:
        sys.stderr.write(f"pyfork: {kind}: {message}\n")
