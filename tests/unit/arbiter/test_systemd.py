"""What the environment says of the service manager; the socket itself is tested with real processes."""

import os

import pytest

from pyfork.arbiter.figures import Look
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.systemd import Notifier


def never() -> Look:
    raise AssertionError("nobody listens, so nobody needs to look")


def test_nobody_listens_without_a_socket() -> None:
    """Then nothing is looked at, and the arbiter is never woken."""
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000", "FDSTORE": "5"})
    notifier.state_changed(ArbiterState.RUNNING, never)
    notifier.reload_asked()
    notifier.on_time(never)
    notifier.keep(())
    notifier.take_over((), never)
    assert notifier.next_deadline() is None
    assert notifier.environment() == {}
    assert notifier.hand_over(1)
    notifier.close()


def test_the_variables_are_taken_out_of_the_environment() -> None:
    """Workers run the application, which must not speak in the arbiter's name."""
    environ = {
        "NOTIFY_SOCKET": "",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "FDSTORE": "5",
        "FDSTORE_NAMES": "pyfork-x",
        "LISTEN_PID": "1",
        "HOME": "/",
    }
    Notifier.from_environment(environ)
    assert environ == {"LISTEN_PID": "1", "HOME": "/"}


def test_a_socket_of_another_kind_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """vsock: is for virtual machines; a relative path is a slip."""
    for text in ("vsock:2:1234", "notify", "@"):
        assert Notifier.from_environment({"NOTIFY_SOCKET": text}).next_deadline() is None
        assert f"NOTIFY_SOCKET={text!r}" in caplog.text


@pytest.mark.parametrize(
    ("usec", "pid", "is_watched"),
    [
        ("2000000", "ours", True),
        ("2000000", "", True),
        ("2000000", "1", False),
        ("0", "", False),
        ("often", "", False),
        ("", "", False),
    ],
)
def test_the_watchdog_may_be_meant_for_somebody_else(usec: str, pid: str, is_watched: bool) -> None:
    """$WATCHDOG_PID says for whom: a child of the service must not feed it."""
    pid = str(os.getpid()) if pid == "ours" else pid
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert ("WATCHDOG_USEC" in notifier.environment()) is is_watched
    notifier.abandon()


def test_what_systemd_keeps_already_is_read_from_what_it_passed() -> None:
    """By our names; those of socket units are others', and so are names that were passed to another process."""
    environ = {
        "NOTIFY_SOCKET": "@abstract",
        "FDSTORE": "8",
        "LISTEN_FDNAMES": "pyfork.socket:pyfork-tcp-127.0.0.1%3A80",
    }
    notifier = Notifier.from_environment({**environ, "LISTEN_PID": str(os.getpid()), "FDSTORE_NAMES": "pyfork-unix-/x"})
    assert notifier.environment() == {
        "NOTIFY_SOCKET": "@abstract",
        "FDSTORE": "8",
        "FDSTORE_NAMES": "pyfork-tcp-127.0.0.1%3A80:pyfork-unix-/x",
    }
    notifier.abandon()
    stranger = Notifier.from_environment({**environ, "LISTEN_PID": "1"})
    assert stranger.environment()["FDSTORE_NAMES"] == ""
    stranger.abandon()
