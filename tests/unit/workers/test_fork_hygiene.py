"""What a copy of a process that has imported the application forgets."""

import asyncio
import multiprocessing.process
import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pyfork.errors import QuitNow
from pyfork.process.signals import SignalQueue
from pyfork.workers import fork_hygiene
from pyfork.workers.signals import IGNORED_SIGNALS

TOUCHED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, *IGNORED_SIGNALS)


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The signals are what they were; gevent and numpy are not there unless the test says so."""
    before = {number: signal.getsignal(number) for number in (*TOUCHED, signal.SIGALRM)}
    for name in ("gevent", "numpy.random"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_its_own() -> None:
    """None is queued for the original, TERM ends it, and what the application installed stays."""
    queue = SignalQueue()
    queue.install((signal.SIGTERM, signal.SIGUSR1))
    signal.signal(signal.SIGALRM, application := lambda *_: None)
    fork_hygiene.begin_anew(())
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(QuitNow):
        os.kill(os.getpid(), signal.SIGTERM)
    assert queue.drain_all() == []
    assert signal.getsignal(signal.SIGALRM) is application
    os.close(queue.fd)
    os.close(queue.write_fd)


def test_the_originals_descriptors_are_closed() -> None:
    """Those that are named, and no others."""
    read, write = os.pipe()
    fork_hygiene.begin_anew([write])
    assert os.read(read, 1) == b""
    os.close(read)


def test_the_current_event_loop_is_forgotten() -> None:
    """Or all workers would wait in one epoll; who asks gets a loop, and the policy stays the application's."""

    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    asyncio.set_event_loop_policy(Policy())
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        if sys.version_info < (3, 12):
            fork_hygiene.begin_anew(())
            mine = asyncio.get_event_loop()
            assert mine is not loop
            mine.close()
        assert isinstance(asyncio.get_event_loop_policy(), Policy)
    finally:
        loop.close()
        asyncio.set_event_loop_policy(None)


def test_asyncio_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor multiprocessing; neither is imported for this."""
    for name in ("asyncio.events", "multiprocessing.process"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    fork_hygiene.begin_anew(())
    assert "asyncio.events" not in sys.modules


def test_children_of_multiprocessing_are_the_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its atexit function would end and join them."""
    monkeypatch.setattr(multiprocessing.process, "_children", {object()})
    fork_hygiene.begin_anew(())
    assert multiprocessing.process._children == set()  # type: ignore[attr-defined]


def test_gevent_and_numpy_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If they were imported."""
    told: list[str] = []
    monkeypatch.setitem(sys.modules, "gevent", SimpleNamespace(reinit=lambda: told.append("gevent")))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "numpy.random", SimpleNamespace(seed=lambda: told.append("numpy")))  # type: ignore[arg-type]
    fork_hygiene.begin_anew(())
    assert told == ["gevent", "numpy"]
