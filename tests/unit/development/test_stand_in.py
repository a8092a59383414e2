"""When nothing can be imported, the error is what is served: in the first generation, and where nothing else is left."""

from typing import Any

import pytest

from pyfork.development.stand_in import make_stand_in
from pyfork.ipc.fault import ReloadFault


def call(application: Any, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    told: list[Any] = []
    body = b"".join(application({"REQUEST_METHOD": method}, lambda *head: told.append(head)))
    [(status, headers)] = told
    return status, dict(headers), body


def test_without_the_setting_the_boot_fails() -> None:
    """As it has to in production."""
    assert make_stand_in("error", None, 1) is None


def test_the_error_is_a_page_with_the_status_of_a_failure() -> None:
    """A monitor is not to take it for the site."""
    application = make_stand_in("no module named <shop>\nTraceback", ReloadFault(), 1)
    status, headers, body = call(application)
    assert status == "500 Internal Server Error"
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Pyfork-Reload-Error"] == "no module named <shop>"
    assert b"no module named &lt;shop&gt;\nTraceback" in body
    head = call(application, "HEAD")
    assert head == (status, headers, b"")


def test_a_newer_version_that_fails_too_has_its_error_shown() -> None:
    """What was saved last is what its author looks for."""
    fault = ReloadFault()
    application = make_stand_in("old error", fault, 1)
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
    assert (make_stand_in("error", fault, generation) is not None) == is_there
