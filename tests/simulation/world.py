"""A fake world around the real core: disk, kernel, processes and a virtual clock, in the place of the shell.

It carries out actions exactly as ``arbiter.loop`` does: each in order, the answer to a spawn or a load before the next.
What it knows to be true of every step it checks itself (`Laws` is told about each event and each action).
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count as counter
from random import Random

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Order
from pyfork.arbiter.core import Core
from pyfork.arbiter.succession import PreviousCount, Succession
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind
from tests.simulation.laws import Laws
from tests.simulation.processes import Boot, Configuration, Load, Process
from tests.simulation.successors import Successors

STALL = 1.0


def plan_of(configuration: Configuration) -> ev.Plan:
    timeout = configuration.timeout
    return ev.Plan(
        count=configuration.count,
        timeout=timeout,
        boot_timeout=configuration.boot_timeout,
        bounds=configuration.bounds,
        graceful_timeout=configuration.graceful_timeout,
        beat_interval=min(5.0, timeout / 4) if timeout else 5.0,
        preload=configuration.preload,
        can_refork=configuration.can_refork,
    )


class World:
    def __init__(
        self,
        configuration: Configuration,
        seed: int,
        release: Boot = Boot.GOOD,
        previous: PreviousCount | None = None,
    ) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self.configuration = configuration
        self.previous = previous
        self.load = Load()
        self.release = release
        self.spawns_to_fail = 0
        self.is_healed = False  # once faults have stopped, copies of workers boot, too
        self.processes: dict[int, Process] = {}
        self.births: dict[tuple[int, int], Process] = {}  # workers that a mold has yet to fork
        self.copies: dict[int, Process] = {}  # molds that a worker has yet to fork, by serial
        self.generations = {1: configuration}
        self.current = 1
        self._awake = self.now
        self.is_sound = True  # no law was broken
        self.exit: ExitStatus | None = None
        self.events = 0
        self._pids = counter(100)
        self._order = counter()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._todo: deque[act.Action] = deque()
        self.core = Core(plan_of(configuration), random=Random(seed), succession=Succession(previous))
        self.successors = Successors(self)
        self.laws = Laws(self)
        self.tell(ev.Started())

    # The shell's part.

    def tell(self, event: ev.Event) -> None:
        """Hand an event over and carry out the answer, as the loop's ``_handle``."""
        self.is_sound = False
        self._todo.extend(self._ask(event, is_answer=False))
        while self._todo:
            action = self._todo.popleft()
            self.laws.before_action(action)
            self._perform(action)
        self.laws.after_step(event)
        self.is_sound = True

    def _answer(self, event: ev.Event) -> None:
        """As the loop's ``_answer``."""
        self._todo.extendleft(reversed(self._ask(event, is_answer=True)))

    def _ask(self, event: ev.Event, *, is_answer: bool) -> list[act.Action]:
        self.events += 1
        self.laws.before_event(event, is_answer=is_answer)
        actions = self.core.handle(event, self.now)
        self.laws.after_event(event, actions)
        return actions

    def _perform(self, action: act.Action) -> None:
        match action:
            case act.SpawnWorker(number, generation, None):
                self._spawn(number, generation)
            case act.SpawnWorker(number, generation, mold):
                self._ask_mold(number, generation, mold)
            case act.CancelSpawn(number, generation):
                del self.births[number, generation]
                self._answer(ev.SpawnFailed(number, generation, "given up"))
            case act.SpawnMold(generation, serial):
                self._spawn_mold(generation, serial)
            case act.PromoteWorker(pid, generation, serial):
                self._promote(self.processes[pid], generation, serial)
            case act.CancelMold(generation, serial):
                del self.copies[serial]
                self._answer(ev.MoldRefused(generation, serial, "given up"))
            case act.SignalWorker(pid, order) if self.successors.is_present(pid):
                self.successors.signal(order)
            case act.SignalWorker(pid, order):
                self._signal(self.processes[pid], order)
            case act.DumpStacks(pid):
                self.processes[pid].told.setdefault("DUMP", self.now)
            case _:
                self._perform_rest(action)

    def _perform_rest(self, action: act.Action) -> None:
        """Carry out what concerns no worker or mold by itself."""
        match action:
            case act.LoadConfiguration(generation):
                self._load(generation)
            case act.AdoptGeneration(generation):
                self.current = generation
                self.generations = {generation: self.generations[generation]}
            case act.DropGeneration(generation):
                del self.generations[generation]
            case act.MeasureLoad():
                self._answer(self.load.measured(self.random))
            case act.StartUpgrade():
                self._answer(self.successors.start(next(self._pids)))
            case act.HandOver(pid):
                self._answer(self.successors.take_over(pid))
            case act.Exit(status):
                self.exit = status

    def _spawn(self, number: int, generation: int) -> None:
        if self.spawns_to_fail:
            self.spawns_to_fail -= 1
            self._answer(ev.SpawnFailed(number, generation, "[Errno 11] Resource temporarily unavailable"))
            return
        pid = next(self._pids)
        configuration = self.generations[generation]
        process = Process(pid, number, generation, configuration, self.now)
        self.processes[pid] = process
        self._begin_boot(process)
        self._answer(ev.WorkerSpawned(number, generation, pid))

    def _ask_mold(self, number: int, generation: int, serial: int | None) -> None:
        mold = next((one for one in self.processes.values() if one.serial == serial), None)
        if mold is None or (
            mold.dead and self.random.random() < 0.5
        ):  # its socket is closed, or the request waits in it
            self._answer(ev.SpawnFailed(number, generation, "[Errno 32] Broken pipe"))
            return
        self.births[number, generation] = mold
        mold.owes_since = self.now if mold.owes_since is None else mold.owes_since
        self.later(self.random.choice((0.0, 0.0, 0.01, 0.3)), lambda: self._bear(number, generation, mold))

    def _bear(self, number: int, generation: int, mold: Process) -> None:
        """Let the mold fork, unless it cannot or the arbiter has given it up."""
        if self.births.get((number, generation)) is not mold or (mold.hangs and not mold.dead):
            return
        del self.births[number, generation]
        if mold not in self.births.values():
            mold.owes_since = None
        if mold.dead or self.spawns_to_fail:
            self.spawns_to_fail = max(0, self.spawns_to_fail - (not mold.dead))
            self.tell(ev.SpawnFailed(number, generation, "the pipe is at its end"))
            return
        pid = next(self._pids)
        process = Process(pid, number, generation, mold.configuration, self.now)
        self.processes[pid] = process
        dies = self.release is Boot.FLAKY and self.random.random() < 0.2
        self._boot(process, Boot.DIES if dies else Boot.GOOD, self.random.choice((0.0, 0.01, 0.1)))
        self.tell(ev.WorkerSpawned(number, generation, pid))

    def _spawn_mold(self, generation: int, serial: int) -> None:
        if self.spawns_to_fail:
            self.spawns_to_fail -= 1
            self._answer(ev.MoldRefused(generation, serial, "[Errno 11] Resource temporarily unavailable"))
            return
        process = self._make_mold(generation, serial, self.generations[generation])
        self._begin_boot(process)
        self._answer(ev.MoldSpawned(generation, serial, process.pid))

    def _make_mold(self, generation: int, serial: int, configuration: Configuration) -> Process:
        pid = next(self._pids)
        self.processes[pid] = Process(pid, -1, generation, configuration, self.now, serial=serial)
        return self.processes[pid]

    def _promote(self, worker: Process, generation: int, serial: int) -> None:
        self.copies[serial] = worker
        self.later(self.random.choice((0.0, 0.01, 1.0)), lambda: self._copy(worker, generation, serial))

    def _copy(self, worker: Process, generation: int, serial: int) -> None:
        """Let the worker fork the mold once it is between two requests."""
        if self.copies.get(serial) is not worker or (worker.hangs and not worker.dead):
            return
        if worker.entered is not None and not worker.dead:
            self.later(0.5, lambda: self._copy(worker, generation, serial))
            return
        del self.copies[serial]
        if worker.dead or self.spawns_to_fail:
            self.spawns_to_fail = max(0, self.spawns_to_fail - (not worker.dead))
            self.tell(ev.MoldRefused(generation, serial, "the pipe is at its end"))
            return
        process = self._make_mold(generation, serial, worker.configuration)
        fates = (Boot.GOOD,) if self.is_healed else (Boot.GOOD, Boot.GOOD, Boot.DIES, Boot.SAYS_WHY)
        self._boot(process, self.random.choice(fates), 0.1)
        self.tell(ev.MoldSpawned(generation, serial, process.pid))

    def _load(self, generation: int) -> None:
        if self.configuration.is_valid:
            self.generations[generation] = self.configuration
            self._answer(ev.ConfigurationLoaded(plan_of(self.configuration)))
        else:
            self._answer(ev.ConfigurationRefused(("[workers] count: 0 is less than 1",)))

    def _signal(self, process: Process, order: Order) -> None:
        process.told.setdefault(order.value, self.now)
        if order is Order.KILL:
            self.later(self.random.choice((0.0, 0.01, 0.5)), lambda: self._die(process, None, "SIGKILL"))
        elif process.is_stubborn or process.hangs:
            return
        elif order is Order.QUIT or (order is Order.TERM and not process.serves):
            self.later(self.random.choice((0.0, 0.1, 1.0)), lambda: self._die(process, 0, None))
        elif order is Order.TERM:
            self._drain(process)

    # The processes' part.

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let something happen some time from now."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), happen))

    def _begin_boot(self, process: Process) -> None:
        boot = self.release if process.configuration.boots else Boot.SAYS_WHY
        if boot is Boot.FLAKY:
            boot = self.random.choice((Boot.GOOD, Boot.GOOD, Boot.SLOW, Boot.SAYS_WHY, Boot.DIES, Boot.HANGS))
        self._boot(process, boot, self.random.choice((0.05, 0.3, 1.0)))

    def _boot(self, process: Process, boot: Boot, takes: float) -> None:
        match boot:
            case Boot.GOOD:
                self.later(takes, lambda: self._get_ready(process))
            case Boot.SLOW:
                self.later(20 * takes, lambda: self._get_ready(process))
            case Boot.SAYS_WHY:
                self.later(takes, lambda: self._give_up(process))
            case Boot.DIES:
                self.later(takes, lambda: self._die(process, self.random.choice((0, 1, 3, 4)), None))
            case Boot.IS_SIGNALLED:
                self.later(takes, lambda: self._die(process, None, "SIGSEGV"))
            case Boot.HANGS:
                process.hangs = True

    def _get_ready(self, process: Process) -> None:
        if process.dead or process.hangs:
            return
        process.serves = True
        if process.is_mold:
            self._say(process, ev.MoldReady(process.pid))
            return
        self._say(process, ev.WorkerReady(process.pid))
        self._beat(process, says=False)

    def _give_up(self, process: Process) -> None:
        if process.dead:
            return
        process.told.setdefault("GAVE UP", self.now)
        self._say(process, ev.BootFailed(process.pid, FailureKind.APPLICATION, "no module named shop", "Traceback"))
        if not process.is_stubborn:
            self.later(self.random.choice((0.0, 0.1, 1.0)), lambda: self._die(process, 4, None))

    def _beat(self, process: Process, *, says: bool = True) -> None:
        if process.dead or process.is_silent:
            return
        if says:
            self._say(process, ev.WorkerBeat(process.pid, process.entered))
        process.make_progress(self.now)
        chain = process.beats
        self.later(process.beat_interval, lambda: self._beat(process) if process.beats == chain else None)

    def _drain(self, process: Process) -> None:
        rest = 0.0 if process.busy_until is None else max(0.0, process.busy_until - self.now)
        takes = rest + self.random.choice((0.0, 0.2, 3.0, 40.0))
        self.later(takes, lambda: self._die(process, 0, None))

    def _die(self, process: Process, code: int | None, signal: str | None) -> None:
        if process.dead:
            return
        process.dead = True
        self._end_forks(process)
        self.later(self.random.choice((0.0, 0.0, 0.01)), lambda: self._reap(process, code, signal))

    def _end_forks(self, process: Process) -> None:
        """Let the pipes end whose other ends were in the dead process's socket."""
        for (number, generation), mold in self.births.items():
            if mold is process:
                self.later(0.0, lambda n=number, g=generation: self._bear(n, g, process))  # type: ignore[misc]
        for serial, worker in self.copies.items():
            if worker is process:
                self.later(0.0, lambda s=serial: self._copy(process, process.generation, s))  # type: ignore[misc]

    def _reap(self, process: Process, code: int | None, signal: str | None) -> None:
        del self.processes[process.pid]
        exited = ev.MoldExited if process.is_mold else ev.WorkerExited
        self.tell(exited(process.pid, code, signal))

    def _say(self, process: Process, event: ev.Event) -> None:
        """Hand over what a process says while it is not reaped (a dead one's last words are read before)."""
        if process.pid in self.processes and not process.is_garbled:
            self.tell(event)

    # What a test does to the world.

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        idle_turns = 0
        while self.exit is None:
            deadline = self.core.next_deadline()
            happening = self._agenda[0][0] if self._agenda else None
            moments = [moment for moment in (deadline, happening) if moment is not None and moment <= until]
            if not moments:
                break
            idle_turns = idle_turns + 1 if min(moments) <= self.now else 0
            assert idle_turns < 2000, "the arbiter turns without time passing"
            self.now = self._awake = max(self.now, min(moments))
            if happening is not None and happening <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                self.look()
        self.now = max(self.now, until)
        self._awake = self.now

    def look(self) -> None:
        """Hand over the time, as the loop does when a deadline is reached."""
        entered = {p.pid: p.entered for p in self.processes.values() if p.entered is not None}
        self.tell(ev.TimePassed(entered))

    def stall(self, seconds: float, *, everybody: bool) -> None:
        """Stop the arbiter, or every process, and let it go on, as the loop's ``_turn`` sees it."""
        deadline = self.core.next_deadline()
        self.now += seconds
        self.laws.stalls += seconds
        is_noticed = deadline is not None and self.now - deadline > STALL
        lost = self.now - self._awake if is_noticed else seconds
        if everybody:
            self._agenda = [(moment + seconds, order, happen) for moment, order, happen in self._agenda]
            heapq.heapify(self._agenda)
        for process in self.processes.values():
            process.late += lost
            process.entered_late += lost
            if everybody and is_noticed:
                process.frozen += seconds
                process.entered_frozen += seconds
            elif everybody:
                process.freezes += 1
        if is_noticed:
            self.tell(ev.Stalled(lost))
        self._awake = self.now
        self._catch_up()
        deadline = self.core.next_deadline()
        if deadline is not None and self.now >= deadline and self.exit is None:
            self.look()

    def _catch_up(self) -> None:
        """Read all pipes and reap, before the time is looked at."""
        while self._agenda and self._agenda[0][0] <= self.now and self.exit is None:
            heapq.heappop(self._agenda)[2]()

    def configurations(self) -> list[Configuration]:
        """Return those that matter still."""
        return [*self.generations.values(), *(process.configuration for process in self.processes.values())]

    def alive(self) -> list[Process]:
        return [process for process in self.processes.values() if not process.dead]

    def crash(self, process: Process, code: int | None, signal: str | None) -> None:
        self._die(process, code, signal)

    def hang(self, process: Process, *, inside: bool) -> None:
        """Let the loop of a process turn no more, inside the application or outside of it."""
        if process.serves and (process.entered is None or process.lives):
            process.hangs = True
            inside &= not process.is_mold
            if inside and process.entered is None:
                self._enter(process)

    def garble(self, process: Process) -> None:
        """Let a process say what is no word: the shell reads no more of its pipe."""
        if not process.is_garbled:
            process.told.setdefault("GARBLED", self.now)
            self._say(process, ev.PipeGarbled(process.pid, "b'?' is no word"))
            process.is_garbled = True

    def request(self, process: Process, seconds: float, *, in_thread: bool = False) -> None:
        """Let a worker be inside the application for a while; in a thread, its loop goes on to beat."""
        if not process.serves or process.hangs or process.entered is not None or process.is_mold:
            return
        process.lives = in_thread
        self._enter(process)
        process.busy_until = self.now + seconds
        self.later(seconds, lambda: self._leave(process))
        timeout = process.configuration.timeout
        if in_thread and 0 < timeout < seconds:
            entered = self.now  # it beats at once when this stretch has outlasted the timeout
            self.later(timeout, lambda: self._beat(process) if process.entered == entered else None)

    def _enter(self, process: Process) -> None:
        process.entered = self.now
        process.entered_late = process.entered_frozen = 0.0
        if not process.lives:
            process.make_progress(self.now)

    def _leave(self, process: Process) -> None:
        process.entered = None
        process.busy_until = None
        if not process.lives or process.hangs:
            self._beat(process)

    def wear(self, process: Process) -> None:
        """Let a worker ask for its replacement."""
        if process.serves and not process.is_silent and not process.is_mold and not process.dead:
            self._say(process, ev.WorkerWorn(process.pid, "it has served 1000 requests"))

    def ripen(self, process: Process) -> None:
        """Let a worker say that it could be a mold."""
        if process.serves and not process.is_silent and not process.is_mold and not process.dead:
            self._say(process, ev.WorkerRipe(process.pid))

    def heal(self) -> None:
        """Let faults stop: from now on everything boots, spawns and loads."""
        self.release = Boot.GOOD
        self.spawns_to_fail = 0
        self.is_healed = True
        self.load = Load()
        one = self.configuration
        self.configuration = Configuration(count=one.count, bounds=one.bounds, preload=one.preload)
        self.generations = {number: replace(one, is_valid=True, boots=True) for number, one in self.generations.items()}
        self.successors.heal()
        for process in self.alive():
            one = process.configuration
            is_judged = not process.is_mold and one.timeout if process.serves else one.boot_timeout
            if process.hangs and not is_judged:
                self.crash(process, None, "SIGKILL")  # nobody promises to notice it
