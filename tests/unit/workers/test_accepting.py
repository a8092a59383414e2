"""When listeners are in the loop, on listeners, a clock and a poller that are scripts."""

import errno
import math
import os
import socket
from types import SimpleNamespace

import pytest

from pyfork.ipc.scoreboard import Scoreboard
from pyfork.workers import accepting
from pyfork.workers.accepting import COMPLAINT_INTERVAL, DESCRIPTOR_PAUSE, Acceptor
from pyfork.workers.balance import MOST_MISSED, PAUSE


class FakeListener:
    """Accepts what the script says: a name, or an errno."""

    family = socket.AF_INET

    def __init__(self, fd):
        self.fd = fd
        self.queue = []
        self.is_refused = False

    def fileno(self):
        return self.fd

    def accept(self):
        if not self.queue:
            raise BlockingIOError
        first = self.queue.pop(0)
        if isinstance(first, int):
            raise OSError(first, os.strerror(first))
        return first, ("192.0.2.1", 1)

    def getsockopt(self, level, option, size):
        waiting = sum(not isinstance(entry, int) for entry in self.queue)
        longest = 0 if self.is_refused else 128
        return bytes(24) + waiting.to_bytes(4, "little") + longest.to_bytes(4, "little")


class FakePoller:
    """Remembers what is registered, and with which events."""

    def __init__(self):
        self.registered = {}
        self.times = 0

    def register(self, fd, events):
        assert fd not in self.registered
        self.registered[fd] = events
        self.times += 1

    def unregister(self, fd):
        del self.registered[fd]


class Scene:
    """Worker 0 of as many as there are loads, with listeners 100, 101 ..., at a time that the test moves."""

    def __init__(self, *others, listeners=1, **keywords):
        self.now = 1000.0
        self.scoreboard = Scoreboard()
        self.scoreboard.reserve(len(others))
        self.slots = [self.scoreboard.slot(index) for index in range(len(others) + 1)]
        for slot, count in zip(self.slots[1:], others, strict=True):
            slot.set_load(count + 1)
        self.listeners = [FakeListener(100 + index) for index in range(listeners)]
        self.poller = FakePoller()
        worker = SimpleNamespace(
            slot=self.slots[0],
            handoff=SimpleNamespace(slot=0, scoreboard=self.scoreboard),
            sockets=[(listener, None) for listener in self.listeners],
        )
        self.acceptor = Acceptor(worker, self.poller, **{"is_balanced": True, **keywords})
        self.acceptor.limit_threads(0)

    def watch(self, connections=0):
        self.acceptor.watch()
        self.acceptor.adjust(connections, has_room=True)
        return self

    def accept(self, *waiting, fd=100):
        self.listeners[fd - 100].queue += waiting
        return [connection for connection, _, _ in self.acceptor.accept_from(fd)]

    def pass_time(self, seconds):
        self.now += seconds
        self.acceptor.tend(self.now)

    @property
    def is_watching(self):
        assert len(self.poller.registered) in {0, len(self.listeners)}
        return bool(self.poller.registered)

    @property
    def load(self):
        return self.scoreboard.loads()[0]


@pytest.fixture
def scene(monkeypatch):
    """Makes scenes whose clock the acceptor reads, and that have no real spare descriptors."""
    scenes = []

    def make(*others, **keywords):
        scenes.append(Scene(*others, **keywords))
        return scenes[-1]

    spares = iter(range(1000, 2000))
    make.closed = []
    monkeypatch.setattr(accepting, "monotonic", lambda: scenes[-1].now)
    monkeypatch.setattr(accepting, "_open_spare", lambda: next(spares))
    monkeypatch.setattr(accepting.os, "close", make.closed.append)
    return make


def test_listeners_are_watched_exclusively_and_once(scene):
    """A connection wakes one worker; to watch twice is to watch once."""
    one = scene(listeners=2)
    assert not one.is_watching
    one.acceptor.watch()
    one.acceptor.watch()
    assert one.poller.registered == dict.fromkeys((100, 101), accepting._READABLE | accepting._EXCLUSIVE)
    assert accepting._EXCLUSIVE
    assert 100 in one.acceptor
    assert 99 not in one.acceptor
    one.acceptor.unwatch()
    one.acceptor.unwatch()
    assert not one.is_watching
    assert one.acceptor.next_deadline() == math.inf


