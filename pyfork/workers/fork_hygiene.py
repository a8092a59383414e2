"""What a process must undo of the one that it was forked from, when that has imported the application.

One function, in a commented order. What is the application's own (its connections, its clients) no server can know; its
hooks close it before and open it anew after (docs/preload.md).
"""

import signal
import sys
from collections.abc import Iterable

from pyfork.errors import QuitNow
from pyfork.ipc.passing import close_all
from pyfork.process.signals import forget_wakeup, ignore, raise_in_main_thread
from pyfork.workers.signals import IGNORED_SIGNALS


def take_over_signals() -> None:
    """Have the signals of a child that boots: TERM and QUIT end it at once, and nothing of the arbiter's does."""
    ignore((*IGNORED_SIGNALS, signal.SIGUSR1))
    raise_in_main_thread(signal.SIGTERM, QuitNow)
    raise_in_main_thread(signal.SIGQUIT, QuitNow)


def begin_anew(private: Iterable[int]) -> None:
    """Become a process of its own; called in the new process, with all signals blocked. The order matters.

    1. Signals: the wakeup descriptor is the original's until it is forgotten, and so are the handlers of what the
       arbiter sends. Those that the application installed at its import stay, as in a worker that imports it itself.
    2. Descriptors, by an explicit list: the pipes, sockets and pollers of the original. What the application has opened
       stays open: a model in a mapped file is what preloading is for.
    3. gevent, at once after the fork, as its documentation asks: its loop gets an epoll of its own; greenlets that the
       import started go on in each process.
    4. asyncio: the loop that the import made the current one would share its epoll; the next one who asks gets a loop
       of its own. From 3.12 on Python does this itself.
    5. multiprocessing: children that the import started are the original's; at its exit this process would end and join
       them.
    6. Random numbers: numpy's common generator. Python reseeds ``random`` itself.

    Nothing is to be done for

    - ssl: OpenSSL notices a fork since 1.1.1, the oldest that Python 3.11 builds with, and seeds its generator anew;
      ``secrets``, ``os.urandom`` and ``uuid.uuid4`` are the kernel's; ``tempfile`` looks at the pid;
    - logging: it makes the locks of its handlers anew in every forked process (its own at-fork function);
    - threads: only the one that forked goes on, and ``threading`` knows; the mold's log names those that are missed;
    - the garbage collector: what was frozen stays so; a worker enables it when it boots;
    - standard output: it is flushed before each fork.
    """
    forget_wakeup()
    take_over_signals()
    close_all(private)
    _renew_gevent()
    _forget_event_loop()
    _disown_children()
    _seed_numpy()


def _renew_gevent() -> None:
    gevent = sys.modules.get("gevent")
    if gevent is not None:
        gevent.reinit()


def _forget_event_loop() -> None:
    """Do as Python's ``asyncio.events.on_fork`` does since 3.12."""
    events = sys.modules.get("asyncio.events")
    if events is None or sys.version_info >= (3, 12):
        return
    policy = events._event_loop_policy  # noqa: SLF001 - to ask for it would make one
    if isinstance(policy, events.BaseDefaultEventLoopPolicy):
        policy._local = policy._Local()  # noqa: SLF001 - as Python itself does later
    events._set_running_loop(None)  # noqa: SLF001 - so it is called by the libraries that make loops


def _disown_children() -> None:
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process._children.clear()  # noqa: SLF001 - what multiprocessing's own children do is as private


def _seed_numpy() -> None:
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
