"""The scoreboard: one anonymous shared mapping that every process of a pyfork writes and reads without a system call.

Rules:

- The first slot is the arbiter's; 1 024 slots of aligned 64-bit words follow, one for each living worker.
- A word is written by one process and one thread only: the worker's loop thread (the arbiter clears a dead worker's
  slot). A word is never torn, so counters need no lock. ``+=`` from several threads would lose updates.
- The record of the oldest request (start, method, path) is several words: its writer makes the sequence number odd,
  writes, and makes it even again; a reader that saw an odd or a changed number reads again (a seqlock; one writer).
- Moments are nanoseconds of CLOCK_MONOTONIC, which all processes share; 0 is "not now".
- A word costs 30 ns to write and 70 to add to, so what only counts is gathered in the process (`Slot.ended`) and
  written once a turn of the worker's loop (`Slot.flush`), and method and path are written only when they change.

What does not work: a file or ``multiprocessing.shared_memory`` (left behind when the arbiter is killed), and floats
("d" is not guaranteed to be written in one piece by ``memoryview``; "Q" is one aligned store).
"""

import mmap
from bisect import bisect_left
from collections.abc import Callable
from enum import IntEnum
from time import monotonic_ns

from msgspec import Struct

SLOTS = 1024
NEVER = 2**63
"""More requests than a worker can have."""
LATENCY_BOUNDS_NS = tuple(
    int(milliseconds * 1_000_000)
    for milliseconds in (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
)
"""Upper bounds of the latency histogram's buckets; a last bucket holds what is slower."""

_SLOT_OCTETS = 1024
_SLOT_WORDS = _SLOT_OCTETS // 8
_QUICK_NS = LATENCY_BOUNDS_NS[0]
_METHOD_OCTETS = 32
_PATH_OCTETS = 256


class Word(IntEnum):
    """Which word of a slot holds what."""

    STATE = 0
    GENERATION = 1
    PID = 2
    REQUESTS = 3
    ERRORS = 4
    OCTETS = 5
    CONNECTIONS = 6
    IN_FLIGHT = 7
    IN_APPLICATION = 8
    BUSY = 9
    SEQUENCE = 10
    STARTED = 11
    LENGTHS = 12
    TURNED = 13
    LOAD = 14
    HISTOGRAM = 16


class SlotState(IntEnum):
    """The state of a worker as it says itself."""

    FREE = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


# Plain integers: an enum member as an index costs the hot path an __index__ call.
_STATE = int(Word.STATE)
_REQUESTS, _ERRORS, _OCTETS = int(Word.REQUESTS), int(Word.ERRORS), int(Word.OCTETS)
_CONNECTIONS, _IN_FLIGHT, _IN_APPLICATION = (
    int(Word.CONNECTIONS),
    int(Word.IN_FLIGHT),
    int(Word.IN_APPLICATION),
)
_BUSY, _SEQUENCE, _STARTED = int(Word.BUSY), int(Word.SEQUENCE), int(Word.STARTED)
_LENGTHS, _TURNED, _HISTOGRAM = int(Word.LENGTHS), int(Word.TURNED), int(Word.HISTOGRAM)
_LOAD = int(Word.LOAD)
_IN_USE = 1
"""The word of the arbiter's slot that has the number of slots that have been in use; it only grows."""
_METHOD_AT = 512
_PATH_AT = _METHOD_AT + _METHOD_OCTETS


class OldestRequest(Struct, frozen=True):
    """The request that a worker has been at for the longest time; ``started_ns`` is monotonic."""

    started_ns: int
    method: str
    path: str


class SlotStatistics(Struct, frozen=True):
    """A consistent enough picture of one slot: each figure is right by itself.

    ``turned_ns`` is when the worker's loop last came round (monotonic; 0 if it has not said so yet).
    """

    state: SlotState
    generation: int
    pid: int
    requests: int
    errors: int
    octets: int
    connections: int
    in_flight: int
    busy_ns: int
    latency: tuple[int, ...]
    oldest: OldestRequest | None
    turned_ns: int


class Slot:
    """One worker's slot, as the worker writes it and the arbiter reads it.

    Attributes:
        words: the slot's words.
        in_flight: requests begun and not ended; written by `flush`.
        method: shown last, with `path`.
        path: shown last.
        ended: for each request that has ended since the last `flush`: nanoseconds, octets of its body, whether it
            failed. Any thread may append.
        mark: a number of requests; the `flush` that finds as many calls `on_mark`, in the worker.
        on_mark: is called with the number of requests, by each `flush` until ``mark`` is set higher.
    """

    __slots__ = (
        "_method_length",
        "_octets",
        "_sequence",
        "ended",
        "in_flight",
        "mark",
        "method",
        "on_mark",
        "path",
        "words",
    )

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets
        self._sequence = 0
        self._method_length = 0
        self.method = ""
        self.path = b""
        self.words = octets.cast("Q")
        self.in_flight = 0
        self.ended: list[tuple[int, int, bool]] = []
        self.mark = NEVER
        self.on_mark: Callable[[int], None] | None = None

    def release(self) -> None:
        """Let go of the mapping (both sides), so that it can be closed."""
        self.words.release()
        self._octets.release()

    # In the worker.

    def open(self, generation: int, pid: int) -> None:
        """Begin the slot's life; called in the worker, first of all."""
        self.clear()
        self.words[Word.GENERATION] = generation
        self.words[Word.PID] = pid
        self.words[_STATE] = SlotState.BOOTING

    def set_state(self, state: SlotState) -> None:
        """Say what the worker is doing; called in the worker."""
        self.words[_STATE] = state

    def set_connections(self, count: int) -> None:
        """Say how many connections are open; called in the worker."""
        self.words[_CONNECTIONS] = count

    def begin_request(self, method: str, path: bytes) -> None:
        """Record a request as the oldest one in flight; called in the worker's loop thread."""
        self.in_flight += 1
        self.words[_IN_FLIGHT] = self.in_flight
        self.show(monotonic_ns(), method, path)

    def enter_application(self) -> None:
        """Stamp the beginning of a stretch inside the application; called in the worker's loop thread."""
        self.words[_IN_APPLICATION] = monotonic_ns()

    def leave_application(self) -> None:
        """End the stretch: the worker waits for its client, or has the answer; called in the worker's loop thread."""
        self.words[_IN_APPLICATION] = 0

    def end_request(self, octets: int, *, is_error: bool) -> None:
        """Count a request that has ended, with the octets of its body; called in the worker's loop thread."""
        now = monotonic_ns()
        self.ended.append((now - self.words[_STARTED], octets, is_error))
        self.in_flight -= 1
        self.words[_IN_APPLICATION] = 0
        self.flush(now)

    def show(self, started_ns: int, method: str, path: bytes) -> None:
        """Show a request as the oldest one; called in the worker's loop thread.

        One word says when it started, so that a request to the same path as the last costs no more than that.
        """
        words = self.words
        if path == self.path and method == self.method:
            words[_STARTED] = started_ns
            return
        octets, shown = self._octets, path[:_PATH_OCTETS]
        sequence = self._sequence  # a number of ours costs less than adding to the word twice
        self._sequence = sequence + 2
        words[_SEQUENCE] = sequence + 1
        words[_STARTED] = started_ns
        if method != self.method:
            name = method.encode("latin-1")[:_METHOD_OCTETS]
            octets[_METHOD_AT : _METHOD_AT + len(name)] = name
            self._method_length = len(name) << 32
            self.method = method
        words[_LENGTHS] = self._method_length | len(shown)
        octets[_PATH_AT : _PATH_AT + len(shown)] = shown
        words[_SEQUENCE] = sequence + 2
        self.path = path

    def flush(self, now_ns: int) -> None:
        """Write what has been gathered; called in the worker's loop thread, once a turn and before it waits.

        Unless a stretch inside the application is under way, no request is shown any more.

        Args:
            now_ns: monotonic nanoseconds.
        """
        words = self.words
        words[_TURNED] = now_ns
        words[_IN_FLIGHT] = self.in_flight
        if not words[_IN_APPLICATION]:
            words[_STARTED] = 0
        ended = self.ended
        count = len(ended)  # another thread may append meanwhile
        if not count:
            return
        batch = ended[:count]
        del ended[:count]
        busy = octets = errors = quick = 0
        for took, sent, is_error in batch:
            busy += took
            octets += sent
            errors += is_error
            if took <= _QUICK_NS:
                quick += 1
            else:
                words[_HISTOGRAM + bisect_left(LATENCY_BOUNDS_NS, took)] += 1
        words[_REQUESTS] = requests = words[_REQUESTS] + count
        words[_OCTETS] += octets
        words[_BUSY] += busy
        if errors:
            words[_ERRORS] += errors
        if quick:
            words[_HISTOGRAM] += quick
        if requests >= self.mark and self.on_mark is not None:
            self.on_mark(requests)

    def set_load(self, load: int) -> None:
        """Say how much of the workers' common load this one has, for the others; called in the worker.

        Args:
            load: its connections and one; 0 when it accepts nothing, so that the others do not count it.
        """
        self.words[_LOAD] = load

    def requests(self) -> int:
        """Return how many requests have been counted (both sides)."""
        return self.words[_REQUESTS]

    # In the arbiter (and in whoever looks on).

    def clear(self) -> None:
        """Forget a dead worker; called in the arbiter after the reaping, and by the worker that begins."""
        self._octets[:] = bytes(_SLOT_OCTETS)
        self.method, self.path = "", b""
        self._method_length = 0

    def in_application_since(self) -> float | None:
        """Return when the present stretch inside the application began (monotonic seconds), None outside of it."""
        since = self.words[_IN_APPLICATION]
        return since / 1e9 if since else None

    def oldest_request(self) -> OldestRequest | None:
        """Return the oldest request in flight, or None."""
        for _ in range(100):  # its writer needs a microsecond; a writer killed in between leaves it odd for good
            before = self.words[_SEQUENCE]
            started = self.words[_STARTED]
            lengths = self.words[_LENGTHS]
            method = bytes(self._octets[_METHOD_AT : _METHOD_AT + (lengths >> 32)])
            path = bytes(self._octets[_PATH_AT : _PATH_AT + (lengths & 0xFFFFFFFF)])
            if before % 2 == 0 and before == self.words[_SEQUENCE]:
                if not started:
                    return None
                return OldestRequest(started, method.decode("latin-1"), path.decode("latin-1"))
        return None

    def statistics(self) -> SlotStatistics:
        """Return all figures of the slot."""
        words = self.words
        return SlotStatistics(
            state=SlotState(words[_STATE]),
            generation=words[Word.GENERATION],
            pid=words[Word.PID],
            requests=words[_REQUESTS],
            errors=words[_ERRORS],
            octets=words[_OCTETS],
            connections=words[_CONNECTIONS],
            in_flight=words[_IN_FLIGHT] or int(words[_IN_APPLICATION] != 0),  # begun after the last flush
            busy_ns=words[_BUSY],
            latency=tuple(words[_HISTOGRAM + index] for index in range(len(LATENCY_BOUNDS_NS) + 1)),
            oldest=self.oldest_request(),
            turned_ns=words[_TURNED],
        )


class Scoreboard:
    """The mapping: made by the arbiter before the first fork, inherited by every child."""

    def __init__(self) -> None:
        self._mapping = mmap.mmap(-1, (SLOTS + 1) * _SLOT_OCTETS)
        self._view = memoryview(self._mapping)
        self._arbiter = self._view[:_SLOT_OCTETS].cast("Q")
        self._all_loads = self._view[_SLOT_OCTETS:].cast("Q")[_LOAD::_SLOT_WORDS]

    def slot(self, index: int) -> Slot:
        """Return slot ``index`` (0 to 1 023).

        Raises:
            IndexError: there is no such slot.
        """
        if not 0 <= index < SLOTS:
            raise IndexError(f"the scoreboard has no slot {index}")
        start = (index + 1) * _SLOT_OCTETS
        return Slot(self._view[start : start + _SLOT_OCTETS])

    def reserve(self, index: int) -> None:
        """Say that slot ``index`` and those below it may be in use; called in the arbiter, before a fork."""
        self._arbiter[_IN_USE] = max(self._arbiter[_IN_USE], index + 1)

    def loads(self) -> list[int]:
        """Return what each worker last said of its load (`Slot.set_load`), by slot; 0 for a slot without a worker."""
        return self._all_loads[: self._arbiter[_IN_USE]].tolist()

    @property
    def is_stopping(self) -> bool:
        """Whether the whole server stops: a draining worker then accepts what is queued before it closes."""
        return self._arbiter[_STATE] != 0

    def set_stopping(self) -> None:
        """Say that the whole server stops; called in the arbiter, before it tells the workers to drain."""
        self._arbiter[_STATE] = 1
