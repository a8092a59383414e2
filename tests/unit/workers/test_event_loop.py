"""The loop of many connections, turn by turn, on real sockets and at a time that the test moves."""

import contextlib
import logging
import os
import signal
import socket
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from pyfork.config.schema import HttpSettings, Settings
from pyfork.connection import nonblocking, uptake
from pyfork.connection.host import FIRST_PATIENCE, Phase
from pyfork.connection.opening import LONGEST_SLICE
from pyfork.connection.patience import SLOW_PATIENCE, STALL_PATIENCE, Delivery
from pyfork.errors import QuitNow
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Listener
from pyfork.ipc.scoreboard import Scoreboard
from pyfork.workers import accepting, base, event_loop, lingering, selector
from pyfork.workers.event_loop import LONGEST_BATCH, SWEEP_INTERVAL
from pyfork.workers.room import SHORTEST_INTERVAL, Room
from pyfork.workers.selector import FEWEST_HELD, SHORTEST_PAUSE, AsyncWorker

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class NoPatience:
    """A poller that never sleeps, and remembers how long it might have."""

    def __init__(self, poller):
        self._poller = poller
        self.timeouts = []
        self.stale = []

    def __getattr__(self, name):
        return getattr(self._poller, name)

    def poll(self, timeout):
        self.timeouts.append(timeout)
        stale, self.stale = self.stale, []
        return [*self._poller.poll(0), *stale]


class Scene:
    """An async worker, the clients that come to it, and the application's behaviour by path."""

    def __init__(self, monkeypatch, **http):
        self.clock = Clock()
        for module in (accepting, event_loop, lingering, nonblocking, selector):
            monkeypatch.setattr(module, "monotonic", self.clock)
        monkeypatch.setattr(base.lifeline, "arm", lambda *_: None)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lifeline, self.arbiter = os.pipe()
        self.beats, beat_fd = os.pipe()
        self.address = self.listener.getsockname()
        settings = Settings(http=HttpSettings(**http))
        self.scoreboard = Scoreboard()
        self.scoreboard.reserve(0)
        handoff = SimpleNamespace(
            settings=settings,
            scoreboard=self.scoreboard,
            slot=0,
            number=1,
            generation=1,
            listeners=[Listener(self.listener.detach(), "tcp", "127.0.0.1", 1, "a")],
            lifeline_fd=self.lifeline,
            control_fd=None,
            refork_at=0,
            fault=None,
            certificates=None,
        )
        self.heartbeat = Heartbeat(beat_fd, 30)
        self.heartbeat.next_beat = 1e9
        self.worker = worker = AsyncWorker(handoff, self.heartbeat)
        worker.signals.take_wakeup_back = lambda: None
        worker.poller = self.poller = NoPatience(worker.poller)
        worker.acceptor._poller = worker._lingering._epoll = self.poller
        self.behaviour = {}
        self.asked = []
        worker.boot(self.application)
        self.poller.register(worker.signals.fd, 1)
        self.poller.register(self.lifeline, 1)
        worker.acceptor.watch()
        self.fds = [self.lifeline, self.arbiter, self.beats, beat_fd, worker.signals.fd, worker.signals.write_fd]
        self.clients = []

    def application(self, environ, start_response):
        path = environ["PATH_INFO"]
        self.asked.append(path)
        body = self.behaviour.get(path, lambda: None)()
        start_response("200 OK", [])
        return [body or path.encode()]

    def connect(self, octets=b""):
        client = socket.create_connection(self.address, timeout=10)
        self.clients.append(client)
        client.sendall(octets)
        return client

    def turn(self, times=1):
        for _ in range(times):
            self.worker._turn()

    def close(self):
        self.worker._lingering.close()
        self.worker.poller.close()
        for connection in [*self.worker.connections.values(), *self.clients]:
            (connection if isinstance(connection, socket.socket) else connection.sock).close()
        self.worker.close()
        os.close(self.worker.acceptor._spare)
        for fd in self.fds:
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def scene(monkeypatch):
    scenes = []

    def make(**http):
        scenes.append(Scene(monkeypatch, **http))
        return scenes[-1]

    yield make
    for each in scenes:
        each.close()