def test_without_epoll_listeners_are_watched_plainly(scene, monkeypatch):
    """What macOS has knows no exclusive wake-ups; the rest is the same."""
    monkeypatch.setattr(accepting, "_EXCLUSIVE", 0)
    one = scene(0).watch()
    assert one.poller.registered == {100: 1}
    assert one.accept("a", "b") == ["a", "b"]
    assert not one.is_watching
    one.pass_time(PAUSE)
    assert one.poller.registered == {100: 1}
    assert one.acceptor._wakes_all


def test_what_has_woken_everybody_is_left_to_those_with_fewer(scene):
    """A worker above its share pauses, and accepts what still waits after that; below it, it accepts at once."""
    one = scene(0, is_nested=True).watch()
    assert one.accept("a", "b") == ["a", "b"]
    assert one.accept("c") == [], "it was woken before it paused"
    one.pass_time(PAUSE)
    assert one.accept() == ["c"], "nobody else has taken it"
    assert not one.is_watching
    one.pass_time(PAUSE)
    one.pass_time(1)
    assert one.is_watching
    assert one.accept("d") == []
    assert not one.is_watching
    one.slots[1].set_load(9)
    one.pass_time(PAUSE)
    one.pass_time(1)
    assert one.accept() == ["d"]
    assert one.is_watching


def test_a_type_that_is_not_balanced_takes_what_wakes_everybody(scene):
    """Sync, where there is no epoll."""
    one = scene(0, 0, is_balanced=False, is_nested=True).watch(5)
    assert one.accept("a", "b") == ["a", "b"]


def test_all_that_waits_is_accepted_by_a_worker_alone(scene):
    """Nobody is there to leave it to: no pause, no timer."""
    one = scene().watch()
    assert one.accept(*"abcdefgh") == list("abcdefgh")
    one.acceptor.adjust(8, has_room=True)
    assert one.is_watching
    assert one.poller.times == 1
    assert one.acceptor.next_deadline() == math.inf


def test_connections_and_load_are_told(scene):
    """The slot has how many there are; the load is one more, so that nobody is not the same as nothing."""
    one = scene(0)
    assert one.load == 0
    one.watch(3)
    assert (one.load, one.slots[0].statistics().connections) == (4, 3)
    one.accept("a")
    assert (one.load, one.slots[0].statistics().connections) == (5, 4)
    one.acceptor.unwatch()
    assert (one.load, one.slots[0].statistics().connections) == (0, 4)


def test_a_type_that_is_not_balanced_tells_no_load(scene):
    """Sync neither counts in others' shares nor pauses."""
    one = scene(0, 0, 0, is_balanced=False).watch()
    assert one.accept(*"abcd") == list("abcd")
    one.acceptor.adjust(4, has_room=True)
    assert (one.load, one.slots[0].statistics().connections, one.is_watching) == (0, 4, True)


def test_above_its_share_a_worker_leaves_the_loop_for_five_milliseconds(scene):
    """Then it is back in any case, and stays until it has accepted again."""
    one = scene(0, 0).watch()
    assert one.accept("a", "b") == ["a", "b"], "a share is never less than one, and what waits counts"
    assert one.is_watching is False
    assert one.acceptor.next_deadline() == one.now + PAUSE
    one.pass_time(PAUSE / 2)
    assert not one.is_watching
    one.pass_time(PAUSE)
    assert one.is_watching
    assert one.acceptor.next_deadline() == math.inf
    one.acceptor.adjust(2, has_room=True)
    assert one.is_watching


def test_its_part_of_a_burst_is_taken_in_one_go(scene):
    """Of 80 at once one of four workers takes 20, and the next finds that it may have 20 too."""
    one = scene(0, 0, 0).watch()
    assert len(one.accept(*[f"c{number}" for number in range(80)])) == 20
    assert not one.is_watching


