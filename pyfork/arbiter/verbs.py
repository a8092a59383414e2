"""The one table of the arbiter's signals: signal, verb, meaning. The loop and docs/signals.md are made from it."""

import signal

from msgspec import Struct

from pyfork.arbiter.events import Verb


class SignalRow(Struct, frozen=True):
    """One signal of the arbiter.

    Attributes:
        signal: its number.
        verb: what the core is told; None where the loop does the work itself, without the core.
        meaning: for the operator.
    """

    signal: signal.Signals
    verb: Verb | None
    meaning: str


ARBITER_SIGNALS = (
    SignalRow(
        signal.SIGTERM,
        Verb.STOP,
        "Stop gracefully: what is queued or in flight is answered, within `workers.graceful_timeout`; exit status 0. "
        "A second TERM stops at once.",
    ),
    SignalRow(signal.SIGINT, Verb.STOP_NOW, "Stop at once (Ctrl-C)."),
    SignalRow(signal.SIGQUIT, Verb.STOP_NOW, "Stop at once."),
    SignalRow(
        signal.SIGHUP,
        Verb.RELOAD,
        "Reload: read the configuration, start a worker of the new generation, and replace the others only when it is "
        "ready. If anything fails, the old generation keeps serving and the log says why. Logs are reopened.",
    ),
    SignalRow(
        signal.SIGTTIN,
        Verb.SCALE_UP,
        "One worker more. With `workers.min` and `max` both bounds go up by one ([scaling.md](scaling.md#by-hand)).",
    ),
    SignalRow(
        signal.SIGTTOU,
        Verb.SCALE_DOWN,
        "One worker less; one always stays. With `workers.min` and `max` both bounds go down by one.",
    ),
    SignalRow(signal.SIGUSR1, Verb.REOPEN_LOGS, "Reopen the log files (after logrotate moved them)."),
    SignalRow(
        signal.SIGWINCH,
        Verb.DRAIN_WORKERS,
        "Retire all workers gracefully and keep listening; HUP or TTIN brings them back. Only without a controlling "
        "terminal: a resized window sends it too.",
    ),
    SignalRow(
        signal.SIGURG,
        Verb.REFORK,
        "Refork: with `workers.preload`, make a copy of a warm worker the mold, and replace the workers, at most a "
        "quarter of them (or one) at a time; types `sync` and `async` ([preload.md](preload.md#reforking)).",
    ),
    SignalRow(
        signal.SIGUSR2,
        Verb.UPGRADE,
        "Upgrade pyfork itself and the interpreter: start a new arbiter with the same command line on the same "
        "sockets, and leave when all its workers are ready. If it fails, this one goes on and the log says why "
        "([upgrade.md](upgrade.md)).",
    ),
    SignalRow(signal.SIGCHLD, None, "A child has ended: reap it (the kernel sends it)."),
)

VERBS = {row.signal: row.verb for row in ARBITER_SIGNALS}
