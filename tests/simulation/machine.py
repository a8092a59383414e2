"""Hypothesis plays fate: it chooses what happens to the fake world, and when."""

from dataclasses import replace
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, RuleBasedStateMachine, initialize, precondition, rule

from pyfork.arbiter import events as ev
from pyfork.arbiter.events import Verb
from pyfork.arbiter.lifecycle import ReloadState
from pyfork.arbiter.succession import PreviousCount
from tests.simulation.peace import check_peace, has_peace
from tests.simulation.processes import Boot, Configuration, Load, Process
from tests.simulation.world import STALL, World

PEACE = 400.0
"""Virtual seconds after which the last fault has to be forgotten."""

configurations = st.builds(
    Configuration,
    count=st.sampled_from((1, 2, 3, 4, 9)),
    bounds=st.sampled_from((None, None, None, None, (1, 4), (2, 6), (3, 3))),
    timeout=st.sampled_from((30.0,) * 7 + (2.0, 1.0, 0.0)),  # short ones make for many beats, and those take the time
    boot_timeout=st.sampled_from((60.0, 60.0, 5.0, 0.0)),
    graceful_timeout=st.sampled_from((30.0, 5.0, 0.0)),
    is_valid=st.sampled_from((True, True, True, False)),
    boots=st.sampled_from((True, True, True, False)),
    preload=st.booleans(),
    can_refork=st.booleans(),
)
previous_counts = st.sampled_from(
    (None, None, None, PreviousCount(3, 5, None, 2), PreviousCount(2, 1, None, -1), PreviousCount(2, 6, (2, 6), 1))
)
loads = st.builds(
    Load, utilisation=st.sampled_from((0.0, 0.3, 0.7, 0.9, 1.0, 1.0)), queued=st.sampled_from((0, 0, 5, 5000))
)
moments = st.sampled_from((0.0, 0.1, 0.3, 0.5, 1.0, 1.1, 1.5, 3.0, 10.0, 31.0, 65.0))


