"""What a connection is given."""

from pyfork.connection.context import READABLE, WRITABLE, WallClock
from tests.unit.connection.fakes import make_context


def test_the_date_is_made_once_a_second():
    """Whatever way the clock goes."""
    seconds = [784111777.0, 784111777.9, 784111778.0, 784111777.0]
    clock = WallClock(lambda: seconds[0])
    dates = []
    while seconds:
        dates.append(clock.date())
        seconds.pop(0)
    assert dates[0] == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert dates[1] is dates[0]
    assert dates[2] == b"Sun, 06 Nov 1994 08:49:38 GMT"
    assert dates[3] == dates[0]


def test_the_clock_is_the_systems():
    """Unless a test brings its own."""
    assert WallClock().seconds() > 1_700_000_000


def test_events_are_those_of_poll():
    """Workers hand them to poll(2) and epoll(7) as they are."""
    assert (READABLE, WRITABLE) == (1, 4)


def test_connections_are_closed_after_each_response_by_default():
    """As sync does; nobody listens to the access log either."""
    context = make_context()
    assert not context.persistence.is_allowed
    assert context.access_log is None
    assert context.warned_fields == set()
