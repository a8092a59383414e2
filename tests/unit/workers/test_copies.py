"""Who is told of forks, and of which. (Forks themselves are tests/process/test_forking_applications.py's and
test_refork.py's.)"""

import os
import signal
from collections.abc import Callable

import pytest

from pyfork.workers import copies


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[set[signal.Signals]]]:
    """Do what the interpreter does around a fork; return the masks before, in between and after it."""
    registered: list[dict[str, Callable[[], None]]] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **functions: registered.append(functions))
    monkeypatch.setattr(copies, "_watch", copies._Watch())

    def run() -> list[set[signal.Signals]]:
        masks = [blocked()]
        for functions in reversed(registered):
            if "before" in functions:
                functions["before"]()
        masks.append(blocked())
        for functions in registered:
            functions["after_in_child"]()
        masks.append(blocked())
        assert len(registered) <= 2, "registered once, however many workers were watched"
        return masks

    return run


def blocked() -> set[signal.Signals]:
    """Return the signals that are blocked."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # type: ignore[arg-type]


def test_only_the_worker_that_is_watched_is_told(fork: Callable[[], list[set[signal.Signals]]]) -> None:
    """A mold's forks tell nobody, and those of its worker tell that one, not the one that the mold was made of."""
    told: list[str] = []
    copies.watch_copies(lambda: told.append("first"))
    before, within, after = fork()
    assert signal.SIGTERM in within
    assert before == after
    assert told == ["first"]
    unwatched = copies.unwatch_copies()
    assert unwatched is not None
    assert fork() == [before] * 3
    assert told == ["first"]
    copies.watch_copies(lambda: told.append("second"))
    fork()
    assert told == ["first", "second"]
    copies.unwatch_copies()
    copies.watch_copies(unwatched)
    fork()
    assert told == ["first", "second", "first"]