def receive(client):
    """Return what has come to a client, None at the end of the connection."""
    client.setblocking(False)
    try:
        return client.recv(65536) or None
    except BlockingIOError:
        return b""


def get(path):
    return GET.replace(b"/", path.encode(), 1)


# Turns.


def test_a_connection_is_accepted_served_and_let_go(scene):
    """The figures follow, and an idle loop has nothing to wake up for."""
    scene = scene()
    client = scene.connect(GET)
    scene.turn(2)
    assert receive(client).startswith(ANSWER)
    assert len(scene.worker.connections) == 1
    client.close()
    scene.turn()
    assert scene.worker.connections == {}
    scene.clock.now += 100
    scene.turn(2)
    assert scene.poller.timeouts[-1] > 1e8  # until the next beat


def test_deadlines_are_looked_at_in_time(scene):
    """Not earlier, and no later than a sweep's interval; the poller does not sleep beyond."""
    scene = scene(keep_alive=5, header_timeout=10)
    silent = scene.connect()
    idle = scene.connect(GET)
    scene.turn(3)
    assert scene.poller.timeouts[-1] <= 5
    scene.clock.now += 4.99
    scene.turn()
    assert len(scene.worker.connections) == 2
    scene.clock.now += SWEEP_INTERVAL + 0.01
    scene.turn(2)
    assert len(scene.worker.connections) == 1
    assert receive(idle).startswith(ANSWER)
    assert receive(idle) is None
    assert scene.poller.timeouts[-1] <= 5
    scene.clock.now += 5
    scene.turn()
    assert scene.worker.connections == {}
    assert receive(silent) is None


def test_a_request_that_came_in_time_is_answered_in_the_sweep(scene):
    """The loop was busy until after the deadline; the response does not wait for the next turn."""
    scene = scene(keep_alive=5)
    client = scene.connect(GET)
    scene.turn(2)
    receive(client)
    client.sendall(get("/late"))
    scene.clock.now += 6
    scene.poller.poll = lambda timeout: []  # the kernel had nothing to report when it was asked
    scene.turn()
    assert receive(client).endswith(b"/late")


def test_a_stale_event_harms_nobody(scene):
    """A descriptor that was closed and taken anew within one turn: what is reported was the old one's."""
    scene = scene()
    client = scene.connect()
    scene.turn()
    (fd,) = scene.worker.connections
    scene.poller.stale = [(fd, 1), (fd, 16), (12345, 1)]
    scene.turn()
    client.sendall(GET)
    scene.turn()
    assert receive(client).startswith(ANSWER)


def test_a_fault_of_ours_ends_one_connection(scene, monkeypatch, caplog):
    """It is logged and counted; the others are served."""
    scene = scene()
    broken, good = scene.connect(GET), scene.connect(GET)
    scene.turn()
    first = min(scene.worker.connections)

    def fail(answer):
        if answer._line.sock.fileno() == first:
            raise ZeroDivisionError
        return end(answer)

    end = nonblocking.Answer.end
    monkeypatch.setattr(nonblocking.Answer, "end", fail)
    with caplog.at_level(logging.ERROR, logger="pyfork.error"):
        scene.turn()
    assert "a connection ended by a fault of the server" in caplog.text
    assert receive(broken) is not None
    assert receive(broken) is None
    assert receive(good).startswith(ANSWER)
    assert len(scene.worker.connections) == 1
    assert scene.worker.slot.in_flight == 0


