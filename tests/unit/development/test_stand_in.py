"""When nothing can be imported, the error is what is served: in the first generation, and where nothing else is left."""

import sys
from typing import Any

import pytest

from pyfork.development.stand_in import StandIn, load_or_stand_in
from pyfork.errors import ApplicationLoadError
from pyfork.ipc.fault import ReloadFault


def call(application: Any, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    told: list[Any] = []
    body = b"".join(application({"REQUEST_METHOD": method}, lambda *head: told.append(head)))
    [(status, headers)] = told
    return status, dict(headers), body


def fail() -> Any:
    raise ApplicationLoadError("no module named <shop>", "Traceback\n")


def itself(stand_in: StandIn) -> Any:
    return stand_in


def test_who_serves_no_application_has_no_page() -> None:
    """There is nobody to show it to."""
    with pytest.raises(ApplicationLoadError):
        load_or_stand_in(fail, None, ReloadFault(), 1)


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests' own process write bytecode afterwards."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def test_without_the_setting_the_boot_fails() -> None:
    """As it has to in production, where bytecode is written too."""
    with pytest.raises(ApplicationLoadError):
        load_or_stand_in(fail, itself, None, 1)
    assert load_or_stand_in(lambda: fail, itself, None, 1) is fail
    assert not sys.dont_write_bytecode


def test_an_application_that_loads_is_itself() -> None:
    """Only no bytecode is written, lest a second save within a second is not seen."""
    assert load_or_stand_in(lambda: fail, itself, ReloadFault(), 1) is fail
    assert sys.dont_write_bytecode


def test_the_error_is_a_page_with_the_status_of_a_failure() -> None:
    """A monitor is not to take it for the site."""
    application = load_or_stand_in(fail, itself, ReloadFault(), 1)
    status, headers, body = call(application)
    assert status == "500 Internal Server Error"
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Pyfork-Reload-Error"] == "no module named <shop>"
    assert b"no module named &lt;shop&gt;\nTraceback" in body
    assert call(application, "HEAD") == (status, headers, b"")


def test_a_newer_version_that_fails_too_has_its_error_shown() -> None:
    """What was saved last is what its author looks for."""
    fault = ReloadFault()
    application = load_or_stand_in(fail, itself, fault, 1)
    fault.set(2, "new error")
    assert b"new error" in call(application)[2]


@pytest.mark.parametrize(
    ("failed", "generation", "is_there"), [(0, 2, False), (2, 2, False), (3, 2, True), (2, 1, True)]
)
def test_a_tried_generation_has_none(failed: int, generation: int, is_there: bool) -> None:
    """It fails, and the last good one serves; a worker of that one which is replaced has broken files only."""
    fault = ReloadFault()
    if failed:
        fault.set(failed, "error")
    if is_there:
        assert call(load_or_stand_in(fail, itself, fault, generation))[0] == "500 Internal Server Error"
    else:
        with pytest.raises(ApplicationLoadError):
            load_or_stand_in(fail, itself, fault, generation)
