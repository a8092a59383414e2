"""The pool: requests on loan, apart, and the way from the one to the other."""

import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyfork.workers import pool as pool_module
from pyfork.workers.pool import LONGEST_DISTRUST, SHORTEST_DISTRUST, ThreadPool, _PoolThread

PATIENCE = 30.0

MakePool = Callable[..., ThreadPool[Any, Any]]


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loan comes back however slow the machine is."""
    monkeypatch.setattr(pool_module, "LONGEST_LOAN", PATIENCE)


@pytest.fixture
def make_pool(clock: Clock) -> Iterator[MakePool]:
    """Make pools whose jobs are called; they are closed at the end."""
    pools: list[ThreadPool[Any, Any]] = []

    def make(threads: int) -> ThreadPool[Any, Any]:
        pool: ThreadPool[Any, Any] = ThreadPool(lambda job: job(), threads, clock)
        pool.start()
        pools.append(pool)
        settle(pool, threads)
        return pool

    yield make
    for pool in pools:
        pool.close()


def settle(pool: ThreadPool[Any, Any], threads: int) -> None:
    """Wait until all of the pool's threads sleep."""
    pause = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if len(pool._idle) == threads:
            return
        pause.wait(0.001)
    raise AssertionError("the threads do not come to rest")


def run_apart(pool: ThreadPool[Any, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> float:
    """Have a loan fail; return the seconds for which the pool then works apart."""
    go_on = threading.Event()
    monkeypatch.setattr(pool_module, "LONGEST_LOAN", 0.0)

    began = threading.Event()

    def job() -> None:
        began.set()
        go_on.wait(PATIENCE)

    before = clock.now
    ticks = iter([before, before + 1.0, before + 1.0])
    pool._clock = lambda: next(ticks)
    pool.submit(job)
    pool.dispatch()
    pool._clock = clock
    clock.now = before + 1.0
    assert began.wait(PATIENCE)
    go_on.set()
    results(pool, 1)
    monkeypatch.setattr(pool_module, "LONGEST_LOAN", PATIENCE)
    return pool._apart_until - clock.now


def results(pool: ThreadPool[Any, Any], count: int) -> list[Any]:
    """Wait as a loop does until ``count`` jobs have ended; return what came of them."""
    found: list[Any] = []
    while len(found) < count:
        if pool.may_sleep():
            assert select.select([pool.fd], [], [], PATIENCE)[0], "nobody wakes the loop"
            pool.silence()
        else:
            pool.dispatch()
        found += [result for _, result in pool.finished()]
    return found


def test_a_loan_is_run_by_one_thread_in_order_while_the_loop_waits(make_pool: MakePool) -> None:
    """Two switches between threads, however many requests a turn has brought."""
    pool = make_pool(4)
    seen: list[tuple[int, int, bool]] = []
    for number in range(20):
        pool.submit(lambda number=number: seen.append((number, threading.get_ident(), pool.is_lending)))
    pool.dispatch()
    assert [number for number, _, _ in seen] == list(range(20))
    assert {(thread, is_lent) for _, thread, is_lent in seen} == {(seen[0][1], True)}
    assert seen[0][1] != threading.get_ident()
    assert pool.under_way == 20
    assert len(list(pool.finished())) == 20
    assert pool.under_way == 0
    assert not pool.is_lending


def test_dispatch_without_jobs_does_nothing(make_pool: MakePool) -> None:
    """Most turns of a loop bring none."""
    pool = make_pool(1)
    pool.dispatch()
    assert list(pool.finished()) == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_job_raises_is_told_and_its_thread_lives_on(make_pool: MakePool, error: BaseException) -> None:
    """SystemExit is a request's too, not the thread's."""
    pool = make_pool(1)

    def fail() -> None:
        raise error

    pool.submit(fail)
    pool.submit(lambda: 7)
    pool.dispatch()
    assert [result for _, result in pool.finished()] == [error, 7]


def test_a_job_that_waits_holds_up_neither_the_loop_nor_the_others(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind it in a loan goes to the other threads."""
    pool = make_pool(3)
    monkeypatch.setattr(pool_module, "LONGEST_LOAN", 0.001)
    go_on = threading.Event()
    pool.submit(lambda: go_on.wait(PATIENCE))
    for number in range(10):
        pool.submit(lambda number=number: number)
    pool.dispatch()
    assert sorted(results(pool, 10)) == list(range(10))
    go_on.set()
    assert results(pool, 1) == [True]


def test_after_a_loan_that_failed_the_loop_does_not_wait(
    make_pool: MakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application has shown that it waits: each of its requests goes to a thread of its own."""
    pool = make_pool(2)
    run_apart(pool, clock, monkeypatch)
    settle(pool, 2)
    go_on = threading.Event()
    pool.submit(lambda: (pool.is_lending, go_on.wait(PATIENCE)))
    pool.dispatch()  # would wait for PATIENCE
    assert not go_on.is_set()
    go_on.set()
    assert results(pool, 1) == [(False, True)]


def test_each_loan_that_fails_makes_the_pool_wait_longer_for_the_next(
    make_pool: MakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that always waits holds up the loop once a second, and no more."""
    pool = make_pool(1)
    pauses = []
    for _ in range(10):
        pauses.append(run_apart(pool, clock, monkeypatch))
        clock.now += LONGEST_DISTRUST
        settle(pool, 1)
    expected = [min(SHORTEST_DISTRUST * 2**power, LONGEST_DISTRUST) for power in range(10)]
    assert pauses == pytest.approx(expected)


def test_loans_that_go_well_are_trusted_again(
    make_pool: MakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been slow for a while is served as quickly as ever afterwards."""
    pool = make_pool(1)
    for _ in range(4):
        run_apart(pool, clock, monkeypatch)
        clock.now += LONGEST_DISTRUST
        settle(pool, 1)
    for _ in range(10):
        pool.submit(lambda: pool.is_lending)
        pool.dispatch()
        assert results(pool, 1) == [True]
        settle(pool, 1)
    assert run_apart(pool, clock, monkeypatch) == pytest.approx(SHORTEST_DISTRUST)


def test_a_loan_of_slow_jobs_fails_though_it_comes_back(make_pool: MakePool, clock: Clock) -> None:
    """An application that waits for half a millisecond wants its threads too."""
    pool = make_pool(2)

    def slow() -> None:
        clock.now += 0.000_5

    for _ in range(4):
        pool.submit(slow)
    pool.dispatch()
    assert pool._apart_until == pytest.approx(clock.now + SHORTEST_DISTRUST)


def test_no_job_is_lost_between_a_thread_that_falls_asleep_and_a_loop_that_does(
    make_pool: MakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other at every moment that there is."""
    pool = make_pool(2)
    run_apart(pool, clock, monkeypatch)
    clock.now -= LONGEST_DISTRUST  # for good
    for number in range(3000):
        pool.submit(lambda number=number: number)
        pool.dispatch()
        assert results(pool, 1) == [number]


def test_one_thread_serves_first_come_first_served(
    make_pool: MakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is overtaken in the queue."""
    pool = make_pool(1)
    run_apart(pool, clock, monkeypatch)
    settle(pool, 1)
    go_on = threading.Event()
    pool.submit(lambda: go_on.wait(PATIENCE))
    pool.dispatch()
    for number in range(50):
        pool.submit(lambda number=number: number)
        pool.dispatch()
    assert pool.under_way == 51
    go_on.set()
    assert results(pool, 51) == [True, *range(50)]


def test_close_ends_the_threads_that_sleep_and_waits_for_none(make_pool: MakePool, clock: Clock) -> None:
    """One that hangs does not keep the process (tests/process/test_threadpool.py)."""
    pool = make_pool(3)
    clock.now = 0.0
    pool._apart_until = 1.0
    go_on = threading.Event()
    began = threading.Event()
    busy: list[int] = []
    pool.submit(lambda: (busy.append(threading.get_ident()), began.set(), go_on.wait(PATIENCE)))
    pool.dispatch()
    assert began.wait(PATIENCE)
    pool.close()
    sleepers = [thread for thread in pool._threads if thread.ident != busy[0]]
    for thread in sleepers:
        thread.join(PATIENCE)
    assert len(sleepers) == 2
    (hung,) = [thread for thread in pool._threads if thread.is_alive()]
    go_on.set()
    hung.join(PATIENCE)
    assert not hung.is_alive()


def test_a_thread_of_the_applications_is_no_daemon(make_pool: MakePool) -> None:
    """A worker that ends waits for it, as in the other types; only the pool's own threads are daemons."""
    pool = make_pool(1)
    inherited: list[bool] = []
    done = threading.Event()
    assert all(thread.daemon for thread in [_PoolThread(daemon=True)])
    pool.submit(lambda: (inherited.append(threading.Thread().daemon), done.set()))
    pool.dispatch()
    assert done.wait(PATIENCE)
    assert inherited == [False]


def test_jobs_that_no_thread_has_taken_can_be_taken_back(make_pool: MakePool, clock: Clock) -> None:
    """They are not run any more, and not counted."""
    pool = make_pool(1)
    clock.now = 0.0
    pool._apart_until = 1.0
    go_on, began = threading.Event(), threading.Event()
    pool.submit(lambda: (began.set(), go_on.wait(PATIENCE)))
    pool.dispatch()
    assert began.wait(PATIENCE)
    waiting = lambda: None  # noqa: E731 (a job to recognise)
    pool.submit(waiting)
    assert list(pool.take_back()) == [waiting]
    assert pool.under_way == 1
    assert list(pool.take_back()) == []
    go_on.set()