@pytest.mark.parametrize("stage", ["resume", "on_deadline"])
def test_a_fault_at_another_stage_does_too(scene, monkeypatch, caplog, stage):
    """Wherever the loop calls a connection."""
    scene = scene()

    def fail(*_):
        raise ZeroDivisionError

    client = scene.connect(GET * 40 if stage == "resume" else b"")
    monkeypatch.setattr(nonblocking.NonblockingConnection, stage, fail)
    with caplog.at_level(logging.ERROR, logger="pyfork.error"):
        scene.turn(2)
        scene.clock.now += 100
        scene.turn()
    assert scene.worker.connections == {}
    assert caplog.text.count("a connection ended by a fault of the server") == 1
    client.close()


def test_those_who_have_had_their_turn_go_on(scene):
    """In the same turn, behind the others; and the poller does not sleep while there are some."""
    scene = scene()
    many, one = scene.connect(GET * 60), scene.connect()
    scene.turn(2)
    assert scene.poller.timeouts[-1] == 0 or len(scene.asked) >= 32
    one.sendall(get("/one"))
    scene.turn(3)
    assert "/one" in scene.asked[:60]
    assert len(scene.asked) == 61
    received = b""
    while received.count(ANSWER) < 60:  # TCP sends some of them when it has heard of others
        received += many.recv(65536)


def test_a_slow_client_is_watched_for_what_it_takes(scene):
    """And for its next request afterwards; what it sends meanwhile is not reported over and over."""
    scene = scene()
    scene.behaviour["/large"] = lambda: bytes(20_000_000)
    client = scene.connect(get("/large"))
    scene.turn(2)
    (connection,) = scene.worker.connections.values()
    assert connection.phase is Phase.SENDING
    client.sendall(get("/next"))
    received, octets = 0, b""
    while not octets.endswith(b"/next"):
        octets = client.recv(1 << 20)
        received += len(octets)
        scene.turn()
    assert received > 20_000_000
    assert scene.asked == ["/large", "/next"]
    assert connection.phase is Phase.READING


def test_what_comes_between_two_turns_is_muted(scene):
    """The connection waits for its turn; it is put back into the poller when it has had it."""
    scene = scene()
    client = scene.connect()
    scene.turn()
    (connection,) = scene.worker.connections.values()
    watched = []

    def send_more():
        if len(scene.asked) in {1, 20, 40}:
            client.sendall(get("/more"))
        watched.append(connection.watched)

    scene.behaviour["/"] = send_more
    client.sendall(GET * 70)
    scene.turn(10)
    assert scene.asked.count("/more") == 3
    assert len(scene.asked) == 73
    assert connection.watched
    assert 0 in watched or len(watched) == 70


# Responses that are held.


def test_responses_of_one_turn_are_sent_in_order_at_its_end(scene):
    """None before the last request of the turn has been answered."""
    scene = scene()
    clients = [scene.connect() for _ in range(8)]
    scene.turn()
    sent = []
    for number, client in enumerate(clients):
        client.sendall(get(f"/{number}"))
        scene.behaviour[f"/{number}"] = lambda: sent.append([receive(each) for each in clients])
    scene.turn()
    assert sent == [[b""] * 8] * 8
    assert [receive(client)[-2:] for client in clients] == [b"/%d" % number for number in range(8)]


def test_what_takes_long_sends_those_before_it(scene):
    """After LONGEST_BATCH; if few were ready by then, none is held for a while."""
    scene = scene()
    clients = [scene.connect() for _ in range(3)]
    scene.turn()
    sent = []

    def slow():
        scene.clock.now += 2 * LONGEST_BATCH
        sent.append([bool(receive(each)) for each in clients])

    for number, client in enumerate(clients):
        client.sendall(get(f"/{number}"))
        scene.behaviour[f"/{number}"] = slow
    scene.turn()
    assert sent[0] == [False] * 3
    assert sent[1] == [True, False, False]
    assert not scene.worker._may_hold
    scene.clock.now += 2 * SHORTEST_PAUSE
    scene.turn()
    assert scene.worker._may_hold
    assert FEWEST_HELD > 1


