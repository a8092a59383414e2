"""How slow a client may be, in numbers."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.config.schema import HttpSettings
from pyfork.connection.host import FIRST_PATIENCE, Phase
from pyfork.connection.patience import (
    READER_PATIENCE,
    SLOW_PATIENCE,
    STALL_PATIENCE,
    Delivery,
    Lag,
    body_deadline,
    lag_of,
    may_yield_at,
    slow_body,
    slow_reader,
)

HTTP = HttpSettings(body_timeout=30, min_body_rate=100, min_write_rate=100)
ANY_RATE = HttpSettings(body_timeout=30, min_body_rate=0, min_write_rate=0)


def test_a_body_begins_with_its_full_time():
    """Whatever the rate."""
    assert body_deadline(HTTP, 1000.0) == body_deadline(ANY_RATE, 1000.0) == 1030.0


def test_octets_bring_time_back():
    """As much as they may take at the least rate, and never more than the full time."""
    assert body_deadline(HTTP, 1029.0, 1030.0, 1) == 1030.01
    assert body_deadline(HTTP, 1029.0, 1030.0, 500) == 1035.0
    assert body_deadline(HTTP, 1029.0, 1030.0, 10**9) == 1059.0
    assert body_deadline(HTTP, 1029.0, 1030.0) == 1030.0


def test_without_a_rate_anything_is_progress():
    """The frame of a chunk too."""
    assert body_deadline(ANY_RATE, 1029.0, 1030.0) == 1059.0
    assert body_deadline(ANY_RATE, 1029.0, 1030.0, 1) == 1059.0


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 20_000)), max_size=50))
def test_a_body_lasts_no_longer_than_its_octets_allow(pieces):
    """However they are spread, and nobody who keeps to the rate is cut off."""
    now, began, octets = 1000.0, 1000.0, 0
    deadline = body_deadline(HTTP, now)
    for pause, size in pieces:
        now += pause
        if now > deadline:
            return
        octets += size
        deadline = body_deadline(HTTP, now, deadline, size)
        assert now <= deadline <= now + HTTP.body_timeout
        assert deadline <= began + HTTP.body_timeout + octets / HTTP.min_body_rate + 1e-6


@given(st.lists(st.floats(0, 29), max_size=50), st.floats(100, 1e6))
def test_whoever_keeps_to_the_rate_is_waited_for(pauses, rate):
    """Pauses shorter than the full time are made up for by what comes behind them."""
    now = 1000.0
    deadline = body_deadline(HTTP, now)
    for pause in pauses:
        now += pause
        assert now <= deadline + 1e-6
        deadline = body_deadline(HTTP, now, deadline, math.ceil(pause * rate))


def test_the_refusal_says_what_was_asked_for():
    """408, as for a body that stops."""
    assert (slow_body(HTTP).status, slow_body(ANY_RATE).status) == (408, 408)
    assert slow_body(HTTP).detail == "The request's body came at less than 100 octets a second for 30 s"
    assert slow_body(ANY_RATE).detail == "The request's body stopped for 30 s"


@pytest.mark.parametrize(
    ("http", "taken", "said"),
    [
        (HTTP, 900, None),
        (HTTP, 899, "the client took only 899 octets for 9 s"),
        (HTTP, 0, "the client took nothing for 9 s"),
        (HTTP, -5, "the client took nothing for 9 s"),
        (ANY_RATE, 1, None),
        (ANY_RATE, 0, "the client took nothing for 9 s"),
    ],
)
def test_a_response_must_be_taken(http, taken, said):
    """At the least rate, and at any rate at all."""
    error = slow_reader(http, taken, 9)
    assert (error and str(error)) == said


@pytest.mark.parametrize(
    ("phase", "is_kept", "expected"),
    [
        (Phase.READING, True, 100.0 - 5),
        (Phase.READING, False, 100.0 - 10 + FIRST_PATIENCE),
        (Phase.BODY, False, 100.0 - 20 + SLOW_PATIENCE),
        (Phase.SENDING, False, 100.0 - 30 + STALL_PATIENCE),
        (Phase.RUNNING, False, math.inf),
        (Phase.ENDED, False, math.inf),
    ],
)
def test_who_may_make_way_depends_on_what_is_waited_for(phase, is_kept, expected):
    """An idle client at once, one that has begun a little later, and none whose application runs."""
    http = HttpSettings(keep_alive=5, header_timeout=10, body_timeout=20, write_timeout=30)
    connection = SimpleNamespace(context=SimpleNamespace(http=http), deadline=100.0, phase=phase, is_kept=is_kept)
    assert may_yield_at(connection) == expected


# Readers, when others wait.


def closed(acknowledged, seconds):
    """A client whose window has been closed for so long."""
    return Delivery(acknowledged, is_stalled=True, quiet=seconds)


@pytest.mark.parametrize(
    ("acknowledged", "patience"),
    [(0, 0.5), (1024, 0.625), (4096, 1.0), (16 * 1024, 2.5), (36 * 1024, 5.0), (10**9, READER_PATIENCE)],
)
def test_a_closed_window_is_borne_for_longer_from_whoever_has_taken_much(acknowledged, patience):
    """The octets of a small buffer bring next to nothing; nobody has more than five seconds."""
    assert lag_of(HTTP, closed(acknowledged, patience - 0.001), 0, 99) is None
    assert lag_of(HTTP, closed(acknowledged, patience), 0, 99) == Lag(False, acknowledged, patience, 0)


def test_a_window_that_was_closed_before_counts_from_when_there_was_something_to_take():
    """A response that has just begun does not pay for the pause before it."""
    assert lag_of(HTTP, closed(0, 60), 0, STALL_PATIENCE - 0.001) is None
    assert lag_of(HTTP, closed(0, 60), 0, STALL_PATIENCE) == Lag(False, 0, STALL_PATIENCE, 0)


def test_octets_that_were_taken_before_the_window_closed_do_not_keep_it_open():
    """What fills the buffer of the client's kernel has been read by nobody."""
    assert lag_of(HTTP, closed(16 * 1024, 2.5), 10**6, 3) == Lag(False, 16 * 1024, 2.5, 0)


