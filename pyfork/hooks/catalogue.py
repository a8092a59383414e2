"""Every hook, once: the side it runs on, what it is called with, what its exception stops. Pure.

`docs/hooks.md` is the long form of this table, and a test compares the two. The names are those of the settings in
`pyfork.config.schema_hooks.HookSettings`.
"""

from enum import Enum

from msgspec import Struct

from pyfork.config.schema_hooks import HookSettings
from pyfork.errors import describe_code, text_of


class Side(Enum):
    """Which process calls a hook."""

    OWN = "a process of its own"
    """The arbiter forks it for this one call, so that no hook is ever imported in the arbiter."""
    MOLD = "the mold"
    WORKER = "the worker"


EVENT = ("event", "pid", "status")
"""What every hook in a process of its own is called with."""
WORKER = ("number", "generation", "pid")
"""What a hook about the worker, or the mold, in which it runs is called with."""


class HookKind(Struct, frozen=True):
    """One hook.

    Attributes:
        name: of its setting in ``[hooks]``.
        side: where it runs.
        arguments: what it is called with, by position.
        stops: what its exception stops, as the rest of a sentence; "" when that is nothing.
    """

    name: str
    side: Side
    arguments: tuple[str, ...]
    stops: str = ""

    @property
    def consequence(self) -> str:
        """What follows from its exception, as the end of a log line."""
        return self.stops or "nothing is stopped by that"


KINDS = {
    kind.name: kind
    for kind in (
        HookKind("on_starting", Side.OWN, EVENT, "pyfork does not start"),
        HookKind("when_ready", Side.OWN, EVENT),
        HookKind("on_reload", Side.OWN, EVENT),
        HookKind("pre_fork", Side.OWN, EVENT),
        HookKind("post_fork", Side.WORKER, WORKER, "the worker does not boot"),
        HookKind("before_mold_freeze", Side.MOLD, ("serial", "generation", "pid"), "the mold does not boot"),
        HookKind("worker_ready", Side.WORKER, WORKER, "the worker does not boot"),
        HookKind("pre_request", Side.WORKER, ("environ",), "the request is answered with 500"),
        HookKind("post_request", Side.WORKER, ("environ", "status", "octets", "seconds")),
        HookKind("worker_stuck", Side.OWN, EVENT),
        HookKind("worker_exit", Side.WORKER, WORKER),
        HookKind("child_exit", Side.OWN, EVENT),
        HookKind("on_exit", Side.OWN, EVENT),
    )
}


def chosen(settings: HookSettings) -> dict[str, str]:
    """Return the hooks that are set: their names and specifications."""
    found = {name: getattr(settings, name) for name in KINDS}
    return {name: specification for name, specification in found.items() if specification is not None}


def describe(name: str, specification: str) -> str:
    """Return how the log calls a hook."""
    return f"the hook {name} ({specification})"


def describe_failure(name: str, specification: str, error: BaseException) -> str:
    """Return what a hook did in place of returning."""
    if isinstance(error, SystemExit):
        return f"{describe(name, specification)} called sys.exit({describe_code(error)})"
    text = text_of(error)
    return f"{describe(name, specification)} raised {type(error).__name__}" + (f": {text}" if text else "")
