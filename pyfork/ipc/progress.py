"""How a worker that holds many connections tells the scoreboard what it is at; all of it runs in the worker.

Each connection gets an object of its own, a `pyfork.connection.context.Progress`:

- `InlineProgress`, where the loop's thread calls the application itself, one call at a time (async). The slot shows
  whose call it is while it runs: if it never returns, nobody can write it afterwards.
- `ActiveRequests.new`, where many calls run at once, in threads or greenlets (threadpool, gevent). Only the loop's
  thread may write the slot, so it publishes what the others have left in memory: the oldest stretch inside the
  application, and what has ended. Greenlets are in the loop's thread, and one that never yields leaves nobody to
  publish: `GreenletProgress` shows itself.

Both only gather what counts; `Slot.flush`, or `ActiveRequests.publish`, writes it once a turn of the loop.
"""

from _thread import allocate_lock, get_ident
from time import monotonic, monotonic_ns

from pyfork.ipc.scoreboard import Slot, Word

_IN_APPLICATION, _STARTED = int(Word.IN_APPLICATION), int(Word.STARTED)

slot_writing = allocate_lock()
"""Held by whoever writes the slot of a worker with threads."""
_LONGEST_WRITING = 1.0
"""Seconds to wait for it: in a process that the application forked, there may be nobody left to release it."""


class InlineProgress:
    """One connection of a worker whose loop calls the application in line; used in the loop's thread alone.

    Args:
        slot: the worker's, the same for all its connections; its owner calls `Slot.flush`.
    """

    __slots__ = ("_method", "_path", "_slot", "_started_ns")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._method = ""
        self._path = b""
        self._started_ns = 0

    def begin_request(self, method: str, path: bytes) -> None:
        """A request's head is complete."""
        self._method = method
        self._path = path
        self._slot.in_flight += 1
        self._started_ns = monotonic_ns()

    def enter_application(self) -> None:
        """A stretch inside the application begins, or begins anew; the slot shows this connection's request."""
        slot = self._slot
        words = slot.words
        if self._path is slot.path and self._method is slot.method:  # nearly always, where requests repeat themselves
            words[_STARTED] = self._started_ns
        else:
            slot.show(self._started_ns, self._method, self._path)
        words[_IN_APPLICATION] = monotonic_ns()

    def leave_application(self) -> None:
        """The stretch ends: the worker waits for this client, or serves another."""
        self._slot.words[_IN_APPLICATION] = 0

    def end_request(self, octets: int, *, is_error: bool) -> None:
        """The request has been answered with a body of ``octets``, or given up; the stretch ends too."""
        slot = self._slot
        slot.words[_IN_APPLICATION] = 0
        slot.in_flight -= 1
        slot.ended.append((monotonic_ns() - self._started_ns, octets, is_error))


class ActiveRequests:
    """The requests of a worker whose application runs in many threads or greenlets at once.

    What several threads touch is a set, a dict or a list, in single steps that the interpreter does whole.

    Args:
        slot: the worker's.
        kind: of the progress of each connection.
    """

    __slots__ = ("_in_flight", "_inside", "_kind", "_shown", "_slot")

    def __init__(self, slot: Slot, kind: "type[ActiveProgress] | None" = None) -> None:
        self._slot = slot
        self._kind = kind or ActiveProgress
        self._in_flight: set[ActiveProgress] = set()
        self._inside: dict[ActiveProgress, None] = {}  # those in the application, by the beginning of their stretch
        self._shown = (0.0, 0)

    def new(self) -> "ActiveProgress":
        """Return a connection's progress; its methods may be called from any thread, one at a time."""
        return self._kind(self._slot, self._in_flight, self._inside)

    def oldest(self) -> "ActiveProgress | None":
        """Return the object of the oldest stretch inside the application, None if no request is inside.

        Other threads go on meanwhile: look at ``entered`` again before acting on it.
        """
        while True:
            try:
                return next(iter(self._inside), None)
            except RuntimeError:  # another thread went in or out between the two steps
                continue

    def publish(self, now: float) -> None:
        """Write the oldest stretch and what has ended into the slot; called in the loop's thread.

        Each turn, and right before each beat: the arbiter judges by what it finds.

        Args:
            now: monotonic seconds.
        """
        slot = self._slot
        oldest = self.oldest()
        entered = oldest.entered if oldest is not None else 0.0  # 0.0 as well if it has left since
        if oldest is None or not entered:
            slot.words[_IN_APPLICATION] = 0
            self._shown = (0.0, 0)
        elif self._shown != (entered, oldest.started_ns):
            self._shown = (entered, oldest.started_ns)
            slot.show(oldest.started_ns, oldest.method, oldest.path)
            slot.words[_IN_APPLICATION] = int(entered * 1e9)
        slot.in_flight = len(self._in_flight)
        slot.flush(int(now * 1e9))


