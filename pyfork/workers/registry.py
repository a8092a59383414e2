"""Which class a worker type's name stands for. Classes are named, not imported: a type is loaded in its worker only."""

import difflib

from pyfork.errors import ConfigurationError

TYPES = {
    "sync": "pyfork.workers.sync:SyncWorker",
}
ALIASES: dict[str, str] = {}


def resolve_type(name: str) -> str:
    """Return the canonical name of a worker type; ``workers.type`` and ``-k`` take its aliases too.

    Raises:
        ConfigurationError: there is no such type; the message lists those that there are.
    """
    canonical = ALIASES.get(name, name)
    if canonical in TYPES:
        return canonical
    known = sorted({*TYPES, *ALIASES})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"workers.type: unknown worker type {name!r}{hint} (known: {', '.join(known)})")
