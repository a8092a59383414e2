"""``--convert``: runs a gunicorn.conf.py, as gunicorn would, and writes down as server.toml what it set.

The file is the user's own code; it runs in the process of ``pyfork --convert``, which does nothing else afterwards.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pyfork.config.catalogue import SETTINGS, Setting
from pyfork.config.declarations import Form
from pyfork.config.gunicorn import COUNTERPARTS, LEFT_OUT, OWN, LeftOut, translate_worker_class
from pyfork.config.nearest import nearest_names
from pyfork.config.proxies import as_gunicorn_means
from pyfork.config.toml_text import literal, write_settings
from pyfork.config.values import Raw, read_value
from pyfork.errors import ConfigurationError

_CLOSE = 0.8
"""difflib's ratio: a file has names of its own, so only what looks like a slip is worth a warning."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The outcome.

    Attributes:
        text: a server.toml.
        values: what it sets, by setting.
        warnings: what was left out and why, one sentence each.
    """

    text: str
    values: Mapping[str, Any]
    warnings: tuple[str, ...]


def convert(path: str, shown: str, overrides: Mapping[str, tuple[Any, str]]) -> Converted:
    """Run ``path`` and return what it sets, ``overrides`` being stronger.

    Args:
        path: a gunicorn.conf.py, absolute.
        shown: how messages call it.
        overrides: from ``GUNICORN_CMD_ARGS`` and the command line, as in `load.LoadRequest`.

    Raises:
        ConfigurationError: it cannot be read, or fails; the traceback is part of the message.
    """
    namespace = _run(path, shown)
    warnings = _left_out(namespace, shown)
    raws: dict[str, Raw] = {}
    for name, setting_name in COUNTERPARTS.items():
        if namespace.get(name) is not None:
            raws[setting_name] = _raw(SETTINGS[setting_name], namespace[name], f"{shown}: {name}")
    raws |= {name: Raw(value, origin, is_text=True) for name, (value, origin) in overrides.items()}
    values: dict[str, Any] = {}
    for name, raw in raws.items():
        try:
            values[name] = read_value(SETTINGS[name], raw)
        except ConfigurationError as error:
            warnings += [f"left out: {problem}" for problem in error.problems]
    if "workers.type" in values:
        values["workers.type"] = translate_worker_class(values["workers.type"])
    head = f"# Converted from {literal(shown)}. To see what pyfork makes of it: pyfork -c FILE --check-config\n"
    return Converted(head + write_settings(values, {}), values, tuple(warnings))


def _run(path: str, shown: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    module = ModuleType("__config__")  # gunicorn's name for it
    module.__file__ = path
    sys.modules[module.__name__] = module
    sys.path.insert(0, os.getcwd())  # where gunicorn looks for what the file imports
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the file prints does not belong into the TOML
            exec(compile(source, path, "exec"), vars(module))  # noqa: S102 (running the user's file is what --convert is for)
    except (Exception, SystemExit) as error:
        frames = error.__traceback__.tb_next if error.__traceback__ else None  # from the file on, not ours
        text = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
        raise ConfigurationError(f"{shown}: it fails when it is run:\n{text}") from error
    return vars(module)


def _raw(setting: Setting, value: Any, origin: str) -> Raw:
    """Return a value of gunicorn's as ours are given: it takes text for numbers, and one address for a list."""
    if setting.is_list and isinstance(value, str):
        value = (value,)
    if setting.option.bare and isinstance(value, bool):  # before gunicorn 24 it was a switch
        value = setting.option.bare if value else setting.default
    is_text = isinstance(value, str)
    if (setting.is_list or setting.is_mapping) and isinstance(value, list | tuple):
        value = tuple(map(str, value))
        is_text = True
    if setting.option.form is Form.PROXIES and isinstance(value, tuple):
        value = as_gunicorn_means(value)
    if isinstance(value, type):
        value = f"{value.__module__}:{value.__qualname__}"
        is_text = True
    return Raw(value, origin, is_text=is_text)


def _left_out(namespace: Mapping[str, Any], shown: str) -> list[str]:
    known = {left_out.name: left_out for left_out in LEFT_OUT}
    warnings = []
    for name, value in namespace.items():
        if name in known and not _asks_for_nothing(known[name], value):
            warnings.append(f"{shown}: {name} is left out: {known[name].reason}")
        elif name not in known and _looks_like_a_setting(name, value):
            near = nearest_names(name, [*COUNTERPARTS, *known], _CLOSE)
            if near:
                warnings.append(f"{shown}: {name} is left out: gunicorn has no such setting; did you mean {near[0]}?")
    return warnings


def _asks_for_nothing(left_out: LeftOut, value: Any) -> bool:
    return not value or value == left_out.default


def _looks_like_a_setting(name: str, value: Any) -> bool:
    is_own = name in COUNTERPARTS or name in OWN or name.startswith("_")
    return not is_own and not isinstance(value, ModuleType)