class ActiveProgress:
    """One connection among many whose application runs at the same time; made by `ActiveRequests.new`.

    Attributes:
        entered: when the present stretch inside the application began (monotonic seconds); 0.0 outside.
        method: of the request.
        path: of the request, as it was sent.
        started_ns: when the request began (monotonic nanoseconds).
        thread_id: of the thread that is inside, as `threading.get_ident` has it.
    """

    __slots__ = ("_in_flight", "_inside", "_slot", "entered", "method", "path", "started_ns", "thread_id")

    def __init__(self, slot: Slot, in_flight: "set[ActiveProgress]", inside: "dict[ActiveProgress, None]") -> None:
        self._slot = slot
        self._in_flight = in_flight
        self._inside = inside
        self.entered = 0.0
        self.method = ""
        self.path = b""
        self.started_ns = 0
        self.thread_id = 0

    def begin_request(self, method: str, path: bytes) -> None:
        """A request's head is complete."""
        self.method = method
        self.path = path
        self.started_ns = monotonic_ns()
        self._in_flight.add(self)

    def enter_application(self) -> None:
        """A stretch inside the application begins, or begins anew, in this thread."""
        if self.entered:
            self._inside.pop(self, None)  # to the end: it is the youngest now
        self.thread_id = get_ident()
        self.entered = monotonic()
        self._inside[self] = None

    def leave_application(self) -> None:
        """The stretch ends: the thread waits for its client, or is free."""
        self.entered = 0.0
        self._inside.pop(self, None)

    def end_request(self, octets: int, *, is_error: bool) -> None:
        """The request has been answered with a body of ``octets``, or given up; the stretch ends too."""
        if self.entered:
            self.leave_application()
        self._in_flight.discard(self)
        self._slot.ended.append((monotonic_ns() - self.started_ns, octets, is_error))


class GreenletProgress(ActiveProgress):
    """One connection among many whose greenlets share the loop's thread; `ActiveRequests` makes it if so told."""

    __slots__ = ()

    def enter_application(self) -> None:
        """A stretch inside the application begins, or begins anew; the slot shows it at once if it is the oldest."""
        inside = self._inside
        if self.entered:
            inside.pop(self, None)
        now = monotonic_ns()
        self.entered = now / 1e9
        if not inside:
            self._slot.show(self.started_ns, self.method, self.path)
            self._slot.words[_IN_APPLICATION] = now
        inside[self] = None


class ThreadProgress(ActiveProgress):
    """One connection among many whose application runs on threads; `ActiveRequests` makes it if so told.

    A call into C that keeps the interpreter's lock stops the loop as well, which can tell nothing once it has begun. So
    a thread that enters the application while no other is inside shows its request itself. It holds `slot_writing`
    then, as the loop must when it publishes: a slot has one writer at a time.
    """

    __slots__ = ()

    def enter_application(self) -> None:
        """A stretch inside the application begins, or begins anew, in this thread."""
        inside = self._inside
        if self.entered:
            inside.pop(self, None)
        now = monotonic_ns()
        self.entered = now / 1e9
        is_oldest = not inside
        inside[self] = None
        if is_oldest and slot_writing.acquire(timeout=_LONGEST_WRITING):
            self._slot.show(self.started_ns, self.method, self.path)
            self._slot.words[_IN_APPLICATION] = now
            slot_writing.release()
