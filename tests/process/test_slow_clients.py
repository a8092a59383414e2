"""Clients that are slow on purpose, in every worker type: they are cut off, and do not keep others out."""

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests import procfs
from tests.conftest import WORKER_TYPES
from tests.harness import PATIENCE, Server, parse_response, read_all, wait_until

SITE = """
BIG = [bytes(8_000_000)]

def app(environ, start_response):
    length = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return BIG if environ["PATH_INFO"] == "/big" else [str(length).encode()]
"""
TIMEOUT = 0.5
CONNECTIONS = 8
SEVERAL = [name for name in WORKER_TYPES if name != "sync"]
"""The types that hold several clients at once."""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the application is."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "patient.py").write_text(SITE)
    return folder


@pytest.fixture
def impatient(share: Callable[..., Server], site: Path, worker_type: str) -> Server:
    """A server of each type that waits for no request; only slow ones are sent to it."""
    http = {"header_timeout": TIMEOUT, "body_timeout": TIMEOUT, "min_body_rate": 10_000}
    return share("patient:app", cwd=site, settings={"workers": {"type": worker_type}, "http": http})


@pytest.fixture
def demanding(share: Callable[..., Server], site: Path, worker_type: str) -> Server:
    """A server of each type that waits for no reader, and takes little."""
    http = {"write_timeout": TIMEOUT, "min_write_rate": 10_000_000, "limit_request_body": 1000}
    return share("patient:app", cwd=site, settings={"workers": {"type": worker_type}, "http": http})


@pytest.fixture
def patient(share: Callable[..., Server], site: Path, worker_type: str) -> Server:
    """A server of each type that waits for long, with few places."""
    settings = {
        "workers": {"type": worker_type, "connections": CONNECTIONS},
        "http": {"keep_alive": 60, "header_timeout": 60},
    }
    return share("patient:app", cwd=site, settings=settings)


def drip(client: socket.socket, octet: bytes) -> bytes:
    """Send one octet after another, until the server answers; return all that it says."""
    with contextlib.suppress(ConnectionError):  # it has read on for a while, and then no more
        while not select.select([client], [], [], 0.02)[0]:
            client.sendall(octet)
    return read_all(client)