def test_a_wake_up_is_never_declined(scene):
    """A worker that left the loop after it was woken accepts one, and one only."""
    one = scene(0, 0, 0).watch(9)
    one.accept("a")
    assert not one.is_watching
    assert one.accept("b", "c", "d") == ["b"]
    one.acceptor.adjust(11, has_room=False)
    assert one.accept() == ["c"]


def test_a_load_that_falls_ends_the_pause(scene):
    """Connections that end may make a worker the one to accept; those that merely end pause nobody."""
    one = scene(2, 2, 2).watch(4)
    one.accept("a")
    assert not one.is_watching
    one.acceptor.adjust(4, has_room=True)
    assert not one.is_watching
    one.acceptor.adjust(2, has_room=True)
    assert one.is_watching
    assert one.acceptor.next_deadline() == math.inf
    one.slots[1].set_load(1)
    one.slots[2].set_load(1)
    one.slots[3].set_load(1)
    one.acceptor.adjust(1, has_room=True)
    one.acceptor.adjust(2, has_room=True)
    assert one.is_watching


def test_the_share_may_grow_while_a_worker_pauses(scene):
    """What it was woken for before may show that the others have come up to it."""
    one = scene(0).watch(4)
    one.accept("a")
    assert not one.is_watching
    one.slots[1].set_load(10)
    assert one.accept("b", "c") == ["b", "c"]
    assert one.is_watching


def test_weighing_is_done_when_the_caller_stops_early(scene):
    """Whoever takes one connection and looks at other things first still pauses."""
    one = scene(0, 0).watch(5)
    one.listeners[0].queue += ["a", "b"]
    for _ in one.acceptor.accept_from(100):
        break
    assert one.is_watching
    one.acceptor.adjust(6, has_room=True)
    assert not one.is_watching


def test_without_room_there_is_no_timer(scene):
    """The listeners come back with the room, not before; the others do not count this worker meanwhile."""
    one = scene(0).watch()
    one.acceptor.adjust(1, has_room=False)
    assert (one.is_watching, one.load, one.acceptor.next_deadline()) == (False, 0, math.inf)
    one.pass_time(3600)
    assert not one.is_watching
    one.acceptor.adjust(1, has_room=True)
    assert (one.is_watching, one.load) == (True, 2)


def test_a_pause_is_not_begun_without_room(scene):
    """It would last beyond the moment when there is room again."""
    one = scene(0, 0).watch(5)
    one.listeners[0].queue += ["a"]
    for _ in one.acceptor.accept_from(100):
        one.acceptor.adjust(6, has_room=False)
    assert (one.is_watching, one.acceptor.next_deadline()) == (False, math.inf)
    one.slots[1].set_load(50)
    one.acceptor.adjust(6, has_room=True)
    assert one.is_watching


def test_a_busy_worker_leaves_connections_to_others_that_are_not(scene):
    """They would not be served before it has a thread again, so there is no timer; nobody counts it meanwhile."""
    one = scene(9, 9).watch(3)
    one.acceptor.adjust(3, has_room=True, is_busy=True)
    assert (one.is_watching, one.load, one.acceptor.next_deadline()) == (False, 0, math.inf)
    one.pass_time(60)
    assert not one.is_watching
    one.acceptor.adjust(3, has_room=True, is_busy=False)
    assert (one.is_watching, one.load) == (True, 4)


def test_a_worker_that_is_as_busy_as_all_others_stays(scene):
    """What waits here is not worse off than in the queue; nor with a worker alone."""
    one = scene(9).watch(3)
    one.acceptor.adjust(3, has_room=True, is_busy=True)
    assert not one.is_watching
    one.slots[1].set_load(0)
    one.acceptor.adjust(3, has_room=True, is_busy=True)
    assert one.is_watching
    assert one.accept("a") == ["a"]
    assert one.is_watching
    alone = scene().watch(3)
    alone.acceptor.adjust(3, has_room=True, is_busy=True)
    assert alone.is_watching
    assert alone.poller.times == 1


