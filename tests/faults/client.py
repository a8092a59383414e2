"""The load: a dozen clients of different habits, each in a thread, who know of every request what became of it.

They are few and slow on purpose: the server's faults are looked for, not its speed, and two cores are all there is. A
client never tries again in silence; each request that is not answered whole and right is an `Attempt` for the judge.
"""

import contextlib
import select
import socket
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from time import monotonic
from typing import Self

from tests.faults.judge import Attempt, Outcome

ANSWER_TIMEOUT = 20.0
"""Seconds without an octet after which an answer is given up; longer than the server is ever held up."""
BODY = 100_000
"""Octets of a large body."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a client behaves.

    Attributes:
        pause: seconds between two visits, at most.
        requests: most requests sent at once (pipelined).
        is_kept: the connection is used again.
        is_slow: octets are sent and read in pieces, with pauses.
        sleep: milliseconds that the application is asked to take, at most.
        upload: octets of the request's body.
        download: octets of the answer's body.
    """

    name: str
    pause: float = 0.05
    requests: int = 1
    is_kept: bool = False
    is_slow: bool = False
    sleep: int = 0
    upload: int = 0
    download: int = 0


HABITS = (
    Habit("fresh"),
    Habit("fresh"),
    Habit("fresh and busy", sleep=120),
    Habit("kept", is_kept=True),
    Habit("kept", is_kept=True),
    Habit("kept and busy", is_kept=True, sleep=120),
    Habit("pipelined", is_kept=True, requests=4, pause=0.1, sleep=10),
    Habit("slow", is_slow=True, pause=0.1),
    Habit("slow and kept", is_slow=True, is_kept=True, pause=0.1),
    Habit("upload", upload=BODY, pause=0.1),
    Habit("upload, kept", upload=BODY, is_kept=True, pause=0.1),
    Habit("download, slow", download=BODY, is_slow=True, pause=0.1),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """A connection to the server.

    Attributes:
        port: our own.
        pid: who has answered on it, None before.
        asked: when the first octets of what was asked last had been handed to the kernel, None before.
        octets: received since the last whole answer.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, port: int) -> None:
        self.opened = monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT)
        self.connected = monotonic()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.socket.getsockname()[1]
        self.pid: int | None = None
        self.answered: float | None = None
        self.asked: float | None = None
        self._received = b""

    @property
    def octets(self) -> int:
        """Octets that came since the last whole answer."""
        return len(self._received)

    def has_ended(self) -> bool:
        """Return whether the server has closed it while nothing was asked of it."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def read(self, most: int, pause: Callable[[], object]) -> Answer:
        """Return the next answer.

        Args:
            most: octets of one read.
            pause: called after each.

        Raises:
            EOFError: the connection ended before.
            OSError: it was reset, or nothing came for `ANSWER_TIMEOUT`.
        """
        while b"\r\n\r\n" not in self._received:
            self._receive(most)
            pause()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._received) - len(head) - 4 < length:
            self._receive(most)
            pause()
        rest = self._received[len(head) + 4 :]
        self._received = rest[length:]
        self.answered = monotonic()
        with contextlib.suppress(KeyError):
            self.pid = int(headers["x-pid"])
        return Answer(first.split(" ")[1], headers, rest[:length])

    def _receive(self, most: int) -> None:
        octets = self.socket.recv(most)
        if not octets:
            raise EOFError(f"the server closed it after {len(self._received)} octets")
        self._received += octets

    def close(self) -> None:
        """Close it."""
        self.socket.close()


