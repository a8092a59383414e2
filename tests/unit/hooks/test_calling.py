"""What becomes of what a hook raises."""

import logging

import pytest

from pyfork.errors import HookError, QuitNow
from pyfork.hooks.calling import Hook


def raising(error):
    def function(*_):
        raise error

    return function


def test_it_is_called_with_its_arguments():
    """By position."""
    found = []
    Hook("worker_ready", "a:b", lambda *arguments: found.append(arguments)).call(1, 2, 3)
    assert found == [(1, 2, 3)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_what_it_raises_becomes_one_kind_of_error(error):
    """That says which hook it was and what follows, and keeps the reason."""
    with pytest.raises(HookError, match=r"^the hook worker_ready \(a:b\) ") as found:
        Hook("worker_ready", "a:b", raising(error)).call()
    assert found.value.__cause__ is error
    assert found.value.consequence == "the worker does not boot"


def test_an_order_to_end_at_once_passes():
    """It is no failure."""
    for call in (Hook("worker_exit", "a:b", raising(QuitNow())).call, Hook("a", "b", raising(QuitNow())).call_safely):
        with pytest.raises(QuitNow):
            call()


def test_where_it_stops_nothing_the_log_has_it(caplog):
    """With the traceback, which begins in the hook."""
    with caplog.at_level(logging.ERROR, logger="pyfork.error"):
        Hook("worker_exit", "a:b", raising(ValueError("no"))).call_safely()
        Hook("worker_exit", "a:b", lambda: None).call_safely()
    [record] = caplog.records
    assert record.getMessage() == "the hook worker_exit (a:b) raised ValueError: no; nothing is stopped by that"
    assert "pyfork/hooks" not in caplog.text
    assert "in function" in caplog.text


def test_an_error_without_a_cause_is_its_own():
    """Nobody trips over an exception that was made by hand."""
    error = HookError("a", "b")
    assert error.exc_info() == (HookError, error, None)
