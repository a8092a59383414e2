"""What the scratch process does, short of being one."""

import pytest

from pyfork.cli import scratch
from pyfork.config.schema import ServerSettings, Settings, WorkerSettings
from pyfork.errors import ApplicationLoadError, BootError
from pyfork.ipc.exits import ExitStatus

SETTINGS = Settings(server=ServerSettings(app="shop:app", user="www", group="web"))


@pytest.fixture
def calls(monkeypatch):
    """Stand in for what would change this process."""
    found = []
    monkeypatch.setattr(scratch, "confine", lambda server: found.append((server.user, server.group)))
    monkeypatch.setattr(scratch, "enter_application_directory", lambda server: found.append(server.app))
    monkeypatch.setattr(scratch, "load_application_for", lambda _, settings: found.append(settings.server.app))
    return found


def test_it_becomes_what_a_worker_would_become(calls):
    """Privileges go before any code of the user's runs."""
    assert scratch.try_import(SETTINGS) == ExitStatus.OK
    assert calls == [("www", "web"), "shop:app", "shop:app"]
    calls.clear()
    assert scratch.try_import(Settings()) == ExitStatus.OK
    assert calls == [(None, None), None, None]


def test_a_worker_class_of_the_users_own_comes_after_the_change_of_directory(calls, monkeypatch):
    """It is the user's code, in the user's directory; a type of ours is ours."""
    monkeypatch.setattr(scratch, "load_worker_type", calls.append)
    assert scratch.try_import(Settings(workers=WorkerSettings(type="shop.workers.Own"))) == ExitStatus.OK
    assert calls == [(None, None), None, "shop.workers:Own", None]
    calls.clear()
    assert scratch.try_import(Settings()) == ExitStatus.OK
    assert calls[:2] == ["pyfork.workers.sync:SyncWorker", (None, None)]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ApplicationLoadError("no such module", "Traceback\n"), 4, "pyfork: error: no such module\nTraceback\n"),
        (BootError("server.chdir: gone"), 2, "pyfork: error: server.chdir: gone\n"),
        (KeyboardInterrupt(), 4, "KeyboardInterrupt\n"),
    ],
)
def test_what_goes_wrong_is_told(calls, monkeypatch, capsys, error, status, message):
    """On standard error, and by the status."""

    def fail(*_):
        raise error

    monkeypatch.setattr(scratch, "load_application_for", fail)
    assert scratch.try_import(SETTINGS) == status
    assert capsys.readouterr().err.endswith(message)
