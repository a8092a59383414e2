"""The servers that the HTTP corpus is sent to: one worker each, otherwise as they come.

The application is `apps/mirror.py` for all. `{port}` and `{scripts}` (the virtual environment's) are filled in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PYTHON = "{scripts}/python"


@dataclass(frozen=True)
class Peer:
    """A server, and how to start it.

    Attributes:
        name: what ``--servers`` and the tables call it.
        distribution: what it comes from, as pip names it.
        arguments: its command line.
        answers_once: it closes every connection behind its first response.
    """

    name: str
    distribution: str
    arguments: Sequence[str]
    answers_once: bool = False


def _pyfork(worker_type: str) -> Peer:
    arguments = (PYTHON, "-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", "1", "-k", worker_type, "mirror:app")
    return Peer(f"pyfork {worker_type}", "pyfork", arguments, answers_once=worker_type == "sync")


def _gunicorn(worker_type: str) -> Peer:
    arguments = (PYTHON, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "--no-control-socket")
    return Peer(f"gunicorn {worker_type}", "gunicorn", (*arguments, "-k", worker_type, "--threads", "4", "mirror:app"))


def _uvicorn(parser: str) -> Peer:
    arguments = ("{scripts}/uvicorn", "--port", "{port}", "--http", parser, "--no-access-log", "mirror:asgi")
    return Peer(f"uvicorn {parser}", "uvicorn", arguments)


PEERS = (
    _pyfork("async"),
    _pyfork("threadpool"),
    _pyfork("sync"),
    _pyfork("gevent"),
    _gunicorn("gthread"),
    Peer("waitress", "waitress", ("{scripts}/waitress-serve", "--listen=127.0.0.1:{port}", "mirror:app")),
    Peer(
        "granian",
        "granian",
        (
            *("{scripts}/granian", "--host", "127.0.0.1", "--port", "{port}", "--interface", "wsgi"),
            *("--workers", "1", "--no-access-log", "mirror:app"),
        ),
    ),
    _uvicorn("h11"),
    _uvicorn("httptools"),
    Peer("hypercorn", "hypercorn", ("{scripts}/hypercorn", "-b", "127.0.0.1:{port}", "wsgi:mirror:app")),
    Peer("cheroot", "cheroot", (PYTHON, "-m", "cheroot", "--bind", "127.0.0.1:{port}", "mirror:app")),
)