def test_a_client_that_goes_while_it_is_held_is_let_go(scene):
    """The others get theirs."""
    scene = scene()
    first, second = scene.connect(), scene.connect()
    scene.turn()

    def leave():
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.close()

    scene.behaviour["/second"] = leave
    first.sendall(GET)
    scene.worker.poller.poll = lambda timeout: [(fd, 1) for fd in sorted(scene.worker.connections)]
    second.sendall(get("/second"))
    scene.turn()
    assert receive(second).endswith(b"/second")
    assert len(scene.worker.connections) == 1
    assert scene.worker.slot.in_flight == 0


def test_quit_sends_what_is_held(scene, monkeypatch):
    """Finished is finished, whoever is given up behind it."""
    scene = scene()
    first, second = scene.connect(), scene.connect()
    scene.turn()

    def leave():
        raise QuitNow

    scene.behaviour["/second"] = leave
    first.sendall(GET)
    second.sendall(get("/second"))
    monkeypatch.setattr(scene.worker, "begin_serving", lambda: None)
    scene.worker.acceptor.unwatch()
    scene.poller.unregister(scene.worker.signals.fd)
    scene.poller.unregister(scene.lifeline)
    with pytest.raises(QuitNow):
        scene.worker.run()
    assert receive(first).startswith(ANSWER)
    assert receive(second) == b""


def test_a_fault_over_a_held_response_ends_its_connection(scene, monkeypatch, caplog):
    """The others are sent."""
    scene = scene()
    clients = [scene.connect(), scene.connect()]
    scene.turn()
    for client in clients:
        client.sendall(GET)
    send = nonblocking.NonblockingConnection.send_held
    failed = []

    def fail(connection):
        if not failed:
            failed.append(connection)
            raise ZeroDivisionError
        send(connection)

    monkeypatch.setattr(nonblocking.NonblockingConnection, "send_held", fail)
    scene.turn()
    assert sorted([bool(receive(client)) for client in clients]) == [False, True]
    assert "fault of the server" in caplog.text
    assert scene.worker.slot.in_flight == 0


# The end.


def test_retiring_answers_what_is_owed_and_says_close(scene, monkeypatch):
    """An idle connection keeps its time, and so does one that has said nothing; then the worker has ended."""
    scene = scene(keep_alive=5, header_timeout=10)
    idle, silent = scene.connect(GET), scene.connect()
    scene.turn(2)
    receive(idle)
    queued = scene.connect(GET)
    monkeypatch.setattr(scene.worker, "begin_serving", lambda: None)
    worker = scene.worker
    worker.acceptor.unwatch()
    scene.poller.unregister(worker.signals.fd)
    scene.poller.unregister(scene.lifeline)
    worker.is_draining = True
    turn, seen = worker._turn, []

    def watched_turn():
        seen.append(len(worker.connections))
        turn()
        scene.clock.now += 1

    monkeypatch.setattr(worker, "_turn", watched_turn)
    worker.run()
    answer = receive(queued)
    assert b"Connection: close" in answer
    assert seen[0] == 3
    assert 9 <= len(seen) <= 13
    assert receive(idle) is None
    assert receive(silent) is None


def test_a_signal_is_looked_for_between_two_turns(scene):
    """However busy the loop is; responses from then on say close."""
    scene = scene()
    client = scene.connect()
    scene.turn()
    scene.worker.signals._note(signal.SIGTERM, None)
    scene.clock.now += event_loop.LOOK_INTERVAL
    scene.poller.unregister(scene.worker.signals.fd)  # the poller did not tell
    scene.turn()
    assert scene.worker.is_draining
    client.sendall(GET)
    scene.turn()
    assert b"Connection: close" in receive(client)


