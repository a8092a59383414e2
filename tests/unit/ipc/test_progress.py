"""What workers with many connections tell the scoreboard."""

from threading import Barrier, Thread, get_ident
from time import monotonic, monotonic_ns

import pytest

from pyfork.ipc import progress
from pyfork.ipc.progress import ActiveProgress, ActiveRequests, GreenletProgress, InlineProgress, ThreadProgress
from pyfork.ipc.scoreboard import Scoreboard, Slot


def a_slot() -> Slot:
    slot = Scoreboard().slot(0)
    slot.open(1, 1)
    return slot


def shown(slot: Slot) -> tuple[str, str] | None:
    oldest = slot.oldest_request()
    return (oldest.method, oldest.path) if oldest else None


def test_the_slot_shows_the_request_whose_application_runs() -> None:
    """Of two requests that take turns, the one inside is shown, with its own beginning."""
    slot = a_slot()
    one, two = InlineProgress(slot), InlineProgress(slot)
    one.begin_request("GET", b"/one")
    one.enter_application()
    one.leave_application()
    assert slot.in_application_since() is None
    two.begin_request("POST", b"/two")
    two.enter_application()
    assert shown(slot) == ("POST", "/two")
    two.leave_application()
    one.enter_application()
    assert shown(slot) == ("GET", "/one")
    assert slot.in_application_since() is not None
    one.end_request(5, is_error=False)
    assert slot.in_application_since() is None
    slot.flush(monotonic_ns())
    assert shown(slot) is None
    figures = slot.statistics()
    assert (figures.in_flight, figures.requests, figures.octets, figures.errors) == (1, 1, 5, 0)


def test_a_request_in_the_application_is_in_flight_before_it_is_counted() -> None:
    """A call that never returns keeps the loop from flushing, but not the onlooker from seeing it."""
    slot = a_slot()
    stuck = InlineProgress(slot)
    stuck.begin_request("GET", b"/")
    stuck.enter_application()
    assert slot.statistics().in_flight == 1


def test_figures_wait_for_the_flush() -> None:
    """What has ended is counted together, errors and slow ones too, and the turn is stamped."""
    slot = a_slot()
    connection = InlineProgress(slot)
    for number in range(5):
        connection.begin_request("GET", b"/")
        connection.enter_application()
        connection.end_request(10, is_error=number == 3)
    slot.ended.append((60_000_000_000, 0, False))
    assert slot.statistics().requests == 0
    slot.flush(123)
    figures = slot.statistics()
    assert (figures.requests, figures.errors, figures.octets, figures.in_flight) == (6, 1, 50, 0)
    assert (sum(figures.latency), figures.latency[-1]) == (6, 1)
    assert figures.busy_ns > 60_000_000_000
    assert figures.turned_ns == 123
    slot.flush(124)
    assert slot.statistics().requests == 6


def test_a_new_method_for_the_same_path_is_shown() -> None:
    """Method and path are compared both; longer ones are cut."""
    slot = a_slot()
    connection = InlineProgress(slot)
    for method, path in (("GET", b"/"), ("GET", b"/"), ("DELETE", b"/"), ("M" * 40, b"/x"), ("A", b"/" * 300)):
        connection.begin_request(method, path)
        connection.enter_application()
        assert shown(slot) == (method[:32], path.decode()[:256])
        connection.end_request(0, is_error=False)


def test_oldest_is_the_stretch_that_lasts_longest() -> None:
    """A stretch that begins anew becomes the youngest; one that ends is gone."""
    active = ActiveRequests(a_slot())
    assert active.oldest() is None
    one, two = active.new(), active.new()
    for each, path in ((one, b"/one"), (two, b"/two")):
        each.begin_request("GET", path)
        each.enter_application()
    assert active.oldest() is one
    one.enter_application()
    assert active.oldest() is two
    assert two.thread_id == get_ident()
    assert 0.0 < two.entered <= one.entered <= monotonic()
    two.leave_application()
    assert two.entered == 0.0
    assert active.oldest() is one
    one.end_request(0, is_error=False)
    assert active.oldest() is None


