"""What systemd is told, as octets."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from pyfork.arbiter.figures import Look, Statistics, Work, WorkerStatistics
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from pyfork.arbiter.notices import LONGEST_NAME, LONGEST_STATUS, Throughput, describe, encode, microseconds, store_name
from pyfork.ipc.messages import Listener

STATES = (WorkerState.READY, WorkerState.READY, WorkerState.BOOTING, WorkerState.DRAINING, WorkerState.SPAWNING)


def look(state: ArbiterState = ArbiterState.RUNNING, work: Mapping[int, Work] | None = None) -> Look:
    workers = tuple(
        WorkerStatistics(number, 1, None if one is WorkerState.SPAWNING else 100 + number, one)
        for number, one in enumerate(STATES)
    )
    return Look(Statistics(state, ReloadState.IDLE, 1, 4, is_drained=False, workers=workers), work or {})


def test_a_value_cannot_make_a_line_of_its_own() -> None:
    """A traceback in STATUS= would otherwise be read as assignments; its first line with words is told."""
    status = ("STATUS", "\n  reload failed\nREADY=1\n")
    assert encode(("READY", 1), status) == b"READY=1\nSTATUS=reload failed"
    assert encode(("STATUS", "a\x1b[31mb\tc")) == b"STATUS=a\\x1b[31mb\\tc"
    assert encode(("STATUS", "")) == b"STATUS="


def test_a_status_is_short_and_valid_utf8() -> None:
    """systemd drops a status that is not, and reads 4 096 octets of a datagram."""
    line = encode(("STATUS", "\N{GRINNING FACE}" * 5000))
    assert len(line) <= len("STATUS=") + 4 * LONGEST_STATUS
    assert line.endswith(b"...")
    assert encode(("STATUS", "caf\u00e9 \udc80")) == "STATUS=caf\u00e9 \\udc80".encode()


def test_a_moment_is_never_told_too_early() -> None:
    """A reload that seems older than systemd's signal is not taken for its answer."""
    assert microseconds(1.0000001) == 1_000_001


@pytest.mark.parametrize(
    ("listener", "name"),
    [
        (Listener(3, "tcp", "127.0.0.1", 8000, ""), "pyfork-tcp-127.0.0.1%3A8000"),
        (Listener(3, "tcp", "::", 80, ""), "pyfork-tcp-%3A%3A%3A80"),
        (Listener(3, "unix", "/run/a:b%3A", 0, ""), "pyfork-unix-/run/a%3Ab%253A"),
        (Listener(3, "unix", "/run/\u00e9\udcff\n", 0, ""), "pyfork-unix-/run/%C3%A9%FF%0A"),
        (Listener(3, "unix", "\u00e9" * 50, 0, ""), "pyfork-unix-hex-" + "c3a9" * 50),
    ],
)
def test_a_stored_listener_is_called_as_its_address(listener: Listener, name: str) -> None:
    """In characters that systemd takes (no colon, no control characters, ASCII), and never longer than it takes."""
    assert store_name(listener) == name
    assert len(name) <= LONGEST_NAME


def test_the_figures_are_of_the_workers_that_serve() -> None:
    """A draining worker may be busy; one that has no pid or no slot yet is not."""
    work = {100: Work(5, 1), 101: Work(5, 0), 103: Work(1, 2), 999: Work(1, 1)}
    assert describe(look(work=work), 12.34) == "2 of 4 workers ready, 2 busy, 12.3 requests/s"


def test_the_state_leads_where_it_is_not_the_ordinary_one() -> None:
    """systemctl status then tells what the server is at."""
    assert describe(look(ArbiterState.RELOADING), 0.0) == "reloading: 2 of 4 workers ready, 0 busy, 0.0 requests/s"
    assert describe(look(ArbiterState.STOPPING), 0.0) == "stopping: 5 workers left, 0 busy"
    running = look()
    drained = replace(running, statistics=replace(running.statistics, is_drained=True))
    assert describe(drained, 0.0).startswith("drained by WINCH: 2 of 4")
    alone = replace(look(ArbiterState.STOPPING).statistics, workers=running.statistics.workers[:1])
    assert describe(replace(running, statistics=alone), 0.0) == "stopping: 1 worker left, 0 busy"


def test_throughput_is_what_was_answered_between_two_looks() -> None:
    """Too short a span says nothing; a new worker's requests are all new, and a reused pid never counts backwards."""
    throughput = Throughput()
    assert throughput.measure({1: Work(100, 0)}, 10.0) == 0.0
    assert throughput.measure({1: Work(150, 0)}, 11.0) == 0.0
    assert throughput.measure({1: Work(150, 0), 2: Work(50, 0)}, 20.0) == 10.0
    assert throughput.measure({1: Work(3, 0), 2: Work(70, 0)}, 30.0) == 2.0