def test_an_orphan_ends_the_idle_at_once(scene, monkeypatch):
    """Nobody would replace it; what is lingering is closed, too."""
    scene = scene()
    idle = scene.connect(GET)
    refused = scene.connect(b"garbage\r\n\r\n")
    scene.turn(2)
    assert len(scene.worker._lingering) == 1
    os.close(scene.arbiter)
    scene.worker.signals.is_pending = True
    scene.turn()
    assert scene.worker.is_orphaned
    scene.poller.unregister(scene.worker.signals.fd)
    monkeypatch.setattr(scene.worker, "begin_serving", lambda: None)
    scene.poller.register(scene.lifeline, 1)
    scene.poller.unregister(scene.lifeline)
    scene.worker.acceptor.unwatch()
    scene.worker.poller.register = lambda *_: None
    scene.worker.acceptor.watch = lambda: None
    scene.worker.run()
    assert scene.worker.connections == {}
    assert receive(idle).startswith(ANSWER)
    assert receive(idle) is None
    assert b"400 Bad Request" in receive(refused)


class Full:
    """A worker that may have three connections, each with its own pace, and one more client who waits."""

    def __init__(self, scene, *requests):
        self.scene = scene
        scene.worker._room = Room(scene.worker.sockets, 3)
        scene.worker._room.most = 1
        workers = replace(scene.worker.settings.workers, connections=3)
        scene.worker.settings = replace(scene.worker.settings, workers=workers)
        self.clients = [scene.connect(octets) for octets in requests]
        scene.turn(2)
        self.late = scene.connect(GET)

    def pass_time(self, seconds):
        """Let it pass in steps, as a loop that is woken by its deadlines does."""
        for _ in range(round(seconds * 10)):
            self.scene.clock.now += 0.1
            self.scene.turn()

    def answers(self):
        return [receive(client) for client in self.clients]


def test_a_full_worker_looks_for_those_who_wait(scene):
    """Nothing else would wake it: its listeners are out of the loop."""
    full = Full(scene(), GET, GET, GET)
    full.scene.turn()
    assert full.scene.poller.timeouts[-1] <= SHORTEST_INTERVAL + 1e-6


def test_an_idle_client_makes_way_at_once(scene):
    """The one that has been idle for the longest; and the one who waited is served."""
    full = Full(scene(), GET, GET, GET)
    for client in (full.clients[0], full.clients[2]):
        full.scene.clock.now += 0.01
        client.sendall(GET)
        full.scene.turn()
    full.pass_time(0.3)
    assert all(answer.startswith(ANSWER) for answer in full.answers())
    assert full.answers() == [b"", None, b""]
    assert receive(full.late).startswith(ANSWER)


@pytest.mark.parametrize(
    ("request_", "patience"),
    [
        (b"GET / HT", FIRST_PATIENCE),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcd", SLOW_PATIENCE),
    ],
)
def test_a_slow_request_makes_way_after_a_while(scene, request_, patience):
    """A head after a second, a body after two; those that have just begun are left alone."""
    full = Full(scene(), request_, request_, request_)
    full.pass_time(patience - 0.3)
    assert full.answers() == [b"", b"", b""]
    assert receive(full.late) == b""
    full.pass_time(0.6)
    assert sorted(answer[:12] for answer in full.answers()) == [b"", b"", b"HTTP/1.1 408"]
    assert receive(full.late).startswith(ANSWER)


class Readers(Full):
    """Three clients that read nothing of a response each, and the kernel's account of them, in their order."""

    def __init__(self, monkeypatch, scene, *deliveries):
        scene.behaviour["/big"] = lambda: bytes(8_000_000)
        super().__init__(scene, *[GET.replace(b"/ ", b"/big ")] * 3)
        readers = list(scene.worker.connections.values())
        assert [reader.phase for reader in readers] == [Phase.SENDING] * 3
        accounts = {reader.sock: delivery for reader, delivery in zip(readers, deliveries, strict=True)}
        monkeypatch.setattr(uptake, "octets_unsent", lambda _: 100_000)
        monkeypatch.setattr(uptake, "delivery_to", accounts.get)
        for reader in readers:
            reader.uptake = uptake.Uptake(reader.sock, reader.context.http, scene.clock.now)
        self.readers = readers

    def left(self):
        """Return which of them are."""
        connections = self.scene.worker.connections.values()
        return [number for number, reader in enumerate(self.readers) if reader in connections]


