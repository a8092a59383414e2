"""The command line taken apart in a child: its parser would lie in the arbiter's memory for months."""

import marshal
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from pyfork.cli.command_line import CommandLine
from pyfork.errors import ConfigurationError
from pyfork.ipc.exits import ExitStatus


def parse_apart(arguments: Sequence[str]) -> CommandLine | int:
    """Take the arbiter's command line apart, in a child: click, and all that it imports, ends with that.

    Args:
        arguments: without the program's name.

    Returns:
        What it asks for, or the exit status when that is done already (--help, --version, completion), or when the
        parser failed, which has told why by then.

    Raises:
        ConfigurationError: it has an unknown flag, or one without its value; there is no room for a process, or
            somebody has killed it.
    """
    reading, writing = os.pipe()
    try:
        pid = os.fork()  # noqa: TID251 (nothing is open yet and no thread runs: there is no fork window)
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise ConfigurationError(
            f"no process could be started to read the command line: {error.strerror} (the limits are RLIMIT_NPROC, see "
            "`ulimit -u`, and the cgroup's pids.max)"
        ) from error
    if pid == 0:
        os.close(reading)
        _be_the_parser(writing, arguments)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    status = 0
    with suppress(ChildProcessError):  # who started pyfork has SIGCHLD ignored: the kernel has seen to it
        _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise ConfigurationError(
            f"the process that read the command line was killed by signal {os.WTERMSIG(status)}; start pyfork again"
        )
    return _read(marshal.loads(told)) if told else ExitStatus.FAILURE  # noqa: S302 (our own child's)


def _be_the_parser(writing: int, arguments: Sequence[str]) -> NoReturn:
    """Parse, tell, end: in the child, whose stack must not unwind into what the parent does."""
    try:
        told = _parse(arguments)
        if sys.stdout is not None:  # it is closed
            sys.stdout.flush()
    except BrokenPipeError:  # `pyfork --help | head`: the reader has seen enough
        told = (int(ExitStatus.FAILURE),)
    except BaseException:  # noqa: BLE001 (told in full; nobody is there to catch it)
        traceback.print_exc()
        told = ()
    if told:
        os.write(writing, marshal.dumps(told))
    os._exit(0)


def _parse(arguments: Sequence[str]) -> tuple[Any, ...]:
    """Return what `_read` makes an answer of: values of Python's own, as octets that are no UTF-8 must get through."""
    from pyfork.cli.options import parse  # noqa: PLC0415 (this is what the child is for)

    try:
        found = parse(arguments)
    except ConfigurationError as error:
        return (error.problems,)
    except SystemExit as end:  # completion
        return (end.code or int(ExitStatus.OK),)
    if isinstance(found, CommandLine):
        return tuple(getattr(found, name) for name in CommandLine.__struct_fields__)
    return (found,)


def _read(told: tuple[Any, ...]) -> CommandLine | int:
    if len(told) > 1:
        return CommandLine(*told)
    if isinstance(told[0], int):
        return told[0]
    raise ConfigurationError(*told[0])
