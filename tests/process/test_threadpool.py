"""The threadpool: what a thread costs, what one that hangs does to the others, and what ends."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import procfs
from tests.harness import PATIENCE, Server, parse_response, processes_of_session, read_all, reserve_port, wait_until

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"

SITE = """
import itertools, os, threading, time
LABEL = "one"
order = []
hundred = threading.Barrier(100)
def app(environ, start_response):
    path = environ["PATH_INFO"]
    order.append(path)
    body = LABEL.encode()
    if path == "/wait":
        open("waiting", "w").close()
        while not os.path.exists("open"): time.sleep(0.01)
    elif path == "/together":
        hundred.wait()
    elif path == "/order":
        body = " ".join(order).encode()
    elif path == "/fork" and os.fork() == 0:
        body = b"the copy's"
    elif path in ("/written", "/streamed"):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        blocks = itertools.repeat(bytes(65536), 320)
        if path == "/streamed":
            return blocks
        for block in blocks:
            write(block)
        return []
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that can wait."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(SITE)
    return directory


@pytest.fixture
def serve(start: Callable[..., Server], site: Path) -> Callable[..., Server]:
    """Start a server of the type, for `SITE` unless told otherwise, with settings of ``[workers]``."""

    def serve_site(app: str = "site1:app", **workers: float) -> Server:
        place = {"cwd": site} if app == "site1:app" else {}
        # Clients may think as long as they like: what they have yet to send is not the server's to wait for, or not to.
        http = {"keep_alive": 60, "header_timeout": 60}
        server = start(app, settings={"workers": {"type": "threadpool", **workers}, "http": http}, **place)
        server.wait_workers(int(workers.get("count", 1)))
        return server

    return serve_site


@pytest.fixture
def connect() -> Iterator[Callable[[Server], socket.socket]]:
    """Open connections that are closed at the end."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(server.connect())


def receive(connection: socket.socket) -> bytes:
    """Return the body of the one response that comes; b"" if the server closes instead."""
    octets = b""
    while True:
        received = connection.recv(65536)
        if not received:
            assert not octets, f"broken off: {octets!r}"
            return b""
        octets += received
        if b"\r\n\r\n" in octets and len(octets) >= _length(octets):
            return parse_response(octets)[0].body


def _length(octets: bytes) -> int:
    head, _, _ = octets.partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def ask(connection: socket.socket, path: bytes = b"/") -> bytes:
    """Send a request and return the body of its response."""
    connection.sendall(GET % path)
    return receive(connection)


def threads_of(pid: int) -> int:
    """Return how many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.slow
def test_a_stuck_thread_is_told_of_and_its_worker_replaced_while_the_others_serve(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket]
) -> None:
    """Its stacks are in the log, and no other request fails before, while and after the worker is drained."""
    server = serve("faults:app", threads=2, timeout=1, graceful_timeout=3)
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    [stuck] = server.workers()
    connect(server).sendall(GET % b"/deadlock")
    asked = 0
    while asked <= 10 or stuck in server.workers():
        assert server.get("/sleep?seconds=0.01").status == 200
        asked += 1
    assert "GET /deadlock" in server.log
    assert 'faults.py", line' in server.log
    assert "in deadlock" in server.log
    (replacement,) = server.wait_workers(1)
    assert replacement != stuck


@pytest.mark.slow
def test_a_hundred_users_of_a_slow_page_are_served_at_once(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket]
) -> None:
    """Each waits until all the others are there: one after another they would take for ever."""
    server = serve(threads=100)
    connections = [connect(server) for _ in range(100)]
    for connection in connections:
        connection.sendall(GET % b"/together")
    for connection in connections:
        assert receive(connection) == b"one"


def test_an_idle_connection_costs_no_thread(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket]
) -> None:
    """Nor does one whose request does not come whole."""
    server = serve(threads=2)
    (worker,) = server.workers()
    before = threads_of(worker)
    idle = [connect(server) for _ in range(100)]
    for connection in idle:
        assert ask(connection) == b"one"
    dripping = connect(server)
    dripping.sendall(b"GET / HTTP/1.1\r\nHo")
    assert ask(connect(server)) == b"one"
    assert threads_of(worker) == before == 3
    assert ask(idle[0]) == b"one"


