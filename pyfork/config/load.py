"""Brings the sources together: defaults < file < environment < command line. Called at the start and at each HUP.

Every source is read whole and every value checked, also one that a stronger source replaces, so that the problems come
all at once and a file does not break on the day that a variable is removed.

Relative paths become absolute as text, never by asking the system: ``/srv/current/app`` must go on meaning whatever
``current`` points to at the next reload. They start at ``server.chdir``, and that, like the configuration file, at the
directory in which pyfork was started.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pyfork.config.binds import parse_bind
from pyfork.config.catalogue import SETTINGS, TABLES
from pyfork.config.declarations import Form
from pyfork.config.environment import read_environment, read_forwarded_allow_ips, read_port
from pyfork.config.gunicorn import translate_worker_class
from pyfork.config.idle import find_idle
from pyfork.config.schema import Settings
from pyfork.config.toml_file import read_file
from pyfork.config.values import Raw, read_value
from pyfork.errors import ConfigurationError

DEFAULT_FILE = "server.toml"
THREADLESS = ("sync", "async", "selectors", "gevent")
"""Worker types that have no use for `workers.threads`."""
THREADED = ("threadpool", "thread", "gthread")
"""Worker types that `workers.threads` is for."""
DEFAULT = "default"
"""The origin of a value that nobody gave."""

_T = TypeVar("_T")


class LoadRequest(Struct, frozen=True):
    """Where to look; the same one is used again for every reload.

    Attributes:
        directory: where pyfork was started, absolute, as the shell shows it.
        environ: the environment at the start.
        overrides: from the command line: setting -> (text, texts of a repeated flag, or a truth value; the origin).
        file: the configuration file, None for ./server.toml if there is one.
        is_first: False at a reload and in the new arbiter of an upgrade: what could be read once, as a pipe, is not
            there a second time, and must not be waited for.
    """

    directory: str
    environ: Mapping[str, str]
    overrides: Mapping[str, tuple[str | tuple[str, ...] | bool, str]]
    file: str | None = None
    is_first: bool = True


class Loaded(Struct, frozen=True):
    """A valid configuration.

    Attributes:
        settings: complete; its paths are absolute, ``server.chdir`` is always set.
        origins: where each value comes from, by setting: a file's name, ``environment NAME``, ``command line --flag``
            or ``default``.
        warnings: one sentence each.
        file: the file that was read, or None.
        unusable: settings for which somebody gave what is no value of theirs: they have another's, or the default.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    file: str | None
    unusable: frozenset[str] = frozenset()


class Examined(Struct, frozen=True):
    """What can be said of a configuration that may be wrong.

    Attributes:
        loaded: as far as it is valid, defaults elsewhere: good for finding more problems, never for running.
        problems: a sentence each.
        has_application: whether one is named, or may be, in a place that could not be read.
    """

    loaded: Loaded
    problems: tuple[str, ...]
    has_application: bool


def load(request: LoadRequest) -> Loaded:
    """Read all sources.

    Raises:
        ConfigurationError: with every problem that was found.
    """
    examined = examine(request)
    if examined.problems:
        raise ConfigurationError(*examined.problems)
    return examined.loaded


def examine(request: LoadRequest) -> Examined:
    """Read all sources, as far as they can be read."""
    file = _find_file(request)
    problems: list[str] = []
    is_readable = True
    from_file: Mapping[str, Raw] = {}
    if file is not None:
        try:
            from_file, unknown = read_file(file, _shown(file, request.directory), may_wait=request.is_first)
            problems += unknown
        except ConfigurationError as error:
            is_readable = False
            problems += error.problems
    from_environment, warnings = read_environment(request.environ)
    from_flags = {name: Raw(value, origin, is_text=True) for name, (value, origin) in request.overrides.items()}
    sources = [from_file, from_environment, from_flags]
    has_application = not is_readable or any("server.app" in source for source in sources)
    if not any("server.bind" in source for source in sources):
        sources.append(_try(partial(read_port, request.environ), problems, {}))
    if not any("proxy.trusted" in source for source in sources):
        sources.append(read_forwarded_allow_ips(request.environ))
    values, origins, unusable = _merge(sources, problems)
    warnings += [*_translate_type(values, origins), *_let_threads_choose(values, origins), *find_idle(values)]
    settings = _build(values, request.directory, problems)
    loaded = Loaded(settings, MappingProxyType(origins), tuple(warnings), file, unusable)
    return Examined(loaded, tuple(problems), has_application)


