"""How slow a client may be, in numbers."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.config.schema import HttpSettings
from pyfork.connection.host import FIRST_PATIENCE, Phase
from pyfork.connection.patience import SLOW_PATIENCE, body_deadline, may_yield_at, slow_body, slow_reader

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
        (Phase.SENDING, False, 100.0 - 30 + SLOW_PATIENCE),
        (Phase.RUNNING, False, math.inf),
        (Phase.ENDED, False, math.inf),
    ],
)
def test_who_may_make_way_depends_on_what_is_waited_for(phase, is_kept, expected):
    """An idle client at once, one that has begun a little later, and none whose application runs."""
    http = HttpSettings(keep_alive=5, header_timeout=10, body_timeout=20, write_timeout=30)
    connection = SimpleNamespace(context=SimpleNamespace(http=http), deadline=100.0, phase=phase, is_kept=is_kept)
    assert may_yield_at(connection) == expected