def test_what_waits_for_a_thread_is_served_in_order_and_bounded(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], site: Path
) -> None:
    """While the only thread is busy, connections stay with the kernel, or with workers that have a free thread."""
    server = serve(threads=1)
    (worker,) = server.workers()
    early = [connect(server) for _ in range(5)]
    for connection in early:
        assert ask(connection) == b"one"
    before = procfs.descriptor_kinds(worker)["socket"]
    early[0].sendall(GET % b"/wait")
    wait_until((site / "waiting").exists, "the thread is busy")
    for number, connection in enumerate(early[1:]):
        connection.sendall(GET % (b"/queued%d" % number))
    late = [connect(server) for _ in range(20)]
    for connection in late:
        connection.sendall(GET % b"/late")
    # Nobody can see that something does not happen: a worker that took them all would long have done so.
    threading.Event().wait(0.3)
    assert procfs.descriptor_kinds(worker)["socket"] <= before + 2
    (site / "open").touch()
    for connection in [*early, *late]:
        assert receive(connection) == b"one"
    paths = ask(early[0], b"/order").decode().split()
    assert [path for path in paths if path.startswith("/queued")] == [f"/queued{number}" for number in range(4)]
    assert paths.index("/late") > paths.index("/queued3")


def test_busy_connections_do_not_keep_new_ones_out(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], site: Path
) -> None:
    """All threads are taken and others wait for one: a new client waits with them after a second."""
    server = serve(threads=1)
    early = [connect(server) for _ in range(3)]
    for connection in early:
        assert ask(connection) == b"one"
    (worker,) = server.workers()
    early[0].sendall(GET % b"/wait")
    wait_until((site / "waiting").exists, "the thread is busy")
    for connection in early[1:]:
        connection.sendall(GET % b"/queued")
    before = procfs.descriptor_kinds(worker)["socket"]
    late = connect(server)
    late.sendall(GET % b"/late")
    wait_until(lambda: procfs.descriptor_kinds(worker)["socket"] > before, "the new client is let in")
    (site / "open").touch()
    for connection in [*early, late]:
        assert receive(connection) == b"one"


def test_who_waits_for_a_stuck_thread_is_told_to_try_again(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], site: Path
) -> None:
    """With 503, before the worker is killed: the application has not been called for that request."""
    server = serve(threads=1, timeout=1, graceful_timeout=2)
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    stuck, waiting = connect(server), connect(server)
    for connection in (stuck, waiting):
        assert ask(connection) == b"one"
    stuck.sendall(GET % b"/wait")  # the loop reads them in this order
    waiting.sendall(GET % b"/queued")  # at once: after a second the worker begins to end
    wait_until((site / "waiting").exists, "the thread is busy")
    answer = waiting.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Connection: close" in answer
    server.wait_log("did not end within 2 s")


@pytest.mark.parametrize("path", ["/streamed", "/written"])
def test_a_slow_client_holds_no_thread(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], path: str
) -> None:
    """What it does not take is the loop's, and the application is asked for more when it does."""
    server = serve(threads=1)
    slow = connect(server)
    slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    for _ in range(5):
        assert server.get("/").body == b"one"
    octets = read_all(slow)
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")
    assert octets.endswith(b"0\r\n\r\n")
    assert len(octets) > 20 << 20


@pytest.mark.parametrize("path", ["/deadlock", "/loop/stubborn", "/sleep?seconds=60"])
@pytest.mark.slow
def test_quit_ends_at_once_whatever_the_threads_do(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], path: str
) -> None:
    """The finalisation of the interpreter waits for none of them."""
    server = serve(
        "faults:app", threads=2, timeout=12, graceful_timeout=2 * PATIENCE
    )  # the title is renewed in a quarter
    connect(server).sendall(GET % path.encode())
    wait_until(lambda: "1 in flight" in " ".join(server.titles()), "the request is in flight")
    server.signal("QUIT")
    assert server.wait() == 0