def _try(attempt: Callable[[], _T], problems: list[str], otherwise: _T) -> _T:
    """Return the outcome of ``attempt``; its problems are noted, and ``otherwise`` is used instead."""
    try:
        return attempt()
    except ConfigurationError as error:
        problems += error.problems
        return otherwise


def _find_file(request: LoadRequest) -> str | None:
    if request.file is not None:
        return absolute(request.file, request.directory)
    standard = os.path.join(request.directory, DEFAULT_FILE)
    return standard if os.path.lexists(standard) else None  # a dangling link is a mistake, not the absence of a file


def _shown(file: str, directory: str) -> str:
    return file.removeprefix(directory.rstrip("/") + "/")


def _merge(
    sources: list[Mapping[str, Raw]], problems: list[str]
) -> tuple[dict[str, Any], dict[str, str], frozenset[str]]:
    """Check every value of every source; the last source that gives a setting has it.

    Returns:
        The values and their origins, by setting, and the settings of which a value was none.
    """
    values: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
    origins = dict.fromkeys(SETTINGS, DEFAULT)
    unusable = set()
    for source in sources:
        for name, raw in source.items():
            found = len(problems)
            values[name] = _try(partial(read_value, SETTINGS[name], raw), problems, values[name])
            origins[name] = raw.origin
            if len(problems) > found:
                unusable.add(name)
    return values, origins, frozenset(unusable)


def _translate_type(values: dict[str, Any], origins: dict[str, str]) -> list[str]:
    """Take gunicorn's worker classes for the types that they mean; return what there is to warn of."""
    name = values["workers.type"]
    values["workers.type"] = translated = translate_worker_class(name)
    if translated == name:
        return []
    return [f"{origins['workers.type']}: workers.type {name} is gunicorn's; {translated} takes its place"]


def _let_threads_choose(values: dict[str, Any], origins: dict[str, str]) -> list[str]:
    """Make sync with several threads threadpool, as gunicorn makes it gthread; return what there is to warn of."""
    threads, worker_type = values["workers.threads"], values["workers.type"]
    if threads == 1 and worker_type in THREADED:
        return [f"{worker_type} with threads = 1 serves one request at a time; set workers.threads"]
    if threads == 1 or worker_type not in THREADLESS:
        return []
    if worker_type != "sync":
        return [f"workers.threads = {threads} is not used: a worker of type {worker_type} has no threads"]
    is_chosen = origins["workers.type"] != DEFAULT
    values["workers.type"] = "threadpool"
    origins["workers.type"] = f"because of workers.threads, from {origins['workers.threads']}"
    if not is_chosen:
        return []
    return [f"workers.type is sync and workers.threads is {threads}: threadpool serves, as gthread does in gunicorn"]


def _build(values: dict[str, Any], directory: str, problems: list[str]) -> Settings:
    base = absolute(values["server.chdir"] or directory, directory)
    for name, setting in SETTINGS.items():
        value = values[name]
        if setting.option.form is Form.BINDS:
            value = tuple(_try(partial(_absolute_bind, text, base), problems, text) for text in value)
        values[name] = _absolute_value(value, setting.option.form, base)
    values["server.chdir"] = base
    tables = {
        table: struct(**{setting.key: values[setting.name] for setting in SETTINGS.values() if setting.table == table})
        for table, struct in TABLES.items()
    }
    return Settings(**tables)  # type: ignore[arg-type]  # TABLES names the structs of the fields of Settings


def _absolute_value(value: Any, form: Form, base: str) -> Any:
    if value is None:
        return None
    if form is Form.PATH:
        return tuple(absolute(path, base) for path in value) if isinstance(value, tuple) else absolute(value, base)
    if form is Form.MOUNTS:
        return {prefix: msgspec.structs.replace(each, dir=absolute(each.dir, base)) for prefix, each in value.items()}
    if form is Form.SNI:
        return {name: ":".join(absolute(path, base) for path in files.split(":")) for name, files in value.items()}
    if form is Form.PATH_OR_DASH:
        return value if value == "-" else absolute(value, base)
    return value


def _absolute_bind(text: str, base: str) -> str:
    path = text.removeprefix("unix:")
    if path == text or path.startswith("@"):
        return text
    return parse_bind(f"unix:{absolute(path, base)}").text  # once more: it has become longer


def absolute(path: str, base: str) -> str:
    """Return ``path`` as seen from ``base``, textually; ``..`` stays, for what it means depends on symbolic links."""
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if path in {"", "."}:
        return base
    return os.path.join(base, path)
