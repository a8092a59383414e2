"""The asking side of --check-config, where a real scratch process would be in the way."""

import pytest

from pyfork.cli import check_config


class InterruptedProcess:
    """Ctrl-C comes while it is waited for."""

    def __init__(self) -> None:
        self.calls = []

    def communicate(self, settings, timeout):
        raise KeyboardInterrupt

    def kill(self):
        self.calls.append("kill")

    def wait(self):
        self.calls.append("wait")


def test_an_interrupt_leaves_no_process_behind():
    """Whatever ends the waiting ends the scratch process, and reaps it."""
    process = InterruptedProcess()
    with pytest.raises(KeyboardInterrupt):
        check_config._wait(process, b"", None)
    assert process.calls == ["kill", "wait"]
