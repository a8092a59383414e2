"""What is told of a request that outlasts its time, without a greenlet."""

import logging
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pyfork.connection.patience import STALL_PATIENCE, Lag
from pyfork.workers.visits import OverdueRequests, Visits, _Visit, format_stack


class Request:
    method, path = "GET", b"/a\x1b"

    def __init__(self, entered: float) -> None:
        self.entered = entered


class Active:
    """The oldest request, as the test says."""

    def __init__(self) -> None:
        self.request: Request | None = None

    def oldest(self) -> Request | None:
        return self.request


class Stacks:
    def stack_of(self, progress: Request) -> str:
        return "  File ..."


def test_a_stack_is_written_as_faulthandler_does() -> None:
    """The latest call first; a greenlet that runs, or has not begun, has none."""
    lines = format_stack(sys._getframe()).splitlines()
    assert re.fullmatch(
        r'  File ".*test_visits\.py", line \d+ in test_a_stack_is_written_as_faulthandler_does', lines[0]
    )
    assert len(lines) > 3
    assert format_stack(None) == ""


def test_each_overdue_request_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """When it has outlasted the time, not before."""
    active: Any = Active()
    stacks: Any = Stacks()
    overdue = OverdueRequests(active, stacks, 30.0)
    assert overdue.next_deadline() == float("inf")
    assert not overdue.tell(1e9)
    active.request = Request(100.0)
    assert overdue.next_deadline() == 130.0
    assert not overdue.tell(129.9)
    assert overdue.tell(130.0)
    assert not overdue.tell(131.0)
    assert overdue.next_deadline() == float("inf")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "stuck in GET /a\\x1b; its greenlet (most recent call first):\n  File ..."
    active.request = Request(200.0)
    assert overdue.tell(230.0)


def test_a_hub_that_did_not_run_gives_requests_one_more_turn(caplog: pytest.LogCaptureFixture) -> None:
    """After a stop of the process all of them look overdue, and most have only waited for the hub."""
    active: Any = Active()
    stacks: Any = Stacks()
    overdue = OverdueRequests(active, stacks, 30.0)
    active.request = Request(100.0)
    assert not overdue.tell(140.0)
    active.request = Request(139.0)
    assert not overdue.tell(140.1)
    active.request = Request(150.0)
    assert not overdue.tell(190.0)
    assert not caplog.records
    assert overdue.tell(190.1)
    assert len(caplog.records) == 1


def test_a_timeout_of_zero_is_none() -> None:
    """Nothing is ever overdue, nor is what has just left the application."""
    active: Any = Active()
    stacks: Any = Stacks()
    active.request = Request(100.0)
    assert OverdueRequests(active, stacks, 0.0).next_deadline() == float("inf")
    active.request = Request(0.0)
    assert OverdueRequests(active, stacks, 30.0).next_deadline() == float("inf")


class Sock:
    """Notes that nobody may send any more."""

    is_silenced = False

    def shutdown(self, how: int) -> None:
        self.is_silenced = True


def visit(*, yields_at: float = float("inf"), since: float | None = None, lag: Lag | None = None) -> Any:
    """A connection that may yield from a moment on, or waits to send since one and lags behind."""
    limits: list[float] = []
    uptake = None if since is None else SimpleNamespace(since=since, lag=lambda now: lag)
    place: Any = SimpleNamespace(limits=limits, limit=limits.append, uptake=uptake)
    shell: Any = SimpleNamespace(may_yield_at=yields_at, is_idle=True, remote="192.0.2.1", sock=Sock())
    return _Visit(shell, place)


def test_readers_make_way_when_too_few_wait_for_requests() -> None:
    """Those that have taken the least, and none that has just begun to read."""
    hub = SimpleNamespace(SYSTEM_ERROR=(), NOT_ERROR=())
    visits: Any = Visits(SimpleNamespace(get_hub=lambda: hub), SimpleNamespace(), lambda *_: None)  # type: ignore[arg-type]
    now = 1000.0
    idle = visit(yields_at=now)
    slow = visit(since=now - 9, lag=Lag(True, 0, 9.0, 0))
    much, little = (visit(since=now - 9, lag=Lag(False, taken, 9.0, 0)) for taken in (5000, 1000))
    keeping_up = visit(since=now - 9)
    young = visit(since=now - STALL_PATIENCE + 0.01, lag=Lag(False, 0, 0.0, 0))
    everybody = [slow, much, young, idle, little, keeping_up, visit()]
    visits._visits = dict(enumerate(everybody))

    def silenced() -> list[Any]:
        return [each for each in everybody if each.shell.sock.is_silenced]

    visits.make_room(now, 1)
    assert (idle.place.limits, silenced()) == ([0.0], [])
    visits.make_room(now, 2)
    assert silenced() == [little]
    visits.make_room(now, 3)
    assert silenced() == [much, little]
    visits.make_room(now, 9)
    assert silenced() == [slow, much, little]
