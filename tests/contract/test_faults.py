"""An application may misbehave in every way of sample_apps/faults.py: the client is told, the log tells why."""

import contextlib
import re

import pytest

from tests.harness import parse_response, wait_until

ANSWERED_500 = {
    "/raise/before": r"DeliberateError: before start_response",
    "/raise/started": r"DeliberateError: after start_response",
    "/raise/first": r"DeliberateError: at the first piece",
    "/exit": r"the application called sys\.exit\(3\)",
    "/exit/interrupt": r"KeyboardInterrupt",
    "/body/text": r"'str' object",
    "/body/string": r"'str' object",
    "/body/none": r"None",
    "/start/never": r"did not call start_response",
    "/start/twice": r"second time",
    "/status/int": r"int",
    "/status/bytes": r"200 OK",
    "/status/short": r"20 OK",
    "/status/word": r"OK",
    "/status/newline": r"X-Forged",
    "/status/non-latin": r"status",
    "/headers/newline": r"X-Value",
    "/headers/nul": r"X-Value",
    "/headers/non-latin": r"X-Value",
    "/headers/bytes": r"X-Value",
    "/headers/name": r"is not a token",
    "/headers/number": r"Content-Length",
    "/headers/pair": r"X-Value",
    "/headers/none": r"None",
    "/headers/length": r"Content-Length",
    "/headers/lengths": r"Content-Length",
}
BROKEN_OFF = {
    "/raise/iterable": ("one piece", r"DeliberateError: after the first piece"),
    "/exit/iterable": ("one piece", r"the application called sys\.exit\(3\)"),
    "/start/late": ("one piece", r"DeliberateError: too late"),
    "/start/write": ("written", r"DeliberateError: after write\(\)"),
    "/body/short": ("short", r"Content-Length"),
}
DEADLY = {
    "/exit/hard": r"exit status 7|status 7",
    "/segfault": r"SIGSEGV",
    "/abort": r"SIGABRT",
    "/kill": r"SIGKILL that pyfork did not send",
}
STUCK = {
    "/loop": "loop_python",
    "/loop/c": "loop_c",
    "/loop/iterable": "loop_iterable",
    "/loop/close": "loop_python",
    "/loop/stubborn": "loop_stubborn",
    "/deadlock": "deadlock",
}


@pytest.fixture
def serve(start, worker_type):
    """Start a server of the type with the application that misbehaves; errors in the log are what it is for."""

    def serve_faults(**workers):
        server = start("faults:app", settings={"workers": {"type": worker_type, **workers}})
        server.expect_errors(r"\[ERROR\]")
        return server

    return serve_faults


@pytest.fixture
def server(share, worker_type):
    """A server of the type with that application, for faults that its one worker survives.

    It keeps connections for a short time: some tests read to the end of theirs.
    """
    server = share("faults:app", settings={"workers": {"type": worker_type}, "http": {"keep_alive": 0.2}})
    server.expect_errors(r"\[ERROR\]")
    server.wait_workers(1)
    return server


def exchange(server, path):
    """Return what came until the connection ended, by closing or by a reset."""
    octets = b""
    with server.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            while received := connection.recv(65536):
                octets += received
        except ConnectionResetError:
            pass
    return octets


def is_whole(octets):
    """Return whether a client takes this for a complete response."""
    try:
        parse_response(octets)
    except (AssertionError, ValueError):
        return False
    return True


def test_what_fails_before_the_head_is_answered_500(server):
    """The client learns nothing of the reason; the log has it, and the worker that met them all lives on."""
    server.get("/")
    workers = server.workers()
    for path, reason in ANSWERED_500.items():
        start = len(server.log)
        answer = server.get(path)
        assert answer.status == 500, path
        assert b"Deliberate" not in answer.body
        assert answer.header("X-Forged") is None
        wait_until(lambda at=start, said=reason: re.search(said, server.log[at:]), f"{path}: {reason}")
        wait_until(lambda at=start, name=path: name in server.log[at:], f"{path} is named")
    assert server.workers() == workers


def test_a_traceback_begins_with_the_applications_frames(server):
    """Whoever reads it looks for their own code, not for ours."""
    server.get("/raise/before")
    traceback = server.wait_log(r"Traceback \(most recent call last\):\n\s+File \"([^\"]+)\"")
    assert traceback[1].endswith("faults.py")


def test_what_fails_after_the_head_is_broken_off(server):
    """A client must not take half a response for a whole one."""
    server.get("/")
    workers = server.workers()
    for path, (piece, reason) in BROKEN_OFF.items():
        start = len(server.log)
        octets = exchange(server, path)
        assert octets.startswith(b"HTTP/1.1 200 OK\r\n"), path
        assert piece.encode() in octets, path
        assert not is_whole(octets), path
        wait_until(lambda at=start, said=reason: re.search(said, server.log[at:]), f"{path}: {reason}")
    assert server.workers() == workers


