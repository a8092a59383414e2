"""Process titles."""

import pytest
import setproctitle

from pyfork.process import title as titles
from pyfork.process.title import set_title


@pytest.fixture(autouse=True)
def untitled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin with no title, and leave none behind."""
    monkeypatch.setattr(titles, "_latest", "")


@pytest.mark.parametrize(
    ("title", "shown"), [("pyfork: worker 1 GET /", "pyfork: worker 1 GET /"), ("GET /\x1b[2J", r"GET /\x1b[2J")]
)
def test_control_characters_are_escaped(monkeypatch: pytest.MonkeyPatch, title: str, shown: str) -> None:
    """Who runs ps sees what the client sent, but the terminal does not obey it."""
    calls: list[str] = []
    monkeypatch.setattr(setproctitle, "setproctitle", calls.append)
    set_title(title)
    assert calls == [shown]


def test_the_same_title_again_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync shows each request; many are alike."""
    calls: list[str] = []
    monkeypatch.setattr(setproctitle, "setproctitle", calls.append)
    for title in ("a", "a", "b", "a"):
        set_title(title)
    assert calls == ["a", "b", "a"]
