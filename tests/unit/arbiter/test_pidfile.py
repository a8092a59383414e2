"""What the system refuses a pidfile keeps nobody from serving."""

import os
from pathlib import Path
from typing import Any

import pytest

from pyfork.arbiter import pidfile as module
from pyfork.arbiter.pidfile import Pidfile


def refuse(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_cannot_be_written_changes_hands_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is in charge does not depend on it; the log says that the file is wrong."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    monkeypatch.setattr(module, "_write", refuse)
    pidfile.hand_over(4321)
    assert not pidfile.is_ours
    pidfile.take_over()
    assert pidfile.is_ours
    assert "cannot be written to name pid 4321: No space left on device" in caplog.text
    pidfile.release()
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its directory may be root's; a stop is a stop."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    monkeypatch.setattr(module.os, "unlink", refuse)
    pidfile.release()
    assert "cannot be removed" in caplog.text


def test_a_file_that_is_gone_is_what_was_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to tell."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    os.unlink(tmp_path / "pid")
    pidfile.release()
    assert caplog.text == ""
