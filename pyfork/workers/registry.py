"""Which class a worker type's name stands for. Classes are named, not imported: a type is loaded in its worker only."""

import difflib
import importlib.util

from pyfork.errors import ConfigurationError

TYPES = {
    "sync": "pyfork.workers.sync:SyncWorker",
    "threadpool": "pyfork.workers.threadpool:ThreadpoolWorker",
    "async": "pyfork.workers.selector:AsyncWorker",
    "gevent": "pyfork.workers.gevent:GeventWorker",
}
ALIASES = {"thread": "threadpool", "gthread": "threadpool", "selectors": "async"}
LIBRARIES = {"gevent": "gevent"}
"""What a type needs beside pyfork's own requirements; the extra has the type's name. The arbiter never imports it."""


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


def check_type(name: str) -> None:
    """Check that there is such a type and that it can run here.

    Raises:
        ConfigurationError: there is none, or its library is not installed.
    """
    canonical = resolve_type(name)
    library = LIBRARIES.get(canonical)
    if library is not None and importlib.util.find_spec(library) is None:
        raise ConfigurationError(
            f"workers.type: {name} needs the library {library}, which is not installed: "
            f"pip install 'pyfork[{canonical}]'"
        )
