"""The threads in which the application runs, and how requests get to them and back.

Handing each request to a thread and hearing of its end costs two switches between threads, and the two then wrestle for
the interpreter's lock: together as much as a small request. So the pool works in one of two ways.

- On loan: the loop lends all that its turn has brought to one thread, and waits for it, `LONGEST_LOAN` at most. These
  are two switches for a turn and not for a request, and nobody wrestles.
- Apart: the loop goes on while the threads work. They wake it when it has something to hear.

A loan pays for requests of some microseconds; an application that waits, be it for half a millisecond, wants its
threads. Nobody knows which it is before it has run. So a loan whose requests took longer than `MOST_EACH` on average,
or that did not come back, makes the pool work apart: at first for `SHORTEST_DISTRUST`, each further time for twice as
long up to `LONGEST_DISTRUST`, while a loan that went well halves that. An application that always waits costs others
2 ms once a second; one that never does is always served on loan.

Rules:

- One queue, first come, first served. Who finds work in it does not sleep.
- There is no lock around what is shared. Each step is one that the interpreter does whole (``deque.append``,
  ``list.pop``), and whoever goes to sleep first says so and then looks whether there is something to do.
- The threads are daemons, and not those of ``concurrent.futures``, which are joined at exit: one that hangs would keep
  the process.
"""

import contextlib
import os
import threading
from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

LONGEST_LOAN = 0.002
"""Seconds that the loop waits for a loan."""
MOST_EACH = 0.000_1
"""Seconds of one job, on average, above which a loan does not pay: working apart costs it some 5 %."""
SHORTEST_DISTRUST = 0.01
"""Seconds without loans after one that went wrong: the machine may just have been busy."""
LONGEST_DISTRUST = 1.0
LONGEST_REFUSAL = 1.0
"""Seconds for which new connections are left in the kernel's queue, or to others, while some wait for a thread here."""
TURNING_AWAY_TAKES = 2.0
"""Seconds before the end of ``graceful_timeout`` when those that wait for a thread are turned away."""


class _PoolThread(threading.Thread):
    """A daemon whose own threads are none: those are the application's, and a worker that ends waits for them."""

    @property
    def daemon(self) -> bool:
        """What a thread that this one starts inherits, once this one runs."""
        return not self.is_alive()

    @daemon.setter
    def daemon(self, value: bool) -> None:
        """Take no notice."""


class ThreadPool(Generic[Job, Result]):
    """Runs jobs on threads for one loop; its methods are called in the loop's thread.

    The loop calls `submit` for what comes, `dispatch` at the end of its turn, and takes what `finished` yields. It does
    not wait without having called `may_sleep`, nor longer than `fd` is silent.

    Args:
        run: is called with each job, on a thread.
        threads: how many.
        clock: tells monotonic seconds.

    Attributes:
        fd: readable when a job has ended while the loop slept.
        under_way: how many jobs were submitted and not yet taken from `finished`; how many threads sleep says less, as
            one that was woken needs a while.
        is_lending: the loop waits, and will hear of what ends without being woken.
    """

    def __init__(self, run: Callable[[Job], Result], threads: int, clock: Callable[[], float] = monotonic) -> None:
        self._run = run
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._finished: deque[tuple[Job, Result | BaseException]] = deque()
        self._idle: list[LockType] = []  # what wakes each sleeping thread; the last one slept the shortest
        self._is_closed = False
        self.fd, self._bell = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._bell, False)
        self._does_loop_sleep = False
        self.under_way = 0
        self.is_lending = False
        self._borrower: LockType | None = None
        self._loan: list[bool] = []  # whoever pops decides: the borrower, that it came back; the loop, that it did not
        self._is_back = allocate_lock()
        self._is_back.acquire()
        self._distrust = SHORTEST_DISTRUST
        self._apart_until = 0.0
        self._threads = [
            _PoolThread(target=self._work, name=f"pyfork-{number}", daemon=True) for number in range(1, threads + 1)
        ]

    def start(self) -> None:
        """Start the threads.

        Raises:
            RuntimeError: the system does not give that many.
        """
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Have the threads end that sleep; those that never come back stay behind."""
        self._is_closed = True
        with contextlib.suppress(IndexError):  # all of them
            while True:
                self._idle.pop().release()

    def submit(self, job: Job) -> None:
        """Take a job; `dispatch` sees that a thread takes it."""
        self.under_way += 1
        self._jobs.append(job)

    def take_back(self) -> Iterator[Job]:
        """Yield the jobs that no thread has taken; they are the caller's again."""
        with contextlib.suppress(IndexError):
            while True:
                job = self._jobs.popleft()
                self.under_way -= 1
                yield job

    def dispatch(self) -> None:
        """Have the jobs run that were submitted: on loan if that pays, and what is left then apart."""
        if self._jobs and self._idle:
            now = self._clock()
            if now >= self._apart_until:
                self._lend(now)
            with contextlib.suppress(IndexError):  # no further thread sleeps
                for _ in range(len(self._jobs)):
                    self._idle.pop().release()

    def finished(self) -> Iterator[tuple[Job, Result | BaseException]]:
        """Yield the jobs that have ended, with what they returned or raised."""
        self._does_loop_sleep = False
        finished = self._finished
        while finished:
            self.under_way -= 1
            yield finished.popleft()

    def may_sleep(self) -> bool:
        """Return whether there is nothing to do for the loop; if so, `fd` will tell when there is."""
        self._does_loop_sleep = True
        return not self._finished and not (self._jobs and self._idle)

    def silence(self) -> None:
        """Make `fd` silent again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def _lend(self, now: float) -> None:
        """Lend the queue to one thread, and wait until it is empty, or for long enough."""
        self._borrower = borrower = self._idle.pop()
        before = len(self._finished)
        self._loan.append(True)
        self.is_lending = True
        borrower.release()
        if not self._is_back.acquire(timeout=LONGEST_LOAN):
            try:
                self._loan.pop()
            except IndexError:  # it is coming back in this moment
                self._is_back.acquire()
        self._borrower = None
        self.is_lending = False
        if self._clock() - now > MOST_EACH * (len(self._finished) - before):
            self._apart_until = self._clock() + self._distrust
            self._distrust = min(self._distrust * 2, LONGEST_DISTRUST)
        elif self._distrust > SHORTEST_DISTRUST:
            self._distrust /= 2

    # On the threads.

    def _work(self) -> None:
        bell = allocate_lock()
        bell.acquire()
        while not self._is_closed:
            try:
                job = self._jobs.popleft()
            except IndexError:
                self._sleep(bell)
                continue
            try:
                self._finished.append((job, self._run(job)))
            except BaseException as error:  # noqa: BLE001 (it is the loop's to deal with)
                self._finished.append((job, error))
            del job
            if self._does_loop_sleep:
                self._does_loop_sleep = False
                with contextlib.suppress(BlockingIOError):  # full: it is awake
                    os.write(self._bell, b"\0")

    def _sleep(self, bell: LockType) -> None:
        """Wait until there is work."""
        self._idle.append(bell)
        if self._jobs:  # submitted before this thread was known to sleep
            try:
                self._idle.remove(bell)
            except ValueError:  # the loop wakes it already, perhaps for a loan that is not to be given back unused
                bell.acquire()
            return
        if self._borrower is bell:
            with contextlib.suppress(IndexError):  # the loop did not wait for so long
                self._loan.pop()
                self._is_back.release()
        bell.acquire()
