"""Writes docs/signals.md from the tables in the code: `python docs/make_signals.py` (or `make docs`)."""

from pathlib import Path

from pyfork.arbiter.verbs import ARBITER_SIGNALS
from pyfork.workers.signals import WORKER_SIGNALS

PAGE = Path(__file__).parent / "signals.md"

HEAD = """# Signals

This page is made from the tables in `pyfork/arbiter/verbs.py` and `pyfork/workers/signals.py` by `make docs`.

## The arbiter

Send them to the pid in the pidfile, or to the process titled `pyfork: arbiter [app]`.

| signal | meaning |
|---|---|
"""

WORKERS = """
Exit statuses: 0 stopped as asked; 2 bad configuration or command line; 3 a worker could not boot at the first start;
4 the application could not be imported at the first start; 1 anything else.

## A worker

The arbiter sends these itself; an operator seldom needs to, except `URG` to see what a worker is doing.

| signal | meaning |
|---|---|
"""

KERNEL = """
When the arbiter dies (SIGKILL, a crash), its workers leave by themselves: idle ones at once, busy ones after their
request, and what is stuck by a deadline of the kernel's: `graceful_timeout` later in an endless loop of Python, and 35
to 64 seconds later when it is stuck in C.
"""


def render() -> str:
    """Return the page."""
    arbiter = "".join(f"| `{row.signal.name[3:]}` | {row.meaning} |\n" for row in ARBITER_SIGNALS)
    workers = "".join(f"| `{row.signal.name[3:]}` | {row.meaning} |\n" for row in WORKER_SIGNALS)
    return HEAD + arbiter + WORKERS + workers + KERNEL


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