class ArbiterMachine(RuleBasedStateMachine):
    """The core in a world where everything goes wrong."""

    steps: ClassVar[int] = 0
    events: ClassVar[int] = 0
    world: World

    @initialize(
        configuration=configurations,
        seed=st.integers(0, 1000),
        release=st.sampled_from(Boot),
        previous=previous_counts,
    )
    def begin(self, configuration: Configuration, seed: int, release: Boot, previous: PreviousCount | None) -> None:
        fine = replace(configuration, is_valid=True, boots=True)
        release = release if seed % 8 == 0 else Boot.GOOD  # most starts succeed, or there is little to see
        self.world = World(fine, seed, release, previous)
        if seed % 4:
            self.world.run(5.0)

    def choose(self, index: int) -> Process | None:
        alive = self.world.alive()
        return alive[index % len(alive)] if alive else None

    # Time and signals.

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(
        verb=st.sampled_from(
            (
                Verb.RELOAD,
                Verb.RELOAD,
                Verb.RELOAD,
                Verb.SCALE_UP,
                Verb.SCALE_UP,
                Verb.SCALE_DOWN,
                Verb.SCALE_DOWN,
                Verb.DRAIN_WORKERS,
                Verb.REOPEN_LOGS,
                Verb.REFORK,
                Verb.UPGRADE,
            )
        )
    )
    def signal(self, verb: Verb) -> None:
        self.tell(ev.VerbReceived(verb))

    @rule(verb=st.sampled_from((Verb.STOP, Verb.STOP_NOW)), luck=st.integers(0, 9))
    def stop(self, verb: Verb, luck: int) -> None:
        if luck == 9 or self.world.laws.is_stopping:
            self.tell(ev.VerbReceived(verb))

    @rule(seconds=st.sampled_from((0.4, 0.9, 1.4, 9.0, 40.0, 200.0)), everybody=st.booleans())
    def stall(self, seconds: float, everybody: bool) -> None:
        if self.world.exit is None:
            self.world.stall(seconds, everybody=everybody)

    @rule(everybody=st.booleans())
    def stall_unnoticed(self, everybody: bool) -> None:
        """As long as nobody can notice: until just under a second after the deadline."""
        deadline = self.world.core.next_deadline()
        if self.world.exit is None and deadline is not None:
            self.world.stall(max(0.0, deadline + 0.95 * STALL - self.world.now), everybody=everybody)

    # What workers ask.

    @rule(index=st.integers(0, 20), everybody=st.booleans())
    def wear(self, index: int, everybody: bool) -> None:
        process = self.choose(index)
        if process is not None:
            for one in self.world.alive() if everybody else [process]:
                self.world.wear(one)

    @rule(index=st.integers(0, 20))
    def ripen(self, index: int) -> None:
        process = self.choose(index)
        if process is not None:
            self.world.ripen(process)

    # What takes several steps to come about, and chance alone would seldom reach.

    @rule(
        count=st.sampled_from((None, None, 3, 6)),
        release=st.sampled_from((Boot.GOOD, Boot.GOOD, Boot.SLOW, Boot.FLAKY, Boot.SAYS_WHY, Boot.HANGS)),
        patience=st.sampled_from((0.0, 0.3, 1.1, 2.2)),
        before=st.sampled_from((None, None, Verb.SCALE_UP, Verb.SCALE_DOWN)),
    )
    def reload(self, count: int | None, release: Boot, patience: float, before: Verb | None) -> None:
        if before is not None:
            self.tell(ev.VerbReceived(before))
        fine = replace(self.world.configuration, is_valid=True, boots=True)
        self.world.configuration = fine if count is None else replace(fine, count=count)
        self.world.release = release
        self.tell(ev.VerbReceived(Verb.RELOAD))
        self.world.run(patience)

    @precondition(lambda self: self.reload_state is ReloadState.REPLACING)
    @rule(
        release=st.sampled_from((Boot.GOOD, Boot.SAYS_WHY, Boot.DIES, Boot.FLAKY)),
        is_impatient=st.booleans(),
        patience=st.sampled_from((0.3, 1.1)),
    )
    def meddle_with_replacement(self, release: Boot, is_impatient: bool, patience: float) -> None:
        self.world.release = release
        if is_impatient:
            self.tell(ev.VerbReceived(Verb.RELOAD))
        self.world.run(patience)

    @precondition(lambda self: self.reload_state is ReloadState.ROLLING_BACK)
    @rule(release=st.sampled_from((Boot.GOOD, Boot.SAYS_WHY)), is_impatient=st.booleans())
    def go_on_rolling_back(self, release: Boot, is_impatient: bool) -> None:
        self.world.release = release
        if is_impatient:
            self.tell(ev.VerbReceived(Verb.RELOAD))
        self.world.run(1.1)

    @rule(is_asked=st.booleans(), patience=st.sampled_from((0.0, 0.3, 1.2)), index=st.integers(0, 20))
    def refork(self, is_asked: bool, patience: float, index: int) -> None:
        if is_asked:
            self.tell(ev.VerbReceived(Verb.REFORK))
        else:
            self.ripen(index)
        self.world.run(patience)

    @rule(
        meanwhile=st.sampled_from((None, None, Verb.RELOAD, Verb.UPGRADE, Verb.DRAIN_WORKERS, Verb.SCALE_UP)),
        patience=st.sampled_from((0.0, 0.2, 1.2, 9.0)),
        is_stopped=st.sampled_from((False,) * 7 + (True,)),
    )
    def upgrade(self, meanwhile: Verb | None, patience: float, is_stopped: bool) -> None:
        """USR2, and something else while the new arbiter starts."""
        self.tell(ev.VerbReceived(Verb.UPGRADE))
        if meanwhile is not None:
            self.tell(ev.VerbReceived(meanwhile))
        self.world.run(patience)
        if is_stopped:
            self.tell(ev.VerbReceived(Verb.STOP))

    @rule(
        load=loads,
        verb=st.sampled_from((None, Verb.SCALE_UP, Verb.SCALE_DOWN)),
        seconds=st.sampled_from((0.0, 3.3, 9.0, 45.0)),
    )
    def put_under_load(self, load: Load, verb: Verb | None, seconds: float) -> None:
        if verb is not None:
            self.tell(ev.VerbReceived(verb))
        self.world.load = load
        self.world.run(seconds)

    @rule(
        index=st.integers(0, 20),
        rest=st.sampled_from((0.5, 12.0, 20.0)),
        stalled=st.sampled_from((1.4, 40.0)),
        everybody=st.booleans(),
    )
    def stall_in_a_request(self, index: int, rest: float, stalled: float, everybody: bool) -> None:
        """A worker whose loop lives has a request that takes long, and the machine stands still in the middle of it."""
        self.request(index, 50.0, in_thread=True)
        self.world.run(rest)
        self.stall(stalled, everybody)
        self.world.run(rest)

    @rule(
        release=st.sampled_from((Boot.SAYS_WHY, Boot.DIES, Boot.FLAKY)),
        seconds=st.sampled_from((8.0, 70.0, 140.0)),
        is_stopped=st.sampled_from((False, False, False, True)),
    )
    def lose_what_cannot_boot_again(self, release: Boot, seconds: float, is_stopped: bool) -> None:
        """What is on the disk does not boot any more, and workers die of something else."""
        self.world.release = release
        for process in self.world.alive()[:2]:
            self.world.crash(process, None, "SIGKILL")
        self.world.run(seconds)
        if is_stopped:
            self.tell(ev.VerbReceived(Verb.STOP))

    # Faults.

    @rule(how=st.sampled_from(("dies", "hangs", "is stubborn")))
    def spoil_upgrade(self, how: str) -> None:
        new = self.world.successors.present
        if new is None:
            return
        if how == "dies":
            self.world.successors.die(new, None, "SIGSEGV")
        else:
            new.hangs = True
            new.is_stubborn = how == "is stubborn"

    @rule(
        how=st.sampled_from(("dies", "hangs")),
        is_missed=st.booleans(),
        index=st.integers(0, 20),
        patience=st.sampled_from((0.3, 0.3, 31.0)),
    )
    def lose_mold(self, how: str, is_missed: bool, index: int, patience: float) -> None:
        """A mold ends or stops, and is asked for a worker in the same moment."""
        for mold in [one for one in self.world.alive() if one.is_mold]:
            if how == "dies":
                self.world.crash(mold, None, "SIGKILL")
            else:
                self.world.hang(mold, inside=False)
        if is_missed:
            self.crash(index, (None, "SIGKILL"))
        self.world.run(patience)

    @rule(release=st.sampled_from(Boot))
    def deploy(self, release: Boot) -> None:
        self.world.release = release

    @rule(configuration=configurations)
    def configure(self, configuration: Configuration) -> None:
        self.world.configuration = configuration

    @rule(number=st.sampled_from((0, 1, 2, 5)))
    def refuse_forks(self, number: int) -> None:
        self.world.spawns_to_fail = number

    @rule(index=st.integers(0, 20), how=st.sampled_from(((0, None), (1, None), (None, "SIGKILL"), (None, "SIGSEGV"))))
    def crash(self, index: int, how: tuple[int | None, str | None]) -> None:
        process = self.choose(index)
        if process is not None:
            self.world.crash(process, *how)

    @rule(index=st.integers(0, 20), inside=st.booleans())
    def hang(self, index: int, inside: bool) -> None:
        process = self.choose(index)
        if process is not None:
            self.world.hang(process, inside=inside)

    @rule(
        index=st.integers(0, 20),
        seconds=st.sampled_from((0.1, 2.0, 20.0, 29.0, 50.0, 300.0)),
        in_thread=st.booleans(),
    )
    def request(self, index: int, seconds: float, in_thread: bool) -> None:
        process = self.choose(index)
        if process is not None:
            self.world.request(process, seconds, in_thread=in_thread)

    @rule(index=st.integers(0, 20), patience=st.sampled_from((0.0, 0.3, 1.1)))
    def garble(self, index: int, patience: float) -> None:
        process = self.choose(index)
        if process is not None:
            self.world.garble(process)
            self.world.run(patience)

    @rule(index=st.integers(0, 20))
    def make_stubborn(self, index: int) -> None:
        process = self.choose(index)
        if process is not None:
            process.is_stubborn = True

    # Ends.

    @rule()
    def find_peace(self) -> None:
        world = self.world
        world.heal()
        deadline = world.now + PEACE
        looks = 0  # a ripe worker becomes a mold up to a pause later: one look is not enough
        while world.now < deadline and looks < 2:
            world.run(20.0)
            looks = looks + 1 if has_peace(world.laws) else 0
        if not world.laws.is_stopping:
            check_peace(world.laws)
            workers = world.core.statistics().workers
            world.run(31.0)
            assert world.core.statistics().workers == workers, "peace does not last"

    @precondition(lambda self: self.world.exit is not None)
    @rule(configuration=configurations, seed=st.integers(0, 1000), previous=previous_counts)
    def begin_again(self, configuration: Configuration, seed: int, previous: PreviousCount | None) -> None:
        self.note_events()
        self.begin(configuration, seed, Boot.GOOD, previous)

    def teardown(self) -> None:
        """Stopping always ends, whatever the workers do about it."""
        if not hasattr(self, "world"):
            return  # no world came about
        if self.world.exit is None and self.world.is_sound:
            longest = max(one.graceful_timeout for one in self.world.configurations())
            self.tell(ev.VerbReceived(Verb.STOP))
            self.world.run(longest + 5.0)
            assert self.world.exit is not None, "the stop does not end"
        self.note_events()

    @property
    def reload_state(self) -> ReloadState:
        return self.world.core.statistics().reload

    def tell(self, event: ev.Event) -> None:
        if self.world.exit is None:
            self.world.tell(event)

    def note_events(self) -> None:
        type(self).events += self.world.events

    def check_invariants(self, *args: object, **keywords: object) -> None:
        """Count the steps (hypothesis calls this after each)."""
        type(self).steps += 1
        super().check_invariants(*args, **keywords)


