"""What a class must be to be a worker type, and how its life ends."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyfork.config.schema import ServerSettings, Settings
from pyfork.errors import ApplicationLoadError, BootError, HookError, QuitNow
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import BootReport, FailureKind
from pyfork.process.signals import raise_in_main_thread, unwinding
from pyfork.workers import boot
from pyfork.workers.base import NO_HOOKS, Worker
from pyfork.workers.boot import load_application_for, load_worker_type
from pyfork.workers.sync import SyncWorker

OWN = """
from pyfork.workers.base import Worker

class Whole(Worker):
    needs_application = False
    def run(self):
        pass

class Idle(Worker):
    pass

class Unbooted(Worker):
    def run(self):
        pass

class Bare(Worker):
    needs_application = False

NOT_A_CLASS = 1
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's with some worker classes."""
    (tmp_path / "own_workers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_workers", raising=False)
    return "own_workers"


def test_types_of_ours_and_of_the_users_are_loaded(own: str) -> None:
    """Both are subclasses of `Worker`."""
    assert load_worker_type("pyfork.workers.sync:SyncWorker") is SyncWorker
    assert issubclass(load_worker_type(f"{own}:Whole"), Worker)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Idle", "own_workers:Idle does not define boot and run"),
        ("Unbooted", "own_workers:Unbooted does not define boot$"),
        ("Bare", "own_workers:Bare does not define run$"),
        ("NOT_A_CLASS", "own_workers:NOT_A_CLASS is not a subclass of pyfork.workers.base.Worker"),
        ("OWN", "has no attribute 'OWN'"),
    ],
)
def test_class_that_is_no_worker_type_is_refused(own: str, name: str, message: str) -> None:
    """Before it is made one of."""
    with pytest.raises(ApplicationLoadError, match=message):
        load_worker_type(f"{own}:{name}")


def test_application_is_loaded_for_types_that_serve_one(own: str) -> None:
    """And for no other; who needs one and has none learns it by a name."""
    settings = Settings(server=ServerSettings(app="json:loads"))
    assert load_application_for(SyncWorker, settings) is sys.modules["json"].loads
    assert load_application_for(load_worker_type(f"{own}:Whole"), settings) is None
    with pytest.raises(BootError, match=r"workers of type sync serve an application, and server\.app names none"):
        load_application_for(SyncWorker, Settings())


@pytest.mark.parametrize(("failure", "status"), [(None, ExitStatus.OK), (ValueError("odd"), ExitStatus.FAILURE)])
def test_signals_do_nothing_to_a_worker_that_ends(
    monkeypatch: pytest.MonkeyPatch, failure: Exception | None, status: ExitStatus
) -> None:
    """Python gives the handlers back while it ends: the arbiter's USR1 would then be what ended a worker that failed."""

    def run() -> None:
        if failure is not None:
            raise failure

    disregarded: list[signal.Signals] = []
    worker = SimpleNamespace(run=run, close=lambda: None, hooks=NO_HOOKS)
    monkeypatch.setattr(boot, "Heartbeat", lambda *_: None)
    monkeypatch.setattr(boot, "_boot_worker", lambda *_: worker)
    monkeypatch.setattr(boot, "disregard", disregarded.extend)
    monkeypatch.setattr(unwinding, "is_over", False)
    handoff = SimpleNamespace(heartbeat_fd=-1, settings=Settings())
    assert boot.worker_main(handoff) is status  # type: ignore[arg-type]
    assert unwinding.is_over
    assert {signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2} <= {*disregarded}


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Iterator[signal.Signals]:
    """A signal that ends at once what lives in `boot.live`; all is as it was after the test."""
    number = signal.SIGUSR1
    before = signal.getsignal(number)
    monkeypatch.setattr(unwinding, "is_over", False)
    monkeypatch.setattr(boot, "disregard", lambda _: None)
    raise_in_main_thread(number, QuitNow)
    yield number
    signal.signal(number, before)


class Telling:
    """A heartbeat pipe that is told of a failure, and hit by an order meanwhile."""

    def __init__(self, order: signal.Signals) -> None:
        self.order = order
        self.reports: list[BootReport] = []

    def report_failure(self, report: BootReport) -> None:
        signal.raise_signal(self.order)
        self.reports.append(report)


@pytest.mark.parametrize(
    ("failure", "status", "kind", "message", "traceback"),
    [
        (ApplicationLoadError("no shop", "Traceback: x"), 4, FailureKind.APPLICATION, "no shop", "Traceback: x"),
        (BootError("no user"), 3, FailureKind.BOOT, "no user", ""),
        (OSError("no socket"), 3, FailureKind.BOOT, "no socket", ""),
        (HookError("the hook raised", "so what"), 3, FailureKind.BOOT, "the hook raised", "Traceback (most recent"),
        (KeyError("ours"), 3, FailureKind.BOOT, "KeyError: 'ours'", "Traceback (most recent"),
    ],
)
def test_an_order_does_not_disturb_the_report_of_a_failure(
    orders: signal.Signals, failure: Exception, status: int, kind: FailureKind, message: str, traceback: str
) -> None:
    """Those who boot beside a worker that could not are told to end, and may be about to say the same."""

    def fail() -> None:
        raise failure

    heartbeat = Telling(orders)
    assert boot.live(lambda: boot.boot(heartbeat, fail)) == status  # type: ignore[arg-type,return-value]
    [report] = heartbeat.reports
    assert (report.kind, report.message) == (kind, message)
    assert report.traceback.startswith(traceback)
    assert bool(report.traceback) == bool(traceback)


def test_an_order_ends_a_boot_wherever_it_is(orders: signal.Signals) -> None:
    """By an exception that nobody reports, also between two steps, and what comes later does nothing."""
    heartbeat = Telling(orders)

    def be_ended() -> ExitStatus:
        signal.raise_signal(orders)
        return ExitStatus.FAILURE

    assert boot.live(lambda: boot.boot(heartbeat, be_ended)) is ExitStatus.OK  # type: ignore[arg-type]
    assert boot.live(be_ended) is ExitStatus.FAILURE, "it has been over since"
    assert heartbeat.reports == []


def test_an_order_that_a_boot_has_lost_ends_it(orders: signal.Signals) -> None:
    """The application may catch everything."""

    def swallow() -> None:
        with contextlib.suppress(QuitNow):
            signal.raise_signal(orders)

    assert boot.live(lambda: boot.boot(Telling(orders), swallow)) is ExitStatus.OK  # type: ignore[arg-type,return-value]


def test_what_of_ours_cannot_be_imported_is_told_with_the_reason(
    orders: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers' user cannot read Python's library: frames of ours would tell nobody what to do."""
    monkeypatch.setattr(boot, "tell_unreadable", lambda _: "; user 'shop' cannot read /closed")
    heartbeat = Telling(orders)

    def fail() -> None:
        raise ModuleNotFoundError("No module named 'x'")

    assert boot.live(lambda: boot.boot(heartbeat, fail)) is ExitStatus.BOOT  # type: ignore[arg-type,return-value]
    message = "ModuleNotFoundError: No module named 'x'; user 'shop' cannot read /closed"
    assert heartbeat.reports == [BootReport(FailureKind.BOOT, message, "")]
