"""The shared scoreboard."""

import pytest

from pyfork.ipc.scoreboard import SLOTS, Scoreboard, SlotState, Word


def test_slot_begins_empty_and_ends_empty() -> None:
    """A slot shows nothing of the worker that had it before."""
    slot = Scoreboard().slot(3)
    slot.open(7, 4242)
    slot.begin_request("GET", b"/secret")
    slot.clear()
    figures = slot.statistics()
    assert figures.state is SlotState.FREE
    assert (figures.pid, figures.generation, figures.in_flight, figures.oldest) == (0, 0, 0, None)


def test_a_request_is_shown_while_it_runs_and_counted_after() -> None:
    """The oldest request has its method and path; afterwards counters, busy time and histogram have it."""
    slot = Scoreboard().slot(0)
    slot.open(1, 1)
    slot.set_state(SlotState.READY)
    slot.set_connections(1)
    slot.begin_request("POST", b"/a/" + b"b" * 1000)
    during = slot.statistics()
    assert during.oldest is not None
    assert during.oldest.method == "POST"
    assert during.oldest.path == "/a/" + "b" * 253
    assert (during.in_flight, during.connections, during.requests) == (1, 1, 0)
    slot.end_request(512, is_error=True)
    after = slot.statistics()
    assert after.oldest is None
    assert (after.requests, after.errors, after.octets, after.in_flight) == (1, 1, 512, 0)
    assert sum(after.latency) == 1
    assert after.busy_ns > 0
    slot.begin_request("GET", b"/")
    slot.end_request(1, is_error=False)
    assert (slot.statistics().requests, slot.statistics().errors) == (2, 1)


def test_stretches_inside_the_application() -> None:
    """The moment of entry is there between enter and leave, and only then."""
    slot = Scoreboard().slot(0)
    assert slot.in_application_since() is None
    slot.enter_application()
    first = slot.in_application_since()
    assert first is not None
    slot.enter_application()
    again = slot.in_application_since()
    assert again is not None
    assert again >= first
    slot.leave_application()
    assert slot.in_application_since() is None


def test_a_writer_killed_in_the_middle_does_not_hang_the_reader() -> None:
    """A record whose sequence number stays odd is given up, not waited for."""
    slot = Scoreboard().slot(0)
    slot.begin_request("GET", b"/")
    slot.words[Word.SEQUENCE] += 1
    assert slot.oldest_request() is None


def test_slots_are_apart() -> None:
    """What one worker writes is in no other slot, and the arbiter's word in none."""
    board = Scoreboard()
    board.slot(0).open(1, 10)
    board.slot(SLOTS - 1).open(2, 20)
    assert not board.is_stopping
    board.set_stopping()
    assert board.is_stopping
    assert [board.slot(index).statistics().pid for index in (0, 1, SLOTS - 1)] == [10, 0, 20]
    board.slot(0).release()


@pytest.mark.parametrize("index", [-1, SLOTS])
def test_there_is_no_slot_beyond(index: int) -> None:
    """An index out of range is an error, not the arbiter's slot."""
    with pytest.raises(IndexError):
        Scoreboard().slot(index)


def test_loads_are_read_of_all_slots_that_have_been_in_use() -> None:
    """One look shows the load of every worker, in the order of the slots; a cleared slot shows none."""
    board = Scoreboard()
    assert board.loads() == []
    board.reserve(2)
    board.reserve(0)
    board.slot(0).set_load(11)
    board.slot(2).set_load(4)
    board.slot(3).set_load(7)
    assert board.loads() == [11, 0, 4]
    board.slot(2).clear()
    assert board.loads() == [11, 0, 0]