@given(st.floats(0, 1), st.floats(2000, 10**6))
@pytest.mark.parametrize(("largest", "part"), [(36 * 1024, 4), (144 * 1024, 16)])
def test_whoever_reads_two_kilobytes_a_second_opens_its_window_in_time(largest, part, filled, rate):
    """It has taken a full buffer, and opens the window when a quarter of it has been read; of a large one, less."""
    buffer = 1024 + int(filled * (largest - 1024))
    closed_for = buffer / part / rate
    assert lag_of(HTTP, closed(buffer, closed_for), 0, closed_for) is None


@pytest.mark.parametrize(
    ("delivery", "patience"), [(None, SLOW_PATIENCE), (Delivery(5, is_stalled=False, quiet=9.0), READER_PATIENCE)]
)
def test_a_slow_line_must_bring_the_least_rate_alone(delivery, patience):
    """And has seconds before it is asked for that; fewer where nobody knows what holds a client back."""
    acknowledged = 5 if delivery else 0
    assert lag_of(HTTP, delivery, 0, patience - 0.001) is None
    assert lag_of(HTTP, delivery, 0, patience) == Lag(True, acknowledged, patience, 0)
    octets = int(patience * HTTP.min_write_rate)
    assert lag_of(HTTP, delivery, octets, patience) is None
    assert lag_of(HTTP, delivery, octets - 1, patience) == Lag(True, acknowledged, patience, octets - 1)


def test_a_line_of_300_octets_a_second_brings_a_segment_in_time():
    """Its octets are acknowledged 1 448 at a time."""
    line = Delivery(1448, is_stalled=False, quiet=4.0)
    assert lag_of(HttpSettings(), line, 1448, READER_PATIENCE) is None


def test_without_a_rate_a_line_must_bring_something():
    """Anything at all."""
    assert lag_of(ANY_RATE, None, 1, 9) is None
    assert lag_of(ANY_RATE, None, 0, 9) == Lag(True, 0, 9, 0)


def test_who_has_taken_the_least_goes_first():
    """Of those that have taken the same the one that has stood still for longer; slow lines come last of all."""
    ranked = [Lag(False, 0, 1.0, 0), Lag(False, 1152, 3.0, 0), Lag(False, 1152, 2.0, 0), Lag(False, 9000, 9.0, 0)]
    ranked += [Lag(True, 0, 2.0, 0), Lag(True, 700, 2.0, 100)]
    mixed = ranked[::2] + ranked[1::2]
    assert sorted(mixed, key=lambda lag: lag.rank) == ranked


@pytest.mark.parametrize(
    ("lag", "said"),
    [
        (Lag(False, 0, 0.512345, 0), "the client took nothing for 0.51 s, and others wait"),
        (Lag(True, 900, 2.04, 7), "the client took only 7 octets for 2 s, and others wait"),
    ],
)
def test_a_reader_that_makes_way_is_told_of(lag, said):
    """With what it took."""
    assert str(lag.error) == said


@given(st.integers(0, 10**7), st.booleans(), st.floats(0, 60), st.integers(-1000, 10**7), st.floats(0, 60))
def test_nobody_makes_way_in_its_first_moments(acknowledged, is_stalled, quiet, taken, seconds):
    """Whatever the kernel says: half a second with a closed window, or five."""
    lag = lag_of(HTTP, Delivery(acknowledged, is_stalled, quiet), taken, seconds)
    if lag is not None:
        assert STALL_PATIENCE <= lag.seconds <= seconds
        assert lag.is_on_its_way is not is_stalled
        assert is_stalled or (seconds >= READER_PATIENCE and taken < HTTP.min_write_rate * seconds)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 60))
def test_more_octets_never_bring_less_patience(less, more, quiet):
    """Or a client would do better to take fewer."""
    if lag_of(HTTP, closed(less + more, quiet), 0, 60) is not None:
        assert lag_of(HTTP, closed(less, quiet), 0, 60) is not None
