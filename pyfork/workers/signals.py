"""The one table of a worker's signals. The base class and docs/signals.md are made from it."""

import signal
from enum import Enum

from msgspec import Struct

from pyfork.process.stacks import STACKS_SIGNAL


class Reaction(Enum):
    """What kind of handler a signal gets in a worker."""

    QUEUED = "queued"
    """The loop looks at it after the request in flight."""
    AT_ONCE = "at once"
    """It unwinds whatever runs, by an exception."""
    IGNORED = "ignored"
    """It is the arbiter's; a terminal, or `kill -- -PGID`, sends it to everybody."""
    KERNEL = "kernel"
    """Handled in C, even while the interpreter is stuck."""


class WorkerSignalRow(Struct, frozen=True):
    """One signal of a worker."""

    signal: signal.Signals
    reaction: Reaction
    meaning: str


WORKER_SIGNALS = (
    WorkerSignalRow(
        signal.SIGTERM,
        Reaction.QUEUED,
        "Drain: stop accepting, finish what is in flight, exit. Sent from outside, the arbiter starts another worker.",
    ),
    WorkerSignalRow(
        signal.SIGQUIT, Reaction.AT_ONCE, "End at once; `finally` blocks and `atexit` run, the request is given up."
    ),
    WorkerSignalRow(signal.SIGUSR1, Reaction.QUEUED, "Reopen the log files."),
    WorkerSignalRow(
        STACKS_SIGNAL,
        Reaction.KERNEL,
        "Write the stacks of all threads to the error log; harmless at any time. Of a gevent worker's greenlets it "
        "shows the one that runs, mostly the hub: when a request outlasts `workers.timeout`, the worker logs the stack "
        "of its greenlet by itself.",
    ),
    WorkerSignalRow(
        signal.SIGIO, Reaction.QUEUED, "The arbiter is gone (the kernel sends it): finish the request and exit."
    ),
    *(
        WorkerSignalRow(number, Reaction.IGNORED, "Ignored: it is the arbiter's.")
        for number in (
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGWINCH,
            signal.SIGTTIN,
            signal.SIGTTOU,
            signal.SIGUSR2,
        )
    ),
)

IGNORED_SIGNALS = tuple(row.signal for row in WORKER_SIGNALS if row.reaction is Reaction.IGNORED)