class Client(threading.Thread):
    """One client, who visits until the load is over or the server has stopped.

    Attributes:
        answered: requests that were.
        closed_idle: connections that the server had closed before anything was asked.
    """

    def __init__(self, load: "Load", habit: Habit, random: Random) -> None:
        super().__init__(name=habit.name, daemon=True)
        self._load = load
        self._habit = habit
        self._random = random
        self._wire: Wire | None = None
        self.answered = 0
        self.closed_idle = 0

    def run(self) -> None:
        """Visit again and again; a fault of ours is kept for whoever judges."""
        try:
            while not self._load.is_over.is_set() and self._visit():
                self._load.is_over.wait(self._random.uniform(0, self._habit.pause))
        except Exception as error:
            self._load.defects.append(error)
        finally:
            if self._wire is not None:
                self._wire.close()

    def _visit(self) -> bool:
        """Send what is to be sent at once, and read the answers; return whether there is any use in coming again."""
        wire = self._wire
        self._wire = None
        if wire is not None and wire.has_ended():
            self.closed_idle += 1
            wire.close()
            wire = None
        wire = wire or self._connect()
        if wire is None:
            return self._load.stopped_at is None
        numbers = [next(self._load.numbers) for _ in range(self._random.randint(1, self._habit.requests))]
        if self._ask(wire, numbers) and self._habit.is_kept:
            self._wire = wire
        else:
            wire.close()
        return True

    def _connect(self) -> Wire | None:
        opened = monotonic()
        try:
            return Wire(self._load.port)
        except OSError as error:
            now = monotonic()
            number = next(self._load.numbers)
            self._load.attempts.append(
                Attempt(self.name, number, Outcome.REFUSED, 0, opened, None, opened, now, detail=repr(error))
            )
            return None

    def _ask(self, wire: Wire, numbers: list[int]) -> bool:
        """Return whether the connection can be used again."""
        answered, wire.asked = wire.answered, None

        def note(number: int, outcome: Outcome, detail: str) -> None:
            began = wire.asked or monotonic()
            idle = None if answered is None else began - answered
            seen = (wire.port, wire.opened, wire.connected, began, monotonic(), idle, wire.octets, wire.pid, detail)
            self._load.attempts.append(Attempt(self.name, number, outcome, *seen))

        with contextlib.suppress(OSError):  # the reading will tell, and may find answers before
            self._send(wire, b"".join(map(self._request, numbers)))
        for place, number in enumerate(numbers):
            try:
                answer = wire.read(4096 if self._habit.is_slow else 65536, self._dawdle)
            except (EOFError, OSError) as error:
                outcome = Outcome.LATE if isinstance(error, TimeoutError) else Outcome.BROKEN
                for unanswered in numbers[place:]:
                    note(unanswered, outcome, repr(error))
                return False
            complaint = self._compare(number, answer)
            if complaint:
                note(number, Outcome.WRONG, complaint)
            else:
                self.answered += 1
            if answer.headers.get("connection") == "close":
                for unanswered in numbers[place + 1 :]:
                    note(unanswered, Outcome.BEHIND_CLOSE, f"answer {place + 1} of {len(numbers)} was the last")
                return False
        return True

    def _request(self, number: int) -> bytes:
        habit = self._habit
        sleep = self._random.randint(0, habit.sleep)
        query = f"number={number}&sleep={sleep}&size={habit.download}"
        if not habit.upload:
            return f"GET /?{query} HTTP/1.1\r\nHost: faults\r\n\r\n".encode()
        head = f"POST /?{query} HTTP/1.1\r\nHost: faults\r\nContent-Length: {habit.upload}\r\n\r\n"
        return head.encode() + body_of(number, habit.upload)

    def _compare(self, number: int, answer: Answer) -> str:
        """Return what is wrong with an answer, "" if nothing is."""
        expected = {"x-number": str(number)}
        if self._habit.upload:
            expected["x-sum"] = str(zlib.crc32(body_of(number, self._habit.upload)))
        if answer.status != "200":
            return f"status {answer.status}: {answer.body[:200]!r}"
        if answer.body != body_of(number, self._habit.download):
            return f"the body has {len(answer.body)} octets: {answer.body[:40]!r}"
        wrong = {
            name: answer.headers.get(name) for name, value in expected.items() if answer.headers.get(name) != value
        }
        return f"{wrong} and not {expected}" if wrong else ""

    def _send(self, wire: Wire, octets: bytes) -> None:
        for piece in self._pieces(octets):
            sent = wire.socket.send(piece)  # waits for nobody while the connection is idle, however much it is
            wire.asked = wire.asked or monotonic()  # not before: until now we may have been paused ourselves
            wire.socket.sendall(piece[sent:])

    def _pieces(self, octets: bytes) -> Iterator[bytes]:
        if not self._habit.is_slow:
            yield octets
            return
        cut = self._random.randrange(1, len(octets))
        yield octets[:cut]
        self._load.is_over.wait(self._random.uniform(0.02, 0.2))
        yield octets[cut:]

    def _dawdle(self) -> None:
        if self._habit.is_slow:
            self._load.is_over.wait(self._random.uniform(0, 0.01))


def body_of(number: int, size: int) -> bytes:
    """Return the ``size`` octets that belong to a request; the application makes the same ones."""
    word = b"%d." % number
    return (word * (size // len(word) + 1))[:size]


class Load:
    """All clients.

    Args:
        port: the server's.
        random: from which each client gets a generator of its own.

    Attributes:
        attempts: what was not answered; taken away by `take`.
        defects: exceptions of the clients themselves.
        stopped_at: set, just before the server is told to stop, by whoever does so.
    """

    def __init__(self, port: int, random: Random, habits: tuple[Habit, ...] = HABITS) -> None:
        self.port = port
        self.numbers = count(1)
        self.is_over = threading.Event()
        self.attempts: deque[Attempt] = deque()
        self.defects: list[Exception] = []
        self.stopped_at: float | None = None
        self._clients = [Client(self, habit, Random(random.random())) for habit in habits]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.finish()

    def take(self) -> list[Attempt]:
        """Return what was not answered since the last call."""
        return [self.attempts.popleft() for _ in range(len(self.attempts))]

    def answered(self) -> Counter[str]:
        """Return how many requests were answered, by habit."""
        found: Counter[str] = Counter()
        for client in self._clients:
            found[client.name] += client.answered
        return found

    def closed_idle(self) -> int:
        """Return how often a client found its idle connection closed before it asked for anything."""
        return sum(client.closed_idle for client in self._clients)

    def wait_stopped(self) -> None:
        """Wait until every client has found the server stopped."""
        for client in self._clients:
            client.join(ANSWER_TIMEOUT * 2)

    def finish(self) -> None:
        """Let what is under way come to its end, and no more begin."""
        self.is_over.set()
        self.wait_stopped()
