"""Checks of a loaded configuration that need to look at the system, or at a room above ``config``; nothing is changed.

They run at the start, at each HUP and for ``--check-config``, and find everything at once.
"""

import importlib.util
import os
import stat
import sys
from collections.abc import Callable

from pyfork.arbiter.pidfile import find_fault
from pyfork.cli.encryption import check_tls
from pyfork.config.binds import parse_bind
from pyfork.config.load import DEFAULT, Loaded
from pyfork.config.proxies import check_fields
from pyfork.config.schema import Settings
from pyfork.config.schema_static import StaticSettings
from pyfork.errors import ConfigurationError
from pyfork.log import error as error_log
from pyfork.process.privileges import check_no_new_privileges, check_privileges
from pyfork.workers.registry import can_refork, check_type, is_own


def check(loaded: Loaded, *, needs_application: bool = True, is_first: bool = True) -> list[str]:
    """Return what is wrong, one sentence for each problem; called in the arbiter.

    Args:
        loaded: what `config.load` returned.
        needs_application: whether it is a problem that no application is named (a worker class of the user's own
            may do without, which its worker finds out).
        is_first: whether this is a start, which has a pidfile to take; a reload keeps what it has.
    """
    settings = loaded.settings
    problems = []
    if needs_application and settings.server.app is None and not is_own(settings.workers.type):
        problems.append(
            "no application: name it on the command line, as in `pyfork myproject.wsgi:application`, or as app in the "
            "[server] table of server.toml"
        )
    problems += _check_type(loaded)
    problems += _check_numbers(loaded)
    problems += _check_mold(loaded)
    problems += _check_proxy(loaded)
    problems += _check_development(settings)
    problems += _problems_of(lambda: check_privileges(settings.server.user, settings.server.group))
    problems += _problems_of(lambda: check_no_new_privileges(is_wanted=settings.server.no_new_privileges))
    problems += _check_directories(loaded)
    problems += _check_pidfile(settings.server.pidfile, is_first=is_first)
    problems += _check_static(settings.static)
    problems += _check_sockets(settings)
    problems += check_tls(settings)
    problems += error_log.check(settings.log)
    return problems


def _check_type(loaded: Loaded) -> list[str]:
    origin = loaded.origins["workers.type"]
    return [f"{origin}: {problem}" for problem in _problems_of(lambda: check_type(loaded.settings.workers.type))]


def _check_numbers(loaded: Loaded) -> list[str]:
    if not loaded.unusable.isdisjoint(("workers.count", "workers.min", "workers.max")):
        return []  # what is wrong with one of them is told, and what it was meant to be nobody knows
    workers = loaded.settings.workers
    lowest, highest = workers.min, workers.max
    if highest is None:
        return [] if lowest is None else ["workers.min: there is no workers.max; the number follows the load with both"]
    problems = []
    if lowest is not None and lowest > highest:
        problems.append(f"workers.min: {lowest} is more than workers.max, {highest}")
    elif loaded.origins["workers.count"] != DEFAULT and not (lowest or 1) <= workers.count <= highest:
        problems.append(
            f"workers.count: {workers.count} is where the number begins: it must be from {lowest or 1} (workers.min) "
            f"to {highest} (workers.max)"
        )
    return problems


def _check_mold(loaded: Loaded) -> list[str]:
    problems, workers = [], loaded.settings.workers
    if workers.preload and sys.platform != "linux":
        problems.append(
            "workers.preload: only Linux lets the arbiter adopt the workers that a mold forks; leave it out"
        )
    if workers.refork_after and not workers.preload and "workers.preload" not in loaded.unusable:
        problems.append("workers.refork_after: a worker becomes the mold of others only with workers.preload = true")
    if workers.refork_after and not can_refork(workers.type):
        problems.append(
            f"workers.refork_after: a worker of type {workers.type} cannot be forked while it serves; the types sync "
            "and async can"
        )
    return problems


def _check_proxy(loaded: Loaded) -> list[str]:
    problem = check_fields(loaded.settings.proxy.headers)
    return [f"{loaded.origins['proxy.headers']}: proxy.headers: {problem}"] if problem else []


def _check_development(settings: Settings) -> list[str]:
    if settings.development.reload and importlib.util.find_spec("watchfiles") is None:
        how = "pip install watchfiles (or 'pyfork[reload]'; in a checkout '.[reload]')"
        return [f"development.reload: it needs the library watchfiles, which is not installed: {how}"]
    return []


def _problems_of(attempt: Callable[[], object]) -> tuple[str, ...]:
    try:
        attempt()
    except ConfigurationError as error:
        return error.problems
    return ()


def _check_directories(loaded: Loaded) -> list[str]:
    problems, server = [], loaded.settings.server
    if server.chdir is not None and not os.path.isdir(server.chdir):
        if loaded.origins["server.chdir"] != DEFAULT:
            problems.append(f"server.chdir: {server.chdir} is not a directory")
        else:
            problems.append(
                f"the directory that pyfork was started in, {server.chdir}, is gone, and workers begin there; put it "
                "(or the link) back, or set server.chdir"
            )
    return problems


def _check_pidfile(path: str | None, *, is_first: bool) -> list[str]:
    is_wanted = path is not None and (is_first or not os.path.isdir(os.path.dirname(path)))
    fault = find_fault(path) if path is not None and is_wanted else None
    return [] if fault is None else [fault]


def _check_static(static: StaticSettings) -> list[str]:
    problems = []
    for prefix, mount in static.mounts.items():
        if not os.path.isdir(mount.dir):
            what = "is not a directory" if os.path.lexists(mount.dir) else "does not exist"
            problems.append(f'static."{prefix}": {mount.dir} {what}')
    return problems


def _check_sockets(settings: Settings) -> list[str]:
    paths = [bind.path for bind in map(parse_bind, settings.server.bind) if bind.kind == "unix"]
    return [problem for path in paths if (problem := _check_socket(path)) is not None]


def _check_socket(path: str) -> str | None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        parent = os.path.dirname(path)
        return None if os.path.isdir(parent) else f"server.bind: unix:{path}: there is no directory {parent}"
    except OSError as error:
        return f"server.bind: unix:{path}: {(error.strerror or str(error)).lower()}"
    if stat.S_ISSOCK(mode):
        return None
    what = "a directory" if stat.S_ISDIR(mode) else "a regular file" if stat.S_ISREG(mode) else "no socket"
    return f"server.bind: unix:{path}: the path is {what}, and pyfork only replaces sockets; remove it or name another"
