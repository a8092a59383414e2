"""The servers that are compared: one worker each, no access log, as their own documentation says for one worker.

Their order is the order in which they run, so that those that a limit compares are neighbours in time. In a command
line, ``{port}``, ``{app}``, ``{threads}`` (8; 100 for the sleeping application), ``{scripts}`` (the virtual
environment's), ``{venv}``, ``{here}`` (this directory) and ``{log}`` (a file) are filled in.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = Path(sys.prefix) / "left-out.json"
"""Where install.py notes what would not install, and why."""

PYTHON = "{scripts}/python"
PYFORK = (PYTHON, "-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", "1")
GUNICORN = (PYTHON, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "--no-control-socket")
GRANIAN = (
    *("{scripts}/granian", "--host", "127.0.0.1", "--port", "{port}", "--interface", "wsgi", "--workers", "1"),
    *("--runtime-threads", "1", "--no-access-log"),
)
UWSGI = (
    *("{scripts}/uwsgi", "--http-socket", "127.0.0.1:{port}", "--virtualenv", "{venv}", "--master"),
    *("--processes", "1", "--disable-logging", "--need-app", "--single-interpreter", "--die-on-term"),
)
EMBEDDED = (PYTHON, "{here}/apps/embedded.py")
COMBINED_LOG = ("--access-logfile", "{log}", "--access-logformat", "combined")
PATIENT = ("--keep-alive", "75", "--worker-connections", "4000")
"""For idle connections, in pyfork's words and gunicorn's: keep them, and that many."""


@dataclass(frozen=True)
class Contestant:
    """A server, and how to start it.

    Attributes:
        name: what ``--servers`` and the tables call it.
        distribution: what it comes from, as pip names it.
        arguments: its command line.
        is_concurrent: it answers 100 requests at once when the application only sleeps.
        is_closing: it closes every connection without saying so, which wrk reports as read errors.
        is_logging: it writes an access log; it takes part only where that is compared.
        is_plain: it takes part in the usual loads.
        idle_arguments: what it needs to hold 3 000 idle connections; None when it cannot.
    """

    name: str
    distribution: str
    arguments: Sequence[str]
    is_concurrent: bool = False
    is_closing: bool = False
    is_logging: bool = False
    is_plain: bool = True
    idle_arguments: Sequence[str] | None = None


def _pyfork(name: str, *arguments: str, **qualities: object) -> Contestant:
    return Contestant(name, "pyfork", (*PYFORK, *arguments, "{app}"), **qualities)  # type: ignore[arg-type]


def _gunicorn(name: str, *arguments: str, **qualities: object) -> Contestant:
    return Contestant(name, "gunicorn", (*GUNICORN, *arguments, "{app}"), **qualities)  # type: ignore[arg-type]


POOL = ("-k", "threadpool", "--threads", "{threads}")
CONTESTANTS = (
    _pyfork("async-log", "-k", "async", *COMBINED_LOG, is_logging=True),
    _pyfork("async", "-k", "async", idle_arguments=PATIENT),
    Contestant("granian-1", "granian", (*GRANIAN, "--blocking-threads", "1", "{app}")),
    Contestant(
        "granian-8",
        "granian",
        (*GRANIAN, "--blocking-threads", "8", "{app}"),
        idle_arguments=("--backlog", "4096", "--backpressure", "4096"),
    ),
    Contestant(
        "granian-100", "granian", (*GRANIAN, "--blocking-threads", "100", "{app}"), is_concurrent=True, is_plain=False
    ),
    _pyfork("threadpool", *POOL, is_concurrent=True, idle_arguments=PATIENT),
    _pyfork("threadpool-log", *POOL, *COMBINED_LOG, is_logging=True),
    _gunicorn(
        "gunicorn-gthread", "-k", "gthread", "--threads", "{threads}", is_concurrent=True, idle_arguments=PATIENT
    ),
    _gunicorn("gunicorn-gevent", "-k", "gevent", is_concurrent=True, idle_arguments=PATIENT),
    _pyfork("gevent", "-k", "gevent", is_concurrent=True, idle_arguments=PATIENT),
    _pyfork("gevent-log", "-k", "gevent", *COMBINED_LOG, is_logging=True),
    _pyfork("sync-log", "-k", "sync", *COMBINED_LOG, is_logging=True),
    _pyfork("sync", "-k", "sync"),
    _gunicorn("gunicorn-sync", "-k", "sync"),
    Contestant("uwsgi", "uWSGI", (*UWSGI, "--module", "{app}"), is_closing=True),
    Contestant(
        "uwsgi-100",
        "uWSGI",
        (*UWSGI, "--threads", "100", "--module", "{app}"),
        is_concurrent=True,
        is_closing=True,
        is_plain=False,
    ),
    Contestant(
        "waitress",
        "waitress",
        (
            *("{scripts}/waitress-serve", "--listen=127.0.0.1:{port}", "--threads={threads}"),
            *("--connection-limit=4000", "--asyncore-use-poll", "{app}"),
        ),
        is_concurrent=True,
        idle_arguments=(),
    ),
    Contestant("bjoern", "bjoern", (*EMBEDDED, "bjoern", "{app}", "{port}"), idle_arguments=()),
    Contestant("fastwsgi", "fastwsgi", (*EMBEDDED, "fastwsgi", "{app}", "{port}"), idle_arguments=()),
)


def reason_to_leave_out(contestant: Contestant) -> str | None:
    """Return why a server cannot take part, or None."""
    if contestant.distribution == "pyfork":
        return _reason_against_type(contestant.arguments[contestant.arguments.index("-k") + 1])
    reasons = json.loads(LEFT_OUT.read_text()) if LEFT_OUT.exists() else {}
    needed = [contestant.distribution] + ["gevent"] * ("gevent" in contestant.arguments)
    for name in needed:
        if name.lower() in reasons:
            return str(reasons[name.lower()])
        if importlib.util.find_spec(name.lower()) is None and name != "uWSGI":
            return f"{name} is not installed"
    return None


def _reason_against_type(worker_type: str) -> str | None:
    from pyfork.workers.registry import TYPES  # noqa: PLC0415 (only the benchmarks' environment has it)

    module = TYPES.get(worker_type, "").partition(":")[0]
    if not module or importlib.util.find_spec(module) is None:
        return f"pyfork has no worker type {worker_type}"
    if worker_type == "gevent" and importlib.util.find_spec("gevent") is None:
        return "gevent is not installed"
    return None
