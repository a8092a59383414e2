"""Process titles."""

import pytest
import setproctitle

from pyfork.process.title import set_title


@pytest.mark.parametrize(
    ("title", "shown"), [("pyfork: worker 1 GET /", "pyfork: worker 1 GET /"), ("GET /\x1b[2J", r"GET /\x1b[2J")]
)
def test_control_characters_are_escaped(monkeypatch: pytest.MonkeyPatch, title: str, shown: str) -> None:
    """Who runs ps sees what the client sent, but the terminal does not obey it."""
    calls: list[str] = []
    monkeypatch.setattr(setproctitle, "setproctitle", calls.append)
    set_title(title)
    assert calls == [shown]
