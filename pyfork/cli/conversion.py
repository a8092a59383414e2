"""``--convert``: what gunicorn was told by its file, its variable and a command line, as a server.toml."""

import os
import shlex
from collections.abc import Iterable

from pyfork.cli.command_line import GUNICORN_VARIABLE, CommandLine, left_out_of
from pyfork.cli.options import parse
from pyfork.config.convert import Converted, convert
from pyfork.config.load import absolute
from pyfork.errors import ConfigurationError
from pyfork.workers.registry import resolve_type


def convert_settings(command_line: CommandLine, path: str, directory: str) -> tuple[str, list[str]]:
    """Convert a gunicorn.conf.py; GUNICORN_CMD_ARGS goes before it, and the command line before both.

    Args:
        command_line: what else it says.
        path: the file, as it was named.
        directory: where pyfork was started.

    Returns:
        The text of the server.toml, and warnings of what it leaves out.

    Raises:
        ConfigurationError: the file cannot be read or run, or the variable cannot be taken apart.
    """
    path = path.removeprefix("file:")
    from_variable = _parse_variable()
    overrides = {**from_variable.overrides, **command_line.overrides}
    converted = convert(absolute(path, directory), path, overrides)
    left_out = [each.complaint for line in (from_variable, command_line) for each in left_out_of(line)]
    return converted.text, [*converted.warnings, *left_out, *_missing_type(converted)]


def _parse_variable() -> CommandLine:
    """Return what GUNICORN_CMD_ARGS asks for, by gunicorn's rules."""
    origin = f"environment {GUNICORN_VARIABLE}"
    try:
        given = parse(shlex.split(os.environ.get(GUNICORN_VARIABLE, "")), origin)
    except ValueError as error:
        raise ConfigurationError(f"{origin}: {str(error).lower()}") from error
    return given if isinstance(given, CommandLine) else CommandLine({})


def _missing_type(converted: Converted) -> Iterable[str]:
    try:
        resolve_type(converted.values.get("workers.type", "sync"))
    except ConfigurationError as error:
        return [f"the result must be changed before it can be used: {problem}" for problem in error.problems]
    return ()