def test_the_title_shows_the_number_in_flight(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket], site: Path
) -> None:
    """It is renewed with the beat."""
    server = serve(threads=3, timeout=12)
    waiting = [connect(server) for _ in range(3)]
    for connection in waiting[:2]:
        connection.sendall(GET % b"/wait")
    wait_until(lambda: "2 in flight" in " ".join(server.titles()), "the title has it")
    assert ask(waiting[2]) == b"one"
    (site / "open").touch()
    for connection in waiting[:2]:
        assert receive(connection) == b"one"
    wait_until(lambda: " idle" in " ".join(server.titles()), "the title has it")


def test_a_process_that_the_application_forks_from_a_thread_answers_and_ends(
    serve: Callable[..., Server], connect: Callable[[Server], socket.socket]
) -> None:
    """It must not serve the worker's other clients; the worker goes on."""
    server = serve(threads=2)
    before = set(processes_of_session(server.pid))
    connection = connect(server)
    assert ask(connection, b"/fork") in {b"one", b"the copy's"}
    wait_until(lambda: set(processes_of_session(server.pid)) == before, "the copy has ended")
    assert server.get("/").body == b"one"


class Client(threading.Thread):
    """Sends requests until told to stop, or until there is no server any more; each must get its whole response."""

    def __init__(self, server: Server, stop: threading.Event, *, keeps_alive: bool) -> None:
        super().__init__()
        self._server = server
        self._stop_event = stop
        self._request = GET % b"/" if keeps_alive else b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.answers: list[bytes] = []
        self.lost: list[str] = []

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                connection = self._server.connect()
            except ConnectionRefusedError:  # after TERM, that is no loss
                return
            try:
                with connection:
                    self._use(connection)
            except (OSError, AssertionError) as error:
                self.lost.append(repr(error))

    def _use(self, connection: socket.socket) -> None:
        """Send requests on one connection until the server says that it closes it."""
        while not self._stop_event.is_set():
            connection.sendall(self._request)
            octets = b""
            while b"\r\n\r\n" not in octets or len(octets) < _length(octets):
                received = connection.recv(65536)
                if not received:
                    raise AssertionError(f"closed after {octets!r}")
                octets += received
            response, _ = parse_response(octets)
            self.answers.append(response.body)
            if response.header("Connection") == "close":
                assert read_all(connection) == b""
                return


@pytest.fixture
def send_load() -> Iterator[Callable[..., list[Client]]]:
    """Start clients, four of either kind; they end with the test."""
    stop = threading.Event()
    clients: list[Client] = []

    def begin(server: Server) -> list[Client]:
        clients.extend(Client(server, stop, keeps_alive=number % 2 == 0) for number in range(8))
        for client in clients:
            client.start()
        wait_until(lambda: all(len(client.answers) > 5 for client in clients), "all are being served")
        return clients

    yield begin
    stop.set()
    for client in clients:
        client.join(PATIENCE)


@pytest.mark.slow
def test_ten_reloads_under_load_lose_nothing(
    serve: Callable[..., Server], send_load: Callable[..., list[Client]], site: Path
) -> None:
    """With keep-alive and without: each request that was begun gets its whole response."""
    server = serve(count=2, threads=4, graceful_timeout=120)  # clients may take their time for the next request
    clients = send_load(server)
    for generation in range(2, 12):
        (site / "site1.py").write_text(SITE.replace('"one"', f'"release {generation}"'))
        server.signal("HUP")
        server.wait_workers(2, generation)
    wait_until(lambda: all(client.answers[-1] == b"release 11" for client in clients), "all see the last release")
    assert [lost for client in clients for lost in client.lost] == []


@pytest.mark.slow
def test_term_under_load_loses_nothing(
    start: Callable[..., Server], send_load: Callable[..., list[Client]], site: Path
) -> None:
    """Clients that come later are refused, which is no loss."""
    port = reserve_port()
    workers = {"type": "threadpool", "threads": 4, "count": 2, "graceful_timeout": 120}
    settings = {"workers": workers, "http": {"keep_alive": 60}}  # clients may take their time for the next request
    server = start("site1:app", cwd=site, settings=settings, bind=[f"127.0.0.1:{port}"])
    server.port = port
    server.wait_workers(2)
    clients = send_load(server)
    server.signal("TERM")
    assert server.wait() == 0
    for client in clients:
        client.join(PATIENCE)
    assert [lost for client in clients for lost in client.lost] == []
