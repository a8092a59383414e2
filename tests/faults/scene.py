"""One server under load, what has been done to it, and what must be true of it when all is calm again."""

import contextlib
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from random import Random
from time import monotonic

from tests.faults import processes
from tests.faults.client import Load
from tests.faults.clock import Clock
from tests.faults.judge import Attempt, Death, Terms, Verdict, judge
from tests.faults.served import COUNT, GRACEFUL_TIMEOUT, KEEP_ALIVE, Site
from tests.harness import title_of, wait_until

CALM_PATIENCE = 40.0
"""Seconds within which everything is to be as it was: the longest back-off is 30 s."""
MOST_GROWTH = 3_000_000
"""Octets that the arbiter's memory may be above what it was after the first round."""
MOST_CPU = 0.6
"""Part of a core that the arbiter may use in a round; beside a second for the forks."""
_IDLE_MARGIN = 0.5
_TRIED = re.compile(r"reload: generation (\d+) is tried with one worker")
_ENDED = re.compile(r"reload: generation (\d+) has replaced the others|reload \w+: generation (\d+) is ended")


class Scene:
    """What a fault gets to act upon.

    Args:
        server: started, its first workers ready.
        load: running.
        clock: the server's.
        random: by which the fault chooses.

    Attributes:
        deaths: the processes that were killed, with the connections that they held.
        since: where in the log the present round begins.
        excused: requests that died with their worker, in all rounds.
        apart: what was no loss by definition.
    """

    def __init__(self, server: Site, load: Load, clock: Clock, random: Random) -> None:
        self.server = server
        self.load = load
        self.clock = clock
        self.random = random
        self.worker_type = server.tables["workers"]["type"]
        self.deaths: list[Death] = []
        self.since = 0
        self.excused = 0
        self.apart: Counter[str] = Counter()
        self.kinds = processes.descriptor_kinds(server.pid)
        self._memory: int | None = None
        self._began = monotonic()
        self._cpu = processes.cpu_seconds(server.pid)

    # What a fault does.

    def pause(self, shortest: float, longest: float | None = None) -> None:
        """Let between ``shortest`` and ``longest`` seconds pass."""
        threading.Event().wait(self.random.uniform(shortest, shortest if longest is None else longest))

    def workers(self) -> list[int]:
        """Return the pids of the workers that serve, in the order of their birth."""
        titles = {pid: title_of(pid) for pid in self.server.workers()}
        return sorted(pid for pid, title in titles.items() if "booting" not in title)

    def victim(self) -> int:
        """Return one of the workers that serve."""
        return self.random.choice(wait_until(self.workers, "a worker that serves"))

    def children(self) -> list[int]:
        """Return the pids of the arbiter's living children, also of those that have no title yet."""
        found = processes.family(self.server.pid)
        return sorted(pid for pid, (parent, letter) in found.items() if parent == self.server.pid and letter != "Z")

    def newborn(self, known: list[int]) -> int:
        """Wait for a child that is not among ``known``, and return its pid."""
        return wait_until(lambda: [pid for pid in self.children() if pid not in known], "a new child")[0]

    def stop(self, pid: int) -> bool:
        """SIGSTOP a worker and list what it holds, as if it were to die; return whether it was there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            if processes.wait_stopped(pid):
                return True
        return False

    def condemn(self, pid: int) -> None:
        """Note that ``pid``, which does nothing any more, will be killed: what it holds is excused."""
        self.deaths.append(Death(pid, monotonic(), processes.held_ports(pid, self.server.port)))

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
        """End a worker by a signal, with its connections noted; return whether it was there."""
        if not self.stop(pid):
            return False
        self.condemn(pid)
        os.kill(pid, number)
        with contextlib.suppress(ProcessLookupError):  # SIGKILL does not wait for it
            os.kill(pid, signal.SIGCONT)
        return True

    def expect(self, pattern: str, patience: float = CALM_PATIENCE) -> re.Match[str]:
        """Wait until the log of this round has ``pattern``, and return the match."""
        found: re.Match[str] = wait_until(
            lambda: re.search(pattern, self.server.log[self.since :]),
            f"in the log of this round: {pattern!r}\n{self.server.log[self.since :]}",
            patience,
        )
        return found

    def hear(self) -> None:
        """Wait until the arbiter has heard, and told of, every signal that was sent to it before.

        They are heard in the order of their arrival, but those that are pending at the same time arrive in that of
        their numbers: the second USR1 cannot have come with them.
        """
        for _ in range(2):
            mark = len(self.server.log)
            self.server.signal("USR1")
            wait_until(lambda at=mark: "signal SIGUSR1" in self.server.log[at:], "the arbiter hears USR1")

    def forgive(self, *patterns: str) -> None:
        """Say which error lines belong to the fault."""
        self.server.expect_errors(*patterns)

    # What must be true afterwards.

    def begin_round(self) -> None:
        """Note where the log and the clocks are."""
        self.since = len(self.server.log)
        self._began = monotonic()
        self._cpu = processes.cpu_seconds(self.server.pid)

    def settle(self) -> None:
        """Wait for calm and check that everything is as it was.

        Raises:
            AssertionError: it is not, or a request was lost.
        """
        self.hear()
        wait_until(self._is_calm, f"{COUNT} workers of one generation and no others", CALM_PATIENCE)
        kinds = self.kinds
        wait_until(
            lambda: processes.descriptor_kinds(self.server.pid) == kinds,
            "the arbiter has the descriptors that it had",
            5,
        )
        used = processes.cpu_seconds(self.server.pid) - self._cpu
        took = monotonic() - self._began
        assert used <= 1 + MOST_CPU * took, f"the arbiter used {used:.1f} s of processor time in {took:.1f} s"
        resident = processes.resident(self.server.pid)
        self._memory = self._memory or resident
        assert resident - self._memory < MOST_GROWTH, f"the arbiter grew from {self._memory} to {resident} octets"
        self.judge()

    def judge(self) -> None:
        """Judge the requests that have failed since the last time.

        Raises:
            AssertionError: some are lost.
        """
        verdict = self.verdict(self.load.take())
        self.excused += len(verdict.excused)
        self.apart += verdict.apart
        lines = "\n".join(f"  {loss}" for loss in verdict.losses)
        deaths = "\n".join(f"  {death}" for death in self.deaths[-10:])
        assert not verdict.losses, f"{len(verdict.losses)} requests lost:\n{lines}\nthe last deaths:\n{deaths}"
        assert not self.load.defects, self.load.defects

    def verdict(self, attempts: list[Attempt]) -> Verdict:
        """Judge ``attempts`` by what this server has promised."""
        limit = min(KEEP_ALIVE, GRACEFUL_TIMEOUT / 2) - _IDLE_MARGIN
        terms = Terms(limit, closes_each=self.worker_type == "sync", stopped_at=self.load.stopped_at)
        return judge(attempts, self.deaths, terms)

    def _is_calm(self) -> bool:
        """Whether the wanted workers serve, all of one generation, with nobody else, and nothing is to come."""
        arbiter = self.server.pid
        found = processes.family(arbiter)
        found.pop(arbiter, None)
        if len(found) != COUNT or any(parent != arbiter or letter == "Z" for parent, letter in found.values()):
            return False
        titles = [title_of(pid) for pid in found]
        generations = {match[1] for title in titles if (match := re.match(r"pyfork: worker \d+ gen (\d+) ", title))}
        if len(generations) != 1 or any("booting" in title or "worker" not in title for title in titles):
            return False
        return self._is_told(found)

    def _is_told(self, workers: Iterable[int]) -> bool:
        """Whether the arbiter, too, has it that all are ready (a title says it earlier) and every reload has ended."""
        log = self.server.log
        if not all(f"(pid {pid}) is ready" in log for pid in workers):
            return False
        tried = max((int(number) for number in _TRIED.findall(log)), default=1)
        ended = max((int(one or other) for one, other in _ENDED.findall(log)), default=1)
        return tried <= ended
