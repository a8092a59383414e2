"""The pages that are rendered from the declarations: docs/settings.md and server.toml.example."""

import textwrap
from collections.abc import Iterator

from pyfork.config.catalogue import SETTINGS, TABLES, Setting
from pyfork.config.declarations import Form
from pyfork.config.gunicorn import LEFT_OUT, LeftOut
from pyfork.config.toml_text import literal
from pyfork.config.values import expectation

EXAMPLE = {"server.app": "sample_apps/quotes.py:app", "server.bind": ("127.0.0.1:8000",)}
"""What server.toml.example sets; all other settings are there as comments."""

_WIDTH = 100

_EXAMPLE_HEAD = """\
# server.toml.example: every setting of pyfork, with its default.
#
#     pyfork -c server.toml.example       (or copy it to ./server.toml and run: pyfork)
#     pyfork --check-config               says what is wrong, without starting anything
#     pyfork --print-config               shows the settings in effect and where each comes from
#
# What is commented out is the default, or an example where there is no default. Environment variables
# (PYFORK_<TABLE>_<KEY>) override this file, flags override both. docs/settings.md says more. After a
# change: kill -HUP.
"""

_SETTINGS_HEAD = """\
# Settings

<!-- Rendered from pyfork/config/schema.py by `make docs`; change it there. -->

A setting has one name, one type and one default, and four places where it can be given. Each overrides those before it:

1. its default;
2. the file: `-c FILE`, or `./server.toml` if it is there;
3. the environment: `PYFORK_<TABLE>_<KEY>`, lists separated by commas; an empty variable counts as not set;
4. the command line.

A source that gives a list or a table replaces it whole. `WEB_CONCURRENCY` is `workers.count` (its own variable is
stronger); `PORT`, when there is no bind anywhere, means `0.0.0.0:$PORT`; `FORWARDED_ALLOW_IPS` is `proxy.trusted`, when
nothing else gives that. An unknown `PYFORK_*` variable is only warned of: Kubernetes sets some. Everything else that is
unknown or wrong is an error; all errors are reported at once, with exit status 2, and nothing is started.

Relative paths start at `server.chdir`; that and `-c FILE` start at the directory in which pyfork was started. A
symbolic link in a path is kept as it is written and followed anew at each reload.

`pyfork --check-config` reads the configuration, imports the application in a process of its own and prints what is
wrong, or `ok`; `pyfork --print-config` prints the settings in effect, with where each comes from.

## Exit statuses

| status | meaning |
|---|---|
| 0 | stopped as asked; with `--check-config`: everything is right |
| 1 | anything that has no status of its own |
| 2 | bad configuration or command line; nothing was started |
| 3 | a worker could not boot at the first start |
| 4 | the application, or a worker class of your own, could not be imported at the first start |
"""

_GUNICORN_HEAD = """\
## Coming from gunicorn

gunicorn's command line works with the name changed: each of its flags is accepted. Those of settings that pyfork has
are listed above. `pyfork --convert gunicorn.conf.py` prints a `server.toml` from a Python configuration file (which
is run for that) and warns of what it leaves out; it takes in `GUNICORN_CMD_ARGS` and flags on its own command line too.

Without a counterpart, and what pyfork says about them:

| flag or setting | |
|---|---|
"""


def example_page() -> str:
    """Return server.toml.example."""
    lines = [_EXAMPLE_HEAD]
    for table, struct in TABLES.items():
        lines += [f"# {struct.__doc__}", f"[{table}]", ""]
        for setting in _settings(table):
            lines += [*_example_lines(setting), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _example_lines(setting: Setting) -> Iterator[str]:
    about = setting.description.replace("`", "")
    if setting.option.example is not None:
        about += f" Default: {_default_text(setting).replace('`', '')}."
    yield from textwrap.wrap(about, _WIDTH - 2, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    if setting.name in EXAMPLE:
        yield f"{setting.key} = {literal(EXAMPLE[setting.name])}"
    else:
        value = setting.default if setting.option.example is None else setting.option.example
        if setting.option.form is Form.MOUNTS:
            yield from (f"# {literal(prefix)} = {literal(directory)}" for prefix, directory in value.items())
            return
        yield f"# {setting.key} = {literal(value)}"


def settings_page() -> str:
    """Return docs/settings.md."""
    parts = [_SETTINGS_HEAD]
    for table, struct in TABLES.items():
        parts += [f"## `[{table}]`\n", f"{struct.__doc__}\n"]
        parts += [_setting_text(setting) for setting in _settings(table)]
    parts.append(_GUNICORN_HEAD + "\n".join(_gunicorn_rows()) + "\n")
    return "\n".join(parts)


def _setting_text(setting: Setting) -> str:
    flags = ", ".join(f"`{flag}`" for flag in setting.option.flags)
    wanted = expectation(setting)
    facts = [
        f"- {wanted[0].upper()}{wanted[1:]}; default: {_default_text(setting)}",
        f"- {flags}; `{setting.variable}`",
        f"- changed by a reload (HUP): {setting.option.on_reload}",
    ]
    return f"### `{setting.name}`\n\n{textwrap.fill(setting.description, 120, break_on_hyphens=False)}\n\n" + (
        "\n".join(facts) + "\n"
    )


def _default_text(setting: Setting) -> str:
    if setting.option.default_text:
        return setting.option.default_text
    return "none" if setting.default in ((), {}) else f"`{literal(setting.default)}`"


def _settings(table: str) -> list[Setting]:
    return [setting for setting in SETTINGS.values() if setting.table == table]


def _gunicorn_rows() -> Iterator[str]:
    """One row for each reason: many settings share one."""
    by_reason: dict[tuple[str, bool], list[LeftOut]] = {}
    for left_out in LEFT_OUT:
        by_reason.setdefault((left_out.reason, left_out.is_error), []).append(left_out)
    for (reason, is_error), members in by_reason.items():
        names = [f"`{name}`" for member in members for name in (member.flags or (member.name,))]
        yield f"| {', '.join(names)} | {'**refused**: ' if is_error else ''}{reason} |"
