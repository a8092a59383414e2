"""Imports the hooks of the user's, in the process that calls them: worker, mold, hook process or ``--check-config``.

The messages about a hook that is not there are those of `pyfork.workers.loader` about an application.
"""

import inspect
from collections.abc import Callable, Iterable

from msgspec import Struct

from pyfork.config.schema_hooks import HookSettings
from pyfork.errors import ApplicationLoadError
from pyfork.hooks.calling import Hook
from pyfork.hooks.catalogue import KINDS, chosen
from pyfork.workers.loader import describe_kind, load_named

BEFORE_THE_IMPORT = "post_fork"
"""The one hook of workers that does not wait for the application, whose import may need what the hook does."""
BEFORE_THE_FREEZE = "before_mold_freeze"
"""The one hook of molds."""
AFTER_THE_IMPORT = ("worker_ready", "pre_request", "post_request", "worker_exit")


class WorkerHooks(Struct, frozen=True):
    """The hooks that a worker calls once its application is there; None where there is none."""

    worker_ready: Hook | None = None
    pre_request: Hook | None = None
    post_request: Hook | None = None
    worker_exit: Hook | None = None


NO_HOOKS = WorkerHooks()


def load_worker_hooks(settings: HookSettings) -> WorkerHooks:
    """Import what a worker calls from `AFTER_THE_IMPORT` on; called in the worker, or the mold, behind that.

    Raises:
        ApplicationLoadError: with everything that is wrong with any of them.
    """
    return WorkerHooks(**load_hooks(settings, AFTER_THE_IMPORT))


def call_boot_hook(settings: HookSettings, name: str, *arguments: object) -> None:
    """Import and call the hook ``name``, if it is set; its exception ends the boot of this worker or mold.

    Raises:
        ApplicationLoadError: it is not there, or cannot be called with ``arguments``.
        HookError: it raised.
    """
    hook = load_hooks(settings, [name]).get(name)
    if hook is not None:
        hook.call(*arguments)


def load_hooks(settings: HookSettings, names: Iterable[str]) -> dict[str, Hook]:
    """Import those of ``names`` that are set.

    Raises:
        ApplicationLoadError: with everything that is wrong with any of them.
    """
    specifications, hooks, failures = chosen(settings), {}, []
    for name in names:
        if name in specifications:
            try:
                hooks[name] = load_hook(name, specifications[name])
            except ApplicationLoadError as error:
                failures.append(error)
    if failures:
        raise ApplicationLoadError("\n".join(map(str, failures)), _distinct(error.traceback_text for error in failures))
    return hooks


def load_hook(name: str, specification: str) -> Hook:
    """Import what ``specification`` names for the hook ``name``.

    Raises:
        ApplicationLoadError: it cannot be imported or found, or not be called as that hook is.
    """
    try:
        function = load_named(specification, "hook")
    except ApplicationLoadError as error:
        raise ApplicationLoadError(f"hooks.{name}: {error}", error.traceback_text) from error
    if not callable(function):
        raise ApplicationLoadError(f"hooks.{name}: {specification!r} is not callable: it is {describe_kind(function)}")
    _check_arguments(name, specification, function)
    return Hook(name, specification, function)


def _check_arguments(name: str, specification: str, function: Callable[..., object]) -> None:
    """See now whether ``function`` takes what it will be given: later each request would fail on it.

    Raises:
        ApplicationLoadError: it does not.
    """
    arguments = KINDS[name].arguments
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C, and does not say
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ApplicationLoadError(
            f"hooks.{name}: {specification!r} must take {len(arguments)} positional argument"
            f"{'s' * (len(arguments) > 1)}, ({', '.join(arguments)}): {error}"
        ) from error


def _distinct(texts: Iterable[str]) -> str:
    """Return the tracebacks below one another, each once: several hooks of one module fail by one import."""
    return "".join(dict.fromkeys(texts))
