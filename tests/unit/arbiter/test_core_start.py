"""The first start: what begins it, what ends it."""

from pyfork.arbiter.actions import Exit, Level, SpawnWorker, StopAccepting
from pyfork.arbiter.events import FailureKind, Started, Verb
from pyfork.arbiter.lifecycle import ArbiterState, WorkerState
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import Script, kill, plan, term


def test_all_workers_are_spawned_at_once() -> None:
    """The first start needs no care: nobody serves yet."""
    script = Script(plan(count=3))
    assert script.tell(Started()) == [SpawnWorker(0, 1), SpawnWorker(1, 1), SpawnWorker(2, 1)]
    assert script.core.statistics().state is ArbiterState.STARTING


def test_first_ready_worker_ends_the_start() -> None:
    """From the first ready worker on, a boot failure is no reason to end."""
    script = Script()
    script.tell(Started())
    assert script.ready(100) == []
    assert script.core.statistics().state is ArbiterState.RUNNING
    assert script.boot_fails(101) == []
    assert script.core.statistics().state is ArbiterState.RUNNING


def test_application_that_does_not_import_ends_the_start_with_4() -> None:
    """One traceback, everybody is told to end, status 4."""
    script = Script()
    script.tell(Started())
    assert script.boot_fails(100, trace="Traceback (most recent call last)\n  shop.py\n") == [
        StopAccepting(),
        term(101),
    ]
    assert script.boot_fails(101, trace="Traceback (most recent call last)\n  shop.py\n") == []
    assert script.exits(101, 4) == []
    assert script.exits(100, 4) == [Exit(ExitStatus.APPLICATION)]
    [message] = script.messages(Level.CRITICAL)
    assert "worker 0 gen 1 (pid 100) could not boot: no module named shop\nTraceback" in message
    assert message.endswith("shop.py\nno worker has ever been ready: pyfork ends")


def test_other_boot_failure_ends_the_start_with_3() -> None:
    """Privileges, directories, descriptors: not the application's fault."""
    script = Script(plan(count=1))
    script.tell(Started())
    assert script.boot_fails(100, FailureKind.BOOT) == [StopAccepting()]
    assert script.exits(100, 3) == [Exit(ExitStatus.BOOT)]


def test_silent_death_in_the_first_boot_ends_the_start() -> None:
    """A worker that dies without a word counts as a boot failure; a status of 4 tells which."""
    for code, signal, status, words in (
        (1, None, ExitStatus.BOOT, "exited with status 1 before it was ready"),
        (None, "SIGSEGV", ExitStatus.BOOT, "was ended by SIGSEGV"),
        (4, None, ExitStatus.APPLICATION, "the application could not be loaded"),
    ):
        script = Script(plan(count=1))
        script.tell(Started())
        assert script.exits(100, code, signal) == [StopAccepting(), Exit(status)]
        assert script.says(Level.CRITICAL, words)


def test_first_boot_that_hangs_ends_the_start_after_its_stacks() -> None:
    """boot_timeout at the first start: the stacks say where it hangs, then everybody goes."""
    script = Script(plan(count=1, boot_timeout=60))
    script.tell(Started())
    assert script.core.next_deadline() == 60
    orders = script.time(60)
    assert [type(order).__name__ for order in orders] == ["DumpStacks", "StopAccepting"]
    assert script.says(Level.CRITICAL, "not ready within 60 s (workers.boot_timeout)")
    assert script.time(61) == [kill(100)]
    assert script.killed(100) == [Exit(ExitStatus.BOOT)]


def test_boots_that_hang_together_are_reported_once() -> None:
    """All are dumped, one is named."""
    script = Script(plan(count=2, boot_timeout=60))
    script.tell(Started())
    assert [type(order).__name__ for order in script.time(60)] == ["DumpStacks", "StopAccepting", "DumpStacks"]
    assert len(script.messages(Level.CRITICAL)) == 1


def test_boot_without_a_limit_may_take_for_ever() -> None:
    """boot_timeout 0 is never."""
    script = Script(plan(boot_timeout=0))
    script.tell(Started())
    assert script.core.next_deadline() is None
    assert script.time(1e6) == []


def test_refused_fork_ends_the_start_when_the_others_are_gone() -> None:
    """A worker that was ordered in the same breath is spawned all the same, and told to end as soon as it is."""
    script = Script()
    script.refusals = 1
    assert script.tell(Started()) == [SpawnWorker(0, 1), StopAccepting(), SpawnWorker(1, 1), term(101)]
    assert script.says(Level.CRITICAL, "worker 0 gen 1 could not be forked", "Cannot allocate memory")
    assert script.exits(101) == [Exit(ExitStatus.BOOT)]


def test_refused_fork_after_the_start_was_given_up_is_only_noted() -> None:
    """Two refusals, one line, one exit."""
    script = Script()
    script.refusals = 2
    assert script.tell(Started()) == [
        SpawnWorker(0, 1),
        StopAccepting(),
        SpawnWorker(1, 1),
        Exit(ExitStatus.BOOT),
    ]
    assert len(script.messages(Level.CRITICAL)) == 1


def test_hup_waits_until_the_start_has_succeeded() -> None:
    """There is no old generation yet that a failed reload could leave serving."""
    script = Script()
    script.tell(Started())
    assert script.verb(Verb.RELOAD) == []
    assert script.says(Level.INFO, "reload: it begins when")
    assert [type(order).__name__ for order in script.ready(100)] == ["LoadConfiguration"]


def test_winch_during_the_start_is_no_failure() -> None:
    """Workers that were told to end have not failed to boot; HUP brings them back."""
    script = Script(plan(count=1))
    script.tell(Started())
    assert script.verb(Verb.DRAIN_WORKERS) == [term(100)]
    assert script.exits(100) == []
    assert script.core.statistics().state is ArbiterState.STARTING
    assert script.verb(Verb.RELOAD) == [SpawnWorker(0, 1)]


def test_shell_may_answer_late() -> None:
    """A mold will answer a spawn later: until then the place counts as filled, and nobody is signalled."""
    script = Script(plan(count=1))
    script.is_shell_slow = True
    [spawn] = script.tell(Started())
    assert script.verb(Verb.REOPEN_LOGS) != []
    assert script.verb(Verb.STOP) == [StopAccepting()]
    assert script.tell(script.spawn_answer(spawn)) == [term(100)]
    assert script.state_of(100) is WorkerState.DRAINING
