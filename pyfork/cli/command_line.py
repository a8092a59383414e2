"""What a command line asks for."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pyfork.config.gunicorn import LEFT_OUT, LeftOut

GUNICORN_VARIABLE = "GUNICORN_CMD_ARGS"
"""In which gunicorn takes flags too."""

Overrides = Mapping[str, tuple[str | tuple[str, ...] | bool, str]]


class CommandLine(Struct, frozen=True):
    """What a command line asks for.

    Attributes:
        overrides: settings -> (text, texts or a truth value; where it stands), for `config.load.LoadRequest`.
        left_out: the names of gunicorn's settings whose flags were given and that have no counterpart.
        problems: what is wrong with it.
        config: -c.
        check_config: --check-config.
        print_config: --print-config.
        convert: --convert.
    """

    overrides: Overrides
    left_out: Sequence[str] = ()
    problems: Sequence[str] = ()
    config: str | None = None
    check_config: bool = False
    print_config: bool = False
    convert: str | None = None


def left_out_of(command_line: CommandLine) -> list[LeftOut]:
    """Return what is known of the flags that were given in vain."""
    return [left_out for left_out in LEFT_OUT if left_out.name in command_line.left_out]