@pytest.mark.parametrize(
    ("begin", "octet"),
    [
        (b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
        (POST % b"Content-Length: 1000\r\n", b"a"),
        (POST % b"Transfer-Encoding: chunked\r\n" + b"1;", b"a"),
    ],
    ids=["head", "body", "chunk extension"],
)
def test_a_request_that_drips_is_refused(impatient: Server, begin: bytes, octet: bytes) -> None:
    """An octet before each deadline does not make it last: the client reads a 408, not before its time.

    With a new deadline for each octet it would be something else, after twenty seconds at the earliest: 431, 200, 400.
    """
    [worker] = impatient.wait_workers(1)
    began = monotonic()
    with procfs.paused(worker), impatient.connect() as client:  # or it could find the client silent until its deadline
        client.sendall(begin)
        os.kill(worker, signal.SIGCONT)
        answer = parse_response(drip(client, octet))[0]
    assert answer.status == 408
    assert monotonic() - began > TIMEOUT * 0.9


def test_a_response_that_is_read_too_slowly_is_broken_off(demanding: Server) -> None:
    """Whoever takes an octet now and then does not hold a worker, or the memory of a response."""
    began = monotonic()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", demanding.port))
        client.sendall(GET.replace(b"/ ", b"/big "))
        poll = select.poll()
        poll.register(client, 0)  # its reset is reported in any case, and before what is still to be read
        while not poll.poll(20):
            client.recv(1)
            assert monotonic() - began < PATIENCE, "the server waits for ever"
    assert demanding.get().body == b"0"


def test_a_reader_that_reads_nothing_costs_little_of_the_kernel(patient: Server) -> None:
    """Not the megabytes that a socket's buffer may grow to."""
    patient.wait_workers(1)  # the listener has its options before them
    readings = [0]

    def has_settled() -> bool:
        readings.append(queued(patient.port, client.getsockname()[1]))
        return readings[-1] == readings[-2] > 0

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", patient.port))
        client.sendall(GET.replace(b"/ ", b"/big "))
        wait_until(has_settled, "the kernel takes no more of it")
    assert max(readings) < 400_000


def queued(port: int, clients_port: int) -> int:
    """Return how many octets the kernel holds of what a server has sent to a client."""
    ends = [f":{port:04X}", f":{clients_port:04X}"]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_ = line.split()
        if [local[8:], remote[8:]] == ends:
            return int(queues.partition(":")[0], 16)
    return 0


@pytest.mark.parametrize("framing", [b"Content-Length: 20000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_client_that_goes_on_sending_can_read_why_it_was_refused(demanding: Server, framing: bytes) -> None:
    """It sends all of its body first, as many do. Others are served meanwhile."""
    piece = bytes(1_000_000)
    with demanding.connect() as client:
        client.sendall(POST % framing)
        for number in range(20):
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if b"chunked" in framing else piece)
            if number == 10:
                assert demanding.get().body == b"0"
        client.shutdown(socket.SHUT_WR)
        answer = parse_response(read_all(client))[0]
    assert answer.status == 413


# More clients than there are places.


@pytest.mark.parametrize(
    "octets",
    [b"", b"GET / HTTP/1.1\r\n", POST % b"Content-Length: 5\r\n" + b"abcd", GET],
    ids=["silent", "slow head", "slow body", "kept alive"],
)
@pytest.mark.parametrize("worker_type", SEVERAL, indirect=True)
def test_old_clients_make_way_for_fresh_ones(patient: Server, octets: bytes) -> None:
    """Those who have been idle or slow for the longest, long before their deadlines, and before our patience ends."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(patient.connect()) for _ in range(CONNECTIONS)]
        for client in clients:
            client.sendall(octets)
            if octets is GET:
                assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert patient.get().body == b"0"
        gone = [client for client in clients if select.select([client], [], [], 0)[0]]
        assert 0 < len(gone) < CONNECTIONS
        if octets not in (b"", GET):
            assert b" 408 " in gone[0].recv(1000)


@contextlib.contextmanager
def reader(server: Server, buffer: int = 2048, segment: int = 0) -> Iterator[socket.socket]:
    """Ask for megabytes, with a buffer, and maybe segments, of so many octets; read nothing."""
    with socket.socket() as client:
        if segment:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(20)
        client.connect(("127.0.0.1", server.port))
        client.sendall(GET.replace(b"/ ", b"/big "))
        yield client


def silence_of(client: socket.socket) -> float:
    """Return for how many seconds nothing has come: tcpi_last_data_recv of struct tcp_info (linux/tcp.h)."""
    return int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56)[52:], sys.byteorder) / 1000


def is_gone(client: socket.socket, within: float = 0) -> bool:
    """Return whether it is reset, whatever it has left unread, within so many seconds."""
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(within * 1000))


@pytest.mark.parametrize("worker_type", SEVERAL, indirect=True)
def test_a_reader_that_reads_nothing_makes_way(patient: Server) -> None:
    """Long before write_timeout, one for each that waits: that which has taken the least."""
    with contextlib.ExitStack() as stack:
        buffers = [8192] * (CONNECTIONS - 2) + [2048, 8192]
        clients = [stack.enter_context(reader(patient, buffer)) for buffer in buffers]
        for client in clients:
            assert select.select([client], [], [], PATIENCE)[0], "its response has begun"
        # Whoever has taken more may be waited for longer: those that came first are not to be the first that may go.
        wait_until(lambda: all(silence_of(client) > 2 for client in clients), "all may be asked to make way")
        assert patient.get().body == b"0"
        wait_until(lambda: any(map(is_gone, clients)), "somebody has made way")
        assert [is_gone(client) for client in clients] == [buffer == 2048 for buffer in buffers]


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", SEVERAL, indirect=True)
def test_whoever_reads_steadily_is_not_broken_off_for_others(patient: Server) -> None:
    """2 000 octets a second, among readers that read nothing and that come faster than there are places."""
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(reader(patient, 16_384, segment=1460))
        assert select.select([honest], [], [], PATIENCE)[0]
        idle = [stack.enter_context(reader(patient)) for _ in range(CONNECTIONS - 1)]
        began, read = monotonic(), 0
        while monotonic() < began + 5 or sum(map(is_gone, idle)) <= CONNECTIONS:
            assert monotonic() < began + 5 + PATIENCE, "too few make way"
            idle.append(stack.enter_context(reader(patient)))
            assert patient.get().body == b"0"
            read += len(honest.recv(1 + int(2000 * (monotonic() - began)) - read))
            assert not is_gone(honest, within=0.1)
