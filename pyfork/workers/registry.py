"""Which class a worker type's name stands for. Classes are named, not imported: a type is loaded in its worker only.

A name with a colon or a dot is a class of the user's own: ``mypkg.workers:MyWorker``, ``workers.py:MyWorker``, or with
a dot before the class, as gunicorn spells it.
"""

import importlib.util

from pyfork.config.nearest import nearest_names
from pyfork.errors import ConfigurationError

TYPES = {
    "sync": "pyfork.workers.sync:SyncWorker",
    "threadpool": "pyfork.workers.threadpool:ThreadpoolWorker",
    "async": "pyfork.workers.selector:AsyncWorker",
    "gevent": "pyfork.workers.gevent:GeventWorker",
}
ALIASES = {"thread": "threadpool", "gthread": "threadpool", "selectors": "async"}
FOREIGN = ("gunicorn.", "egg:")
_NO_EVENTLET = "there is no counterpart of gunicorn's eventlet; gevent or threadpool do its work"
_NO_TORNADO = (
    "there is no counterpart of gunicorn's tornado; an application that waits a lot takes threadpool or gevent"
)
_NO_ASGI = "ASGI is not served in this version; a WSGI application takes threadpool"
FAMILIAR = (
    (("eventlet", "gunicorn.workers.geventlet."), _NO_EVENTLET),
    (("tornado", "gunicorn.workers.gtornado."), _NO_TORNADO),
    (("asgi", "gunicorn.workers.gasgi.", "uvicorn.", "uvicorn_worker."), _NO_ASGI),
)
"""gunicorn's names without a counterpart (one that ends in a dot is the beginning of some), and what to take."""
LIBRARIES = {"gevent": "gevent"}
"""What a type needs beside pyfork's own requirements; the extra has the type's name. The arbiter never imports it."""

FORK_SAFE = frozenset({"sync", "async"})
"""Types whose workers have one thread and no other loop's state, so that a copy of one in service can be a mold."""

SHARED = {
    "gevent": (
        "pyfork.connection.handshake",
        "pyfork.workers.accepting",
        "pyfork.workers.contexts",
        "pyfork.workers.lingering",
        "pyfork.workers.visits",
    ),
}
"""What the arbiter imports for a type whose own module it must not import."""

STATIC_FILES = "pyfork.connection.static_answers"
"""What serves static files: imported only where there are some."""


def resolve_type(name: str) -> str:
    """Return the canonical name of a worker type; ``workers.type`` and ``-k`` take its aliases too.

    A class of the user's own is its own name, with a colon before the class.

    Raises:
        ConfigurationError: there is no such type; the message lists those that there are.
    """
    canonical = ALIASES.get(name, name)
    if canonical in TYPES:
        return canonical
    _refuse_familiar(name)
    if is_own(name):
        return _own_name(name)
    known = sorted({*TYPES, *ALIASES})
    near = nearest_names(name, known)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"workers.type: unknown worker type {name!r}{hint} (known: {', '.join(known)})")


def _refuse_familiar(name: str) -> None:
    dotted = name.replace(":", ".")
    for names, reason in FAMILIAR:
        if any(dotted.startswith(known) if known.endswith(".") else dotted == known for known in names):
            raise ConfigurationError(f"workers.type: {name} cannot be had: {reason}")


def is_own(name: str) -> bool:
    """Whether ``name`` means a class of the user's own."""
    return ":" in name or "." in name


def find_class(name: str) -> str:
    """Return the "module:Class" of a worker type.

    Raises:
        ConfigurationError: there is no such type.
    """
    canonical = resolve_type(name)
    return TYPES.get(canonical, canonical)


def is_ours(worker_class: str) -> bool:
    """Whether the outcome of `find_class` is one of pyfork's own types."""
    return worker_class in TYPES.values()


def can_refork(name: str) -> bool:
    """Whether a worker of type ``name`` can become a mold while it serves.

    Not a class of the user's own: nobody knows its threads and descriptors.
    """
    try:
        return resolve_type(name) in FORK_SAFE
    except ConfigurationError:  # which is told by who checks the type
        return True


def _own_name(name: str) -> str:
    if name.startswith(FOREIGN):
        raise ConfigurationError(f"workers.type: {name} is a worker of another server, pyfork has no counterpart of it")
    target, _, class_name = name.rpartition(":" if ":" in name else ".")
    if not target or not all(part.isidentifier() for part in class_name.split(".")):
        raise ConfigurationError(
            f"workers.type: {name!r} does not name a worker class; write module:Class, as in 'mypkg.workers:MyWorker'"
        )
    return f"{target}:{class_name}"


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
            f"pip install {library} (or 'pyfork[{canonical}]'; in a checkout '.[{canonical}]')"
        )


def modules_before_fork(name: str, *, serves_files: bool = False) -> tuple[str, ...]:
    """Return what to import before any fork for one of our types, so that its workers share it.

    Args:
        name: of the type.
        serves_files: whether there is ``[static]``: the arbiters of others are lighter without.
    """
    canonical = resolve_type(name)
    modules = SHARED.get(canonical) or (TYPES[canonical].partition(":")[0],)
    return (*modules, STATIC_FILES) if serves_files else modules