def test_a_pause_may_become_one_without_a_timer_and_the_other_way_round(scene):
    """Above the share first, then busy, then neither busy nor below the share."""
    one = scene(0).watch(9)
    one.accept("a")
    assert one.acceptor.next_deadline() == one.now + PAUSE
    one.acceptor.adjust(10, has_room=True, is_busy=True)
    assert (one.is_watching, one.acceptor.next_deadline()) == (False, math.inf)
    one.acceptor.adjust(10, has_room=True, is_busy=True)
    one.acceptor.adjust(10, has_room=True, is_busy=False)
    assert (one.is_watching, one.acceptor.next_deadline()) == (False, one.now + PAUSE)
    one.pass_time(PAUSE)
    assert one.is_watching


def test_a_busy_type_that_is_not_balanced_goes_on(scene):
    """It does not look at the others."""
    one = scene(0, is_balanced=False).watch(3)
    one.acceptor.adjust(3, has_room=True, is_busy=True)
    assert one.is_watching


def test_room_that_ends_in_between_ends_the_accepting(scene):
    """A type may adjust after each connection."""
    one = scene().watch()
    one.listeners[0].queue += ["a", "b", "c"]
    taken = []
    for connection, peer, fd in one.acceptor.accept_from(100):
        assert (peer, fd) == (("192.0.2.1", 1), 100)
        taken.append(connection)
        one.acceptor.adjust(len(taken), has_room=len(taken) < 2)
    assert taken == ["a", "b"]


def test_nobody_waits_for_a_worker_that_takes_nothing(scene):
    """Pauses that end with a connection still waiting, again and again, show that it is stopped or stuck."""
    one = scene(2).watch(20)
    for number in range(MOST_MISSED):
        assert one.accept(f"c{number}") == [f"c{number}"]
        assert not one.is_watching
        one.pass_time(PAUSE)
    one.accept("last")
    assert one.is_watching
    one.slots[1].set_load(4)
    one.accept("it has moved")
    assert not one.is_watching


def test_a_connection_that_comes_later_shows_nothing(scene):
    """The others had no occasion to take it during the pause."""
    one = scene(2).watch(20)
    for number in range(3 * MOST_MISSED):
        one.accept(f"c{number}")
        assert not one.is_watching
        one.pass_time(PAUSE)
        one.pass_time(1)


@pytest.mark.parametrize("fault", sorted(accepting.GONE_MEANWHILE))
def test_faults_of_one_connection_are_passed_over(scene, fault):
    """accept(2): they are the client's, and the next one waits."""
    assert scene().watch().accept(fault, "a", fault) == ["a"]


def test_faults_of_the_listener_are_raised(scene):
    """A listener that is none ends the worker, with a line in the log."""
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        scene().watch().accept(errno.EBADF)


def test_the_spare_descriptor_serves_who_woke_a_worker_without_any(scene, caplog):
    """The client would be stranded; then nothing is accepted until the spare can be had again."""
    one = scene().watch()
    assert one.accept(errno.EMFILE, "a", "b") == ["a"]
    assert scene.closed == [1000]
    assert (one.is_watching, one.load) == (False, 0)
    assert one.acceptor.next_deadline() == one.now + DESCRIPTOR_PAUSE
    assert len(caplog.records) == 1
    assert "cannot accept: Too many open files; trying again in 0.5 s" in caplog.text
    one.acceptor.adjust(1, has_room=True)
    one.pass_time(DESCRIPTOR_PAUSE)
    assert (one.is_watching, one.load, one.acceptor.next_deadline()) == (True, 2, math.inf)
    assert one.accept() == ["b"]
    assert one.is_watching
    assert one.accept(errno.EMFILE, "c", "d") == ["c"]
    assert scene.closed == [1000, 1001]
    assert len(caplog.records) == 1, "another shortage, too soon for another line"
    one.pass_time(COMPLAINT_INTERVAL)
    assert one.accept() == ["d"]
    assert one.accept(errno.EMFILE, "e") == ["e"]
    assert len(caplog.records) == 2
    assert caplog.records[1].getMessage().endswith("; 2 times since this was last told")