def test_the_reader_that_has_taken_the_least_makes_way_first(scene, monkeypatch):
    """Though it came last; a slow line is left alone for longer, and nobody makes way in vain."""
    line, much = Delivery(0, is_stalled=False, quiet=9.0), Delivery(9000, is_stalled=True, quiet=9.0)
    full = Readers(monkeypatch, scene(), line, much, Delivery(8000, is_stalled=True, quiet=9.0))
    full.pass_time(STALL_PATIENCE - 0.1)
    assert full.left() == [0, 1, 2]
    full.scene.clock.now += SLOW_PATIENCE
    full.scene.turn(3)
    assert full.left() == [0, 1]
    assert receive(full.late).startswith(ANSWER)
    full.pass_time(1)
    assert full.left() == [0, 1], "nobody waits"


def test_a_stalled_reader_makes_way_before_a_slow_line_does(scene, monkeypatch):
    """As soon as it may, and long before its deadline."""
    line, stalled = Delivery(0, is_stalled=False, quiet=0.0), Delivery(0, is_stalled=True, quiet=9.0)
    full = Readers(monkeypatch, scene(), line, line, stalled)
    full.pass_time(STALL_PATIENCE + 0.2)
    assert full.left() == [0, 1]
    assert receive(full.late).startswith(ANSWER)


def test_a_fault_of_ours_over_a_reader_ends_it(scene, monkeypatch):
    """And the loop goes on."""

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(nonblocking.NonblockingConnection, "break_off", fail)
    full = Readers(monkeypatch, scene(), *[Delivery(0, is_stalled=True, quiet=9.0)] * 3)
    full.pass_time(STALL_PATIENCE + 0.2)
    assert len(full.left()) == 2
    assert receive(full.late).startswith(ANSWER)


def test_an_idle_client_makes_way_before_a_slow_one(scene):
    """It loses nothing."""
    full = Full(scene(keep_alive=60), b"GET / HT", GET, b"GET / HT")
    full.scene.clock.now += 2
    full.scene.turn(3)
    assert receive(full.late).startswith(ANSWER)
    slow, idle, _ = full.clients
    assert receive(slow) == b""
    assert receive(idle).startswith(ANSWER)
    assert receive(idle) is None


def test_a_fault_of_ours_ends_who_makes_way(scene, monkeypatch):
    """And the loop goes on."""

    def fail(*_):
        raise ZeroDivisionError

    full = Full(scene(), GET, GET, GET)
    monkeypatch.setattr(nonblocking.NonblockingConnection, "make_way", fail)
    full.pass_time(0.3)
    assert receive(full.late).startswith(ANSWER)


def test_retiring_does_not_outlast_the_grace_for_idle_clients(scene):
    """keep_alive may be longer than graceful_timeout; the arbiter would kill the worker."""
    scene = scene(keep_alive=75)
    idle = scene.connect(GET)
    scene.turn(2)
    receive(idle)
    scene.worker.is_draining = True
    scene.worker.retire()
    (connection,) = scene.worker.connections.values()
    assert connection.deadline <= scene.clock.now + scene.worker.settings.workers.graceful_timeout / 2


def test_who_begins_while_the_worker_retires_has_no_more_time(scene):
    """A handshake, or a PROXY header, that ends then would begin a full header_timeout."""
    scene = scene(header_timeout=75)
    scene.connect(b"GET ")
    scene.turn()
    scene.worker.is_draining = True
    scene.worker.retire()
    (old,) = scene.worker.connections.values()
    new = nonblocking.NonblockingConnection(old.sock, old.peer, old.context, scene.worker)
    scene.worker.replace(old, new)
    assert new.deadline <= scene.clock.now + scene.worker.settings.workers.graceful_timeout / 2