def test_an_exception_cannot_forge_a_line_of_the_error_log(server):
    """Its message holds what a client sent, as often as not."""
    server.get("/raise/newlines")
    server.wait_log(r"everything is fine\\x1b\[2J")
    assert not re.search(r"^\[.*everything is fine", server.log, re.MULTILINE)


def test_a_response_that_is_whole_stays_whole(server):
    """An exception in close() comes too late to change it."""
    assert server.get("/raise/close").body == b"whole\n"
    server.wait_log(r"DeliberateError: in close\(\)")


def test_more_body_than_promised_is_cut_and_told(server):
    """The rest would be read as the next response."""
    octets = exchange(server, "/body/long")
    assert parse_response(octets)[0].body == b"01234"
    assert b"forged" not in octets
    server.wait_log(r"/body/long")


def test_a_status_without_a_body_has_none(server):
    """204 ends with its head (RFC 9112, section 6.3)."""
    octets = exchange(server, "/body/forbidden")
    assert octets.startswith(b"HTTP/1.1 204 ")
    assert octets.endswith(b"\r\n\r\n")
    assert b"a body" not in octets


def test_a_handled_error_may_replace_the_head(server):
    """start_response with exc_info, as long as nothing was sent."""
    answer = server.get("/start/replaced")
    assert (answer.status, answer.body) == (503, b"sorry\n")


def test_hop_by_hop_headers_are_dropped_with_one_warning_each(server):
    """They are the server's to set (PEP 3333)."""
    for _ in range(3):
        answer = server.get("/headers/hop-by-hop")
        assert answer.body == b"hello"
        assert answer.header("Upgrade") is answer.header("Keep-Alive") is None
    server.wait_log(r"\[WARNING\].*(?i:upgrade)")
    assert len(re.findall(r"\[WARNING\].*(?i:keep-alive)", server.log)) == 1


def test_a_large_response_comes_whole(server):
    """Two megabytes in pieces."""
    assert len(server.get("/body/huge?megabytes=2").body) == 32 * 65536


def test_a_body_that_nobody_reads_does_not_cost_the_answer(server):
    """The client still sends; a reset would destroy what it has not read."""
    answer = server.get("/input/ignored", method="POST", body=bytes(3_000_000))
    assert answer.body == b"not read\n"


def test_reading_beyond_the_body_finds_its_end_again_and_again(server):
    """As with a file; nothing of a next request, and no waiting for more."""
    assert server.get("/input/beyond", method="POST", body=b"12345").body == b"5 octets, then [b'', b'', b'']\n"


def test_what_the_application_prints_can_be_captured(start, worker_type):
    """log.capture_output; wsgi.errors goes to the error log in any case."""
    settings = {"workers": {"type": worker_type}, "log": {"capture_output": True}}
    server = start("faults:app", settings=settings)
    server.expect_errors("faults: to wsgi.errors")
    assert server.get("/print").body == b"printed\n"
    server.wait_log("^faults: to standard output$|\nfaults: to standard output\n")
    server.wait_log("faults: to standard error\n")
    server.wait_log(r"\[worker 0 gen 1\] faults: to wsgi.errors\n")
    assert "faults:" not in server.output


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_death_is_told(serve):
    """Only its own request is lost; the next one is served by its replacement."""
    servers = {path: serve() for path in DEADLY}  # side by side: who dies young is replaced after a pause
    starts = {}
    for path, server in servers.items():
        server.expect_errors("SIGKILL")
        server.get("/")
        starts[path] = len(server.log)
        assert exchange(server, path) == b""
    for path, server in servers.items():
        assert server.get("/").status == 200
        told = DEADLY[path]
        wait_until(lambda to=server, at=starts[path], said=told: re.search(said, to.log[at:]), f"{path}: {told}")


@pytest.mark.slow
def test_a_stuck_worker_shows_where_and_is_replaced(serve):
    """Loops in Python and in C, in the call, the iterable and close(), one that swallows every exception, a deadlock."""
    servers = {path: serve(timeout=1, graceful_timeout=1) for path in STUCK}  # side by side: each takes its timeouts
    stuck = {}
    with contextlib.ExitStack() as stack:
        for path, server in servers.items():
            server.expect_errors("SIGKILL")
            (worker,) = server.wait_workers(1)
            stuck[path] = (worker, len(server.log))
            connection = stack.enter_context(server.connect())
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for path, server in servers.items():
            worker, start = stuck[path]
            for told in (rf"GET {path}[ ,]", rf'File ".*faults\.py", line \d+ in {STUCK[path]}'):
                wait_until(lambda to=server, at=start, said=told: re.search(said, to.log[at:]), f"{path}: {told}")
            wait_until(lambda to=server, pid=worker: pid not in to.workers(), f"{path}: the stuck worker is gone")
    for server in servers.values():
        assert server.get("/").status == 200