def test_without_the_spare_the_pause_goes_on(scene, monkeypatch, caplog):
    """It is tried for twice a second, and said once."""
    one = scene().watch()
    assert one.accept(errno.EMFILE, "a") == ["a"]
    monkeypatch.setattr(accepting, "_open_spare", lambda: -1)
    for _ in range(3):
        one.pass_time(DESCRIPTOR_PAUSE)
        assert not one.is_watching
        assert one.acceptor.next_deadline() == one.now + DESCRIPTOR_PAUSE
    assert one.accept(errno.EMFILE) == []
    assert len(caplog.records) == 1


def test_connections_that_end_shorten_the_want_of_descriptors(scene):
    """One that ends gives the spare back, the next one the room for another."""
    one = scene().watch(10)
    assert one.accept(errno.EMFILE, "a") == ["a"]
    one.acceptor.adjust(11, has_room=True)
    one.acceptor.adjust(10, has_room=True)
    assert not one.is_watching
    one.acceptor.adjust(9, has_room=True)
    assert one.is_watching


def test_descriptors_may_be_wanting_when_nobody_waits(scene):
    """Accept fails all the same, before it looks at the queue; the worker knows beforehand that it has no room."""
    one = scene().watch()
    one.listeners[0].queue.append(errno.ENFILE)
    assert list(one.acceptor.accept_from(100)) == []
    assert not one.is_watching
    one.pass_time(DESCRIPTOR_PAUSE)
    assert one.is_watching


def test_a_retiring_worker_owes_one_wake_up_for_each_listener(scene):
    """The others have the rest; nothing is watched or due any more."""
    one = scene(5, listeners=2).watch(3)
    for listener in one.listeners:
        listener.queue += ["a", "b"]
    assert [(connection, fd) for connection, _, fd in one.acceptor.owed()] == [("a", 100), ("a", 101)]
    assert (one.is_watching, one.load, one.acceptor.next_deadline()) == (False, 0, math.inf)
    one.acceptor.adjust(0, has_room=True)
    one.pass_time(60)
    assert not one.is_watching


def test_an_address_that_is_given_up_owes_all_that_waits(scene):
    """A reload has removed it: nobody else will take the rest. At the others there is somebody."""
    one = scene(listeners=2).watch()
    one.listeners[0].is_refused = True
    for listener in one.listeners:
        listener.queue += ["a", "b", "c"]
    assert [connection for connection, _, _ in one.acceptor.owed()] == ["a", "b", "c", "a"]


def test_a_stopping_server_owes_all_that_waits_now(scene):
    """What comes later is not its to wait for: a stop must end."""
    one = scene().watch()
    one.scoreboard.set_stopping()
    one.listeners[0].queue += ["a", "b", "c"]
    owed = one.acceptor.owed()
    taken = [next(owed)[0]]
    one.listeners[0].queue.append("d")
    taken += [connection for connection, _, _ in owed]
    assert taken == ["a", "b", "c"]


def test_a_unix_socket_is_emptied(scene):
    """Its queue has no length that can be asked for, and its path is gone: it ends by itself."""
    one = scene(0).watch()
    one.listeners[0].family = socket.AF_UNIX
    one.scoreboard.set_stopping()
    one.listeners[0].queue += ["a", "b", "c"]
    assert [connection for connection, _, _ in one.acceptor.owed()] == ["a", "b", "c"]


def test_on_a_unix_socket_only_what_is_accepted_counts(scene):
    """Without the length of the queue the share is smaller, and the pauses more."""
    one = scene(0, 0, 0).watch()
    one.listeners[0].family = socket.AF_UNIX
    assert one.accept(*"abcdefgh") == ["a", "b"]


def test_the_spare_is_a_descriptor():
    """It is one of the process's own, and there may be none left."""
    fd = accepting._open_spare()
    os.fstat(fd)
    os.close(fd)


def test_there_may_be_no_spare(monkeypatch):
    """At the limit from the start: then a client has to wait."""

    def fail(path, flags):
        raise OSError(errno.EMFILE, "none")

    monkeypatch.setattr(accepting.os, "open", fail)
    assert accepting._open_spare() == -1
