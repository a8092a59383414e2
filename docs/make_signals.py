"""Writes docs/signals.md from the tables in the code: `python docs/make_signals.py` (or `make docs`)."""

from pathlib import Path

from pyfork.arbiter.verbs import ARBITER_SIGNALS
from pyfork.workers.signals import IGNORED_SIGNALS, WORKER_SIGNALS

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

MOLD = """
## A mold

With `workers.preload` ([preload.md](preload.md)). It takes its orders from a pipe of the arbiter's, not by signals.

| signal | meaning |
|---|---|
| `TERM`, `QUIT` | End. Sent from outside, the arbiter makes another; the workers serve on. |
| `USR1` | Reopen the log files. |
| `URG` | Write the stacks of all threads to the error log. |
| `IO` | The arbiter is gone (the kernel sends it): end. |
| {ignored} | Ignored: they are the arbiter's. |
"""


def render() -> str:
    """Return the page."""
    arbiter = "".join(f"| `{row.signal.name[3:]}` | {row.meaning} |\n" for row in ARBITER_SIGNALS)
    workers = "".join(f"| `{row.signal.name[3:]}` | {row.meaning} |\n" for row in WORKER_SIGNALS)
    ignored = ", ".join(f"`{number.name[3:]}`" for number in IGNORED_SIGNALS)
    return HEAD + arbiter + WORKERS + workers + KERNEL + MOLD.format(ignored=ignored)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
