"""One server under load, what has been done to it, and what must be true of it when all is calm again."""

import contextlib
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random
from time import monotonic

from pyfork.arbiter.policy import SETTLED
from tests import procfs
from tests.faults.client import Load
from tests.faults.clock import Clock
from tests.faults.judge import Attempt, Death, Terms, Verdict, judge
from tests.faults.served import COUNT, GRACEFUL_TIMEOUT, KEEP_ALIVE, Site
from tests.harness import processes_of_session, title_of, wait_until

CALM_PATIENCE = 40.0
"""Seconds within which everything is to be as it was: the longest back-off is 30 s."""
MOST_GROWTH = 3_000_000
"""Octets that the arbiter's memory may be above what it was after the first round."""
MOST_CPU = 0.6
"""Part of a core that the arbiter may use in a round; beside a second for the forks."""
_SERVES = re.compile(r"pyfork: (worker|mold) \d+ gen (\d+) ")
_REFORKED = "refork: the workers of generation {} are replaced in turn"
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
        kinds: what the arbiter has open when all is calm, whoever the arbiter is.
        patience: seconds within which everything is to be as it was.
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
        self.is_preloading = bool(server.tables["workers"].get("preload"))
        self.kinds = procfs.descriptor_kinds(server.pid)
        self.patience = CALM_PATIENCE
        self._memory: int | None = None
        self._began = monotonic()
        self._cpu = procfs.cpu_seconds(server.pid)

    # What a fault does.

    def pause(self, shortest: float, longest: float | None = None) -> None:
        """Let between ``shortest`` and ``longest`` seconds pass."""
        threading.Event().wait(self.random.uniform(shortest, shortest if longest is None else longest))

    def workers(self) -> list[int]:
        """Return the pids of the workers that serve, in the order of their birth."""
        titles = {pid: title_of(pid) for pid in self.server.workers()}
        return sorted(pid for pid, title in titles.items() if _SERVES.match(title) and "booting" not in title)

    def victim(self) -> int:
        """Return one of the workers that serve."""
        return self.random.choice(wait_until(self.workers, "a worker that serves"))

    def molds(self) -> list[int]:
        """Return the pids of the molds, also of those that boot."""
        pids = processes_of_session(self.server.session)
        return sorted(pid for pid in pids if title_of(pid).startswith("pyfork: mold "))

    def mold(self) -> int:
        """Return the one mold of a calm scene."""
        [pid] = self.molds()
        return pid

    def everybody(self) -> list[int]:
        """Return the pids of the arbiter, the mold and the workers that serve."""
        return [self.server.pid, *self.molds(), *self.workers()]

    def children(self) -> list[int]:
        """Return the pids of the arbiter's living children, also of those that have no title yet."""
        return procfs.children(self.server.session, self.server.pid)

    def newborn(self, known: list[int]) -> int:
        """Wait for a child that is not among ``known``, and return its pid."""
        return wait_until(lambda: [pid for pid in self.children() if pid not in known], "a new child")[0]

    def stop(self, pid: int) -> bool:
        """SIGSTOP a worker and list what it holds, as if it were to die; return whether it was there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            if procfs.wait_stopped(pid):
                return True
        return False

    def condemn(self, pid: int) -> None:
        """Note that ``pid``, which does nothing any more, will be killed: what it holds is excused."""
        self.deaths.append(Death(pid, monotonic(), procfs.held_ports(pid, self.server.port)))

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
        """End a worker by a signal, with its connections noted; return whether it was there.

        Its arbiter stands still meanwhile: where all cores are busy, the list of the connections takes so long that it
        would miss the victim's beats. Where the victim has just become ready, a reload that fails by its death says so
        in a line of its own.
        """
        with self.held(procfs.parent_of(pid)):
            if not self.stop(pid):
                return False
            self.forgive(rf"\(pid {pid}\) died within 1 s of getting ready")
            self.condemn(pid)
            os.kill(pid, number)
            with contextlib.suppress(ProcessLookupError):  # SIGKILL does not wait for it
                os.kill(pid, signal.SIGCONT)
        return True

    @contextlib.contextmanager
    def held(self, pid: int) -> Iterator[None]:
        """Let one of the server's processes stand still for the length of a ``with`` block, and no other's."""
        if pid not in processes_of_session(self.server.session):
            yield
            return
        with contextlib.suppress(ProcessLookupError):  # an arbiter that was replaced, and has ended
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_expected(self, pid: int) -> bool:
        """SIGKILL a worker, as a part of a fault that is about something else, and wait for the line about it."""
        self.forgive(rf"\(pid {pid}\) was killed by SIGKILL")
        was_there = self.kill(pid)
        self.expect(rf"\(pid {pid}\) was killed by SIGKILL")
        return was_there

    def reload_with(self, **workers: object) -> None:
        """Change the table ``[workers]``, reload, and wait until that is done."""
        self.server.configure({"workers": workers})
        mark = len(self.server.log)
        self.server.signal("HUP")
        wait_until(lambda: _ENDED.search(self.server.log[mark:]), "the reload has ended", CALM_PATIENCE)
        assert "has replaced the others" in self.server.log[mark:], self.server.log[mark:]

    def begin_generation(self) -> None:
        """Reload, so that the next failure to start is told in full, and wait until nobody dies of his start.

        The log tells only the first of the failures that a generation has within a minute (`pyfork.arbiter.crashes`).
        """
        self.reload_with()
        wait_until(self._is_calm, "the new generation serves", CALM_PATIENCE)
        self.pause(SETTLED + 0.1)

    def follow(self) -> None:
        """Wait until another arbiter has replaced this one, and look at that from now on."""
        self.server.successor()
        self._memory = None
        self._cpu = procfs.cpu_seconds(self.server.pid)

    def has(self, pattern: str) -> bool:
        """Return whether the log of this round has ``pattern`` by now."""
        return re.search(pattern, self.server.log[self.since :]) is not None

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
        self._cpu = procfs.cpu_seconds(self.server.pid)

    def settle(self) -> None:
        """Wait for calm and check that everything is as it was.

        Raises:
            AssertionError: it is not, or a request was lost.
        """
        self.hear()
        wait_until(self._is_calm, f"{COUNT} workers of one generation, their mold, and no others", self.patience)
        self._check_descriptors()
        assert self.server.pidfile.read_text() == f"{self.server.pid}\n"
        used = procfs.cpu_seconds(self.server.pid) - self._cpu
        took = monotonic() - self._began
        assert used <= 1 + MOST_CPU * took, f"the arbiter used {used:.1f} s of processor time in {took:.1f} s"
        resident = procfs.resident(self.server.pid)
        self._memory = self._memory or resident
        assert resident - self._memory < MOST_GROWTH, f"the arbiter grew from {self._memory} to {resident} octets"
        self.judge()

    def _check_descriptors(self) -> None:
        """Check that the arbiter has as many as ever, and that no mold has a client's connection."""

        def is_kept() -> bool:
            return procfs.descriptor_kinds(self.server.pid) == self.kinds

        try:
            wait_until(is_kept, "the arbiter has the descriptors that it had", 15)
        except AssertionError as error:
            error.add_note(f"it had {self.kinds} and has {procfs.descriptor_kinds(self.server.pid)}")
            raise
        for pid in self.molds():
            held = procfs.held_ports(pid, self.server.port)
            assert not held, f"mold {pid} holds connections of the clients' ports {sorted(held)}"

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
        """Whether the wanted workers serve, all of one generation, with their mold and nobody else, to stay."""
        arbiter = self.server.pid
        found = procfs.family(self.server.session)
        found.pop(arbiter, None)
        if any(parent != arbiter or letter == "Z" for parent, letter in found.values()):
            return False
        roles = Counter[str]()
        generations = set()
        for pid in found:
            match = _SERVES.match(title_of(pid))
            if match is None or "booting" in match.string:
                return False
            roles[match[1]] += 1
            generations.add(match[2])
        is_complete = roles == Counter(worker=COUNT, mold=1 if self.is_preloading else 0)
        return is_complete and len(generations) == 1 and self._is_told(found, *generations)

    def _is_told(self, family: Iterable[int], generation: str) -> bool:
        """Whether the arbiter, too, has it that all are ready (a title says it earlier) and nothing is under way.

        A mold that a reload outdoes while it is made of a worker is told of as well, and replaces nobody.
        """
        log = "\n".join(line for line in self.server.log.splitlines() if f"[{self.server.pid}] " in line)
        if not all(f"(pid {pid}) is ready" in log for pid in family):
            return False
        tried = max((int(number) for number in _TRIED.findall(log)), default=1)
        ended = max((int(one or other) for one, other in _ENDED.findall(log)), default=1)
        last_refork = log.rfind(_REFORKED.format(generation))
        is_renewed = all(log.find(f"(pid {pid}) is booting") > last_refork for pid in self.workers())
        return tried <= ended and is_renewed