def test_the_title_follows_what_is_in_flight(scene, monkeypatch):
    """At most ten times a second."""
    scene = scene()
    titles = []
    monkeypatch.setattr(event_loop.title, "set_title", titles.append)
    for in_flight in (3, 3, 0):
        scene.worker.slot.in_flight = in_flight
        scene.worker._look_around()
    assert [title.rpartition("] ")[2] for title in titles] == ["3 in flight", "idle"]


def test_the_loop_beats_between_two_connections(scene, monkeypatch):
    """When the application takes long."""
    scene = scene()
    beats = []
    scene.heartbeat.next_beat = scene.clock.now

    def beat():
        beats.append(scene.clock.now)
        scene.heartbeat.next_beat = scene.clock.now + 5

    monkeypatch.setattr(scene.worker, "beat_if_due", beat)

    def slow():
        scene.clock.now += 6

    scene.behaviour["/slow"] = slow
    clients = [scene.connect(), scene.connect()]
    scene.turn()
    for client in clients:
        client.sendall(get("/slow"))
    scene.turn()
    assert len(beats) >= 3
    assert {each.phase for each in scene.worker.connections.values()} == {Phase.READING}


def test_a_copy_holds_no_connection(scene, monkeypatch):
    """A process that the application forks closes its descriptors; nothing is said to the poller, which is shared."""
    scene = scene()
    client = scene.connect()
    scene.turn()
    monkeypatch.setattr(base, "reset_in_child", lambda: None)
    (connection,) = scene.worker.connections.values()
    scene.worker._on_copied()
    assert connection.sock.fileno() == -1
    assert scene.worker.is_copy
    scene.worker.connections.clear()
    client.close()


def test_the_access_log_is_written_once_a_turn(scene):
    """All lines of the responses that were held, whatever happens meanwhile."""
    scene = scene()
    calls = []
    scene.worker._access_log = SimpleNamespace(
        gather=lambda: calls.append("gather"), flush=lambda: calls.append("flush")
    )
    client = scene.connect(GET)
    scene.turn()
    calls.clear()
    scene.turn()
    assert calls == ["gather", "flush"]
    assert receive(client).startswith(ANSWER)

    def fail(now):
        raise ZeroDivisionError

    scene.worker.finish_batch = fail
    with pytest.raises(ZeroDivisionError):
        scene.turn()
    assert calls == ["gather", "flush"] * 2


# Handshakes.


class Step:
    """An opening whose step takes the clock on, and looks what clients have got by then."""

    def __init__(self, scene, done, seconds, clients=()):
        self.scene, self.done, self.seconds, self.clients = scene, done, seconds, clients

    def advance(self):
        self.done.append([receive(client).startswith(ANSWER) for client in self.clients])
        self.scene.clock.now += self.seconds


def test_who_is_connected_waits_for_one_step_of_a_handshake_at_most(scene):
    """However many handshakes wait: all that has come is answered first, also what is held to be sent with others."""
    scene = scene()
    clients = [scene.connect() for _ in range(4)]
    scene.turn(2)
    done = []
    scene.worker.openings._clock = scene.clock
    for _ in range(20):
        scene.worker.openings.append(Step(scene, done, 0.001, clients))
    for turn in range(1, 6):
        for client in clients:
            client.sendall(GET)
        scene.turn()
        assert done == [[True] * 4] * turn
        assert scene.poller.timeouts[-1] == 0


def test_several_quick_steps_fit_into_a_turn(scene):
    """The loop does not go round for each."""
    scene = scene()
    done = []
    scene.worker.openings._clock = scene.clock
    for _ in range(20):
        scene.worker.openings.append(Step(scene, done, LONGEST_SLICE / 4))
    scene.turn()
    assert len(done) == 4
    scene.turn(4)
    assert len(done) == 20
    assert not scene.worker.openings