COMMON = frozenset({"wait", "signal", "stop", "crash", "refuse_forks", "find_peace", "begin_again"})
"""Rules that every subject needs."""
SUBJECTS = {
    "reloads": {
        "lose_what_cannot_boot_again",
        "reload",
        "meddle_with_replacement",
        "go_on_rolling_back",
        "deploy",
        "configure",
    },
    "molds": {"reload", "refork", "ripen", "wear", "lose_mold", "garble", "deploy"},
    "upgrades": {"reload", "upgrade", "spoil_upgrade", "request"},
    "requests": {
        "request",
        "hang",
        "garble",
        "make_stubborn",
        "stall",
        "stall_unnoticed",
        "stall_in_a_request",
        "reload",
    },
    "loads": {"put_under_load", "configure", "reload", "upgrade", "request"},
}
"""What a machine may dwell upon: the rules that it has beside those that every one has.

Among all the rules those of one subject seldom follow one another; what takes three of them in a row is met sooner here.
"""


def machine_for(subject: str | None) -> type[ArbiterMachine]:
    """Return a machine that dwells upon one of `SUBJECTS`, None for one that does everything; it counts for itself."""
    names = {name for name, value in vars(ArbiterMachine).items() if hasattr(value, RULE_MARKER)}
    unknown = (COMMON | set().union(*SUBJECTS.values())) - names
    assert not unknown, f"there are no rules {unknown}"
    left_out = set() if subject is None else names - COMMON - SUBJECTS[subject]
    return type(f"MachineFor_{subject}", (ArbiterMachine,), {"steps": 0, "events": 0} | dict.fromkeys(left_out))
