"""The error of the newest version, as the arbiter writes it and workers read it."""

import pytest

from pyfork.ipc import fault
from pyfork.ipc.fault import CAPACITY, ReloadFault


def test_only_older_workers_have_something_to_show() -> None:
    """A worker of a newer generation is what mends the error."""
    shared = ReloadFault()
    assert shared.since(1) is None
    shared.set(3, "é\nline")
    assert [shared.since(generation) for generation in (1, 2, 3, 4)] == ["é\nline", "é\nline", None, None]
    shared.set(4, "x")
    assert shared.since(3) == "x"
    shared.clear()
    assert shared.since(1) is None


def test_a_long_error_loses_its_middle() -> None:
    """Its beginning says what, its end where; a character may be cut."""
    shared = ReloadFault()
    shared.set(2, "begin" + "é" * CAPACITY + "end")
    found = shared.since(1)
    assert found is not None
    assert found.startswith("begin")
    assert "[...]" in found
    assert found.endswith("end")
    assert len(found) < CAPACITY


def test_any_text_can_be_written() -> None:
    """File names are not always Unicode."""
    shared = ReloadFault()
    shared.set(2, "\udc80")
    assert shared.since(1) == "\\udc80"


@pytest.mark.parametrize("is_odd", [True, False])
def test_what_is_being_written_is_not_shown(monkeypatch: pytest.MonkeyPatch, is_odd: bool) -> None:
    """A reader gives up rather than wait for a writer that was killed."""
    shared = ReloadFault()
    shared.set(2, "error")
    shared._words[fault._Word.SEQUENCE] += is_odd
    assert (shared.since(1) is None) == is_odd
