"""What is free goes back to the kernel."""

import ctypes
import sys
from pathlib import Path

import pytest

from pyfork.process.memory import give_back


def anonymous() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))


class Loop:
    """Refers to itself, and to octets that go with it."""

    def __init__(self) -> None:
        self.me = self
        self.octets = [bytes(2000) for _ in range(20_000)]  # each too small for a mapping of its own


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_freed_memory_leaves_the_process():
    """Garbage in a circle is collected, and its pages are the kernel's again, though something lies above them."""
    Loop().octets.append(bytes(2000))
    kept = bytes(2000)
    before = anonymous()
    give_back()
    assert before - anonymous() > 20_000
    assert kept


def test_without_glibc_nothing_happens(monkeypatch):
    """Other C libraries have no such function."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    give_back()
