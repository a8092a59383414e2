"""gunicorn's flags without a counterpart: accepted, and answered with the reason why they do nothing.

Flags of settings that pyfork has are options of those settings (`cli.options`), so that together every flag of
gunicorn's is one of ours.
"""

from collections.abc import Iterable

import click

from pyfork.config.gunicorn import LEFT_OUT, Argument, LeftOut

_PREFIX = "gunicorn__"


def left_out_options() -> list[click.Option]:
    """Return a hidden option for each such flag; `--help` lists them together."""
    return [_option(left_out) for left_out in LEFT_OUT if left_out.flags]


def _option(left_out: LeftOut) -> click.Option:
    declaration = [_PREFIX + left_out.name, *left_out.flags]
    if left_out.argument is Argument.NONE:
        return click.Option(declaration, is_flag=True, hidden=True)
    return click.Option(declaration, multiple=True, hidden=True)


def find_left_out(parameters: Iterable[str]) -> tuple[str, ...]:
    """Return the names of what the given parameters, by click's names, ask for in vain."""
    given = set(parameters)
    return tuple(left_out.name for left_out in LEFT_OUT if _PREFIX + left_out.name in given)
