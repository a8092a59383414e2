"""What the shell of an upgrade refuses before anything is forked. (The rest takes real processes.)"""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from pyfork.arbiter.events import UpgradeRefused
from pyfork.arbiter.launch import Launch
from pyfork.arbiter.upgrade import UpgradeCallbacks, Upgrades


def test_process_1_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container ends with its process 1; the operator is told what to do instead."""
    callbacks = UpgradeCallbacks(variables=dict, handing_over=lambda _pid: None, taken_over=lambda: None)
    upgrades = Upgrades(Launch(("pyfork",), "/", {}), None, None, callbacks)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    generation: Any = None
    refused = upgrades.start(generation, 2, 0)
    assert isinstance(refused, UpgradeRefused)
    assert "replace the container" in refused.reason
    assert upgrades.is_in_charge


def test_outside_of_an_upgrade_there_is_nothing_to_hear() -> None:
    """And strangers that are reaped are nobody's end."""
    upgrades = Upgrades(Launch(("pyfork",), "/", {}), None, None, UpgradeCallbacks(dict, print, print))
    assert upgrades.listen() == upgrades.reaped(4321, 0) == upgrades.descriptors() == []
    upgrades.abandon()
    upgrades.report_ready()


def test_an_arbiter_without_descriptors_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on serving, and says why."""

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    upgrades = Upgrades(Launch(("pyfork",), "/", {}), None, None, UpgradeCallbacks(dict, print, print))
    monkeypatch.setattr("pyfork.arbiter.upgrade.socket.socketpair", refuse)
    generation: Any = SimpleNamespace(loaded=SimpleNamespace(settings=SimpleNamespace(label="shop")))
    refused = upgrades.start(generation, 2, 0)
    assert isinstance(refused, UpgradeRefused)
    assert "Too many open files" in refused.reason
    assert upgrades.descriptors() == []