def test_publish_writes_what_the_arbiter_judges_by() -> None:
    """In-flight requests, the oldest stretch and the figures are in the slot after each publish, and not before."""
    slot = a_slot()
    active = ActiveRequests(slot)
    one, two = active.new(), active.new()
    one.begin_request("GET", b"/one")
    two.begin_request("PUT", b"/two")
    one.enter_application()
    two.enter_application()
    assert slot.in_application_since() is None
    active.publish(monotonic())
    assert slot.statistics().in_flight == 2
    assert slot.in_application_since() == pytest.approx(one.entered)
    assert shown(slot) == ("GET", "/one")
    active.publish(monotonic())  # nothing new: nothing written
    assert shown(slot) == ("GET", "/one")
    one.leave_application()
    one.end_request(7, is_error=True)
    active.publish(monotonic())
    assert shown(slot) == ("PUT", "/two")
    assert slot.in_application_since() == pytest.approx(two.entered)
    two.end_request(0, is_error=False)
    active.publish(2.0)
    figures = slot.statistics()
    assert (figures.in_flight, figures.requests, figures.errors, figures.octets) == (0, 2, 1, 7)
    assert (slot.in_application_since(), figures.oldest, figures.turned_ns) == (None, None, 2_000_000_000)


def test_a_stretch_that_has_just_ended_is_not_published() -> None:
    """The thread clears its moment before it goes out of the dict; in between it does not count."""
    slot = a_slot()
    active = ActiveRequests(slot)
    one = active.new()
    one.begin_request("GET", b"/")
    one.enter_application()
    one.entered = 0.0
    active.publish(monotonic())
    assert slot.in_application_since() is None


def test_oldest_asks_again_when_another_thread_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iterator whose dict has changed raises; the next one does not."""
    active = ActiveRequests(a_slot())
    one, two = active.new(), active.new()
    one.enter_application()
    came_between = []

    def next_with_company(iterator: object, default: object) -> object:
        if not came_between:
            came_between.append(two.enter_application())
        return next(iterator, default)  # type: ignore[call-overload]

    monkeypatch.setattr(progress, "next", next_with_company, raising=False)
    assert active.oldest() is one
    assert came_between


def test_many_threads_lose_nothing() -> None:
    """Requests that end in several threads while the loop publishes are all counted."""
    slot = a_slot()
    active = ActiveRequests(slot)
    barrier = Barrier(5)

    def serve() -> None:
        connection = active.new()
        barrier.wait()
        for _ in range(500):
            connection.begin_request("GET", b"/")
            connection.enter_application()
            connection.leave_application()
            connection.end_request(1, is_error=False)

    threads = [Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait()
    while any(thread.is_alive() for thread in threads):
        active.publish(monotonic())
    active.publish(monotonic())
    figures = slot.statistics()
    assert (figures.requests, figures.octets, figures.in_flight, sum(figures.latency)) == (2000, 2000, 0, 2000)
    assert figures.oldest is None


@pytest.mark.parametrize("kind", [GreenletProgress, ThreadProgress])
def test_a_request_shows_itself_unless_an_older_one_is_shown(kind: type[ActiveProgress]) -> None:
    """A greenlet that never yields, and a thread in C that keeps the interpreter's lock, leave nobody to publish."""
    slot = a_slot()
    active = ActiveRequests(slot, kind)
    one, two = active.new(), active.new()
    one.begin_request("GET", b"/one")
    one.enter_application()
    assert shown(slot) == ("GET", "/one")
    assert slot.in_application_since() == pytest.approx(one.entered)
    two.begin_request("POST", b"/two")
    two.enter_application()
    assert shown(slot) == ("GET", "/one")
    one.enter_application()
    assert active.oldest() is two
    one.end_request(5, is_error=False)
    two.enter_application()
    assert shown(slot) == ("POST", "/two")
    two.leave_application()
    active.publish(monotonic())
    assert slot.in_application_since() is None
