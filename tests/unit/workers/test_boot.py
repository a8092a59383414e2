"""What a class must be to be a worker type, and how its life ends."""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyfork.config.schema import ServerSettings, Settings
from pyfork.errors import ApplicationLoadError, BootError
from pyfork.ipc.exits import ExitStatus
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
    handoff = SimpleNamespace(heartbeat_fd=-1, settings=Settings())
    assert boot.worker_main(handoff) is status  # type: ignore[arg-type]
    assert {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2} <= {*disregarded}
