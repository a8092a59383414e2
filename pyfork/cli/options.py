"""The command line: its options come from the declared settings, and values leave it as text, unchecked.

So that a wrong flag's value is reported together with everything else that is wrong, click only takes the line apart;
`config.load` reads the values.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import click
from click.core import ParameterSource

from pyfork import __version__
from pyfork.cli.command_line import CommandLine
from pyfork.cli.gunicorn_flags import find_left_out, left_out_options
from pyfork.config.catalogue import SETTINGS, TABLES, Setting
from pyfork.config.declarations import Form
from pyfork.config.gunicorn import LEFT_OUT
from pyfork.config.proxies import as_gunicorn_means
from pyfork.config.toml_text import literal
from pyfork.errors import ConfigurationError

COMMAND_LINE = "command line"

_ACTIONS = "Actions"
_INTRODUCTION = """\
Serve the WSGI application APP: MODULE:ATTRIBUTE, MODULE, MODULE:FACTORY() or PATH.py:ATTRIBUTE.

\b
    pyfork -w 4 -b :8000 myproject.wsgi:application
    pyfork -c server.toml
    pyfork --check-config

Each setting can stand in server.toml, in the variable PYFORK_<TABLE>_<KEY> and here; the later override the earlier.
"""


def parse(arguments: Sequence[str], origin: str = COMMAND_LINE) -> CommandLine | int:
    """Take a command line apart.

    Args:
        arguments: without the program's name.
        origin: how messages call it.

    Returns:
        What it asks for, or the exit status when click has answered it (--help, --version, completion).

    Raises:
        ConfigurationError: it has an unknown flag, or one without its value.
    """
    command = _make_command()
    try:
        given = command.main(_split_short(command, arguments), prog_name="pyfork", standalone_mode=False)
    except click.UsageError as error:
        message = error.format_message()
        if origin != COMMAND_LINE:
            raise ConfigurationError(f"{origin}: {message}") from error
        raise ConfigurationError(f"{message.rstrip('.')} (`pyfork --help` shows what there is)") from error
    return _interpret(given, origin) if isinstance(given, dict) else int(given)


def _split_short(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """Take ``-w=4`` for ``-w 4``, as gunicorn's parser does and click's does not."""
    takes_value = {
        flag
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag
        for flag in parameter.opts
        if not flag.startswith("--")
    }
    split: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*split, *arguments[index:]]
        flag, equals, value = argument.partition("=")
        split += [flag, value] if equals and flag in takes_value else [argument]
    return split


def _make_command() -> click.Command:
    return _PyforkCommand(
        "pyfork",
        callback=_collect,
        params=[
            click.Argument(["app"], required=False, metavar="[APP]"),
            _SettingOption(_ACTIONS, ["config", "-c", "--config"], metavar="FILE", help="The settings [./server.toml]"),
            _SettingOption(
                _ACTIONS,
                ["check_config", "--check-config"],
                is_flag=True,
                help="Check the settings and import the application in a process of its own; print what is wrong, or "
                "ok (exit status 0, 2 or 4)",
            ),
            _SettingOption(
                _ACTIONS,
                ["print_config", "--print-config"],
                is_flag=True,
                help="Print the settings in effect as TOML, each with where it comes from",
            ),
            _SettingOption(
                _ACTIONS, ["convert", "--convert"], metavar="FILE", help="Print a server.toml from a gunicorn.conf.py"
            ),
            *(_setting_option(setting) for setting in SETTINGS.values()),
            *left_out_options(),
            _SettingOption(
                _ACTIONS,
                ["-v", "--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Show the version and exit",
            ),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        help=_INTRODUCTION,
    )


class _SettingOption(click.Option):
    """An option that knows under which heading ``--help`` shows it."""

    def __init__(self, heading: str, declarations: list[str], **attributes: object) -> None:
        super().__init__(declarations, **attributes)  # type: ignore[arg-type]  # click's own keywords
        self.heading = heading


def _setting_option(setting: Setting) -> click.Option:
    text = setting.description.replace("`", "").removesuffix(".")
    about = f"{text} [{_default_text(setting)}]"
    if setting.is_switch:
        long_flag = setting.option.long_flag
        switch = f"{long_flag}/{_negation(long_flag)}"
        return _SettingOption(setting.table, [setting.name.replace(".", "__"), switch], default=None, help=about)
    return _SettingOption(
        setting.table,
        [setting.name.replace(".", "__"), *setting.option.flags],
        metavar=setting.option.metavar,
        multiple=setting.is_list or setting.is_mapping,
        help=about,
        **({"is_flag": False, "flag_value": setting.option.bare} if setting.option.bare else {}),
    )


def _negation(long_flag: str) -> str:
    """Return the flag that says no: ``--no-preload``, and ``--new-privileges`` for what begins with no itself."""
    name = long_flag.removeprefix("--")
    return f"--{name.removeprefix('no-')}" if name.startswith("no-") else f"--no-{name}"


def _default_text(setting: Setting) -> str:
    if setting.option.default_text:
        return setting.option.default_text
    if setting.is_list or setting.is_mapping:
        return " ".join(map(str, setting.default)) or "none"
    return literal(setting.default).strip('"')


class _PyforkCommand(click.Command):
    """Shows its options under the headings of the tables, and gunicorn's leftovers as a paragraph."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options (click's hook)."""
        for heading in (_ACTIONS, *TABLES):
            rows = [row for row in self._rows(ctx, heading) if row is not None]
            struct = TABLES.get(heading)
            title = f"[{heading}] {(struct.__doc__ or '').rstrip('.')}" if struct else heading
            with formatter.section(title):
                formatter.write_dl(rows, col_max=34)
        with formatter.section("gunicorn's other flags are accepted; those without a counterpart say why"):
            names = [left_out.flag for left_out in LEFT_OUT if left_out.flags and not left_out.is_error]
            for line in textwrap.wrap(", ".join(names), formatter.width - 4, break_on_hyphens=False):
                formatter.write_text(line)

    def _rows(self, ctx: click.Context, heading: str) -> Iterator[tuple[str, str] | None]:
        for parameter in self.get_params(ctx):
            own = parameter.heading if isinstance(parameter, _SettingOption) else _ACTIONS
            if own == heading and isinstance(parameter, click.Option):
                yield parameter.get_help_record(ctx)


def _print_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        click.echo(f"pyfork {__version__}")
        context.exit()


def _collect(**_: object) -> dict[str, object]:
    """Return the parameters that were given on the line (click's callback)."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _interpret(given: Mapping[str, object], origin: str) -> CommandLine:
    overrides: dict[str, tuple[str | tuple[str, ...] | bool, str]] = {}
    problems = []
    for setting in SETTINGS.values():
        value = given.get(setting.name.replace(".", "__"))
        if setting.option.form is Form.PROXIES and isinstance(value, tuple):
            value = as_gunicorn_means(value)
        if isinstance(value, str | tuple | bool):
            overrides[setting.name] = (value, f"{origin} {setting.option.long_flag}")
    app = given.get("app")
    if isinstance(app, str):
        if "server.app" in overrides:
            problems.append(f"{origin}: the application is given twice, as APP ({app}) and with --app; give it once")
        overrides["server.app"] = (app, f"{origin} APP")
    config, convert = given.get("config"), given.get("convert")
    return CommandLine(
        overrides=overrides,
        left_out=find_left_out(given),
        problems=problems,
        config=config if isinstance(config, str) else None,
        check_config=bool(given.get("check_config")),
        print_config=bool(given.get("print_config")),
        convert=convert if isinstance(convert, str) else None,
    )
