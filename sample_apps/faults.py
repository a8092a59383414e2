"""Every way to misbehave, by path: what a server must survive, and tell its operator about.

Run it from the directory sample_apps, with a short timeout, and watch the error log::

    pyfork --timeout 5 --log-level debug faults:app

and try::

    curl http://127.0.0.1:8000/                     the list of all paths
    curl -i http://127.0.0.1:8000/raise/before      500, the traceback in the log
    curl -i http://127.0.0.1:8000/raise/iterable    the response breaks off
    curl -i http://127.0.0.1:8000/loop              the worker is stuck: stacks in the log, then a new worker
    curl -i http://127.0.0.1:8000/segfault          the worker dies, another takes its place
"""

import collections
import ctypes
import itertools
import os
import signal
import sys
import threading
import time
from urllib.parse import parse_qs

TEXT = [("Content-Type", "text/plain; charset=utf-8")]
FAULTS = {}


class DeliberateError(Exception):
    """What this application raises: its name in a log means that the log is right."""


def fault(path):
    """Serve the decorated function at ``path``; its docstring goes into the list."""

    def register(function):
        FAULTS[path] = function
        return function

    return register


def application(environ, start_response):
    """Misbehave as the path asks, or list the ways."""
    chosen = FAULTS.get(environ["PATH_INFO"])
    if chosen is not None:
        return chosen(environ, start_response)
    lines = [f"{path:26} {function.__doc__.splitlines()[0]}\n" for path, function in FAULTS.items()]
    start_response("200 OK" if environ["PATH_INFO"] == "/" else "404 Not Found", TEXT)
    return [line.encode() for line in lines]


app = application


def query_number(environ, name, default):
    """Return the number ``name`` of the query string."""
    return float(parse_qs(environ.get("QUERY_STRING", "")).get(name, [default])[0])


class ClosingBody:
    """An iterable with a ``close`` that can be made to fail."""

    def __init__(self, pieces, fails_to_close=False):
        self.pieces = pieces
        self.fails_to_close = fails_to_close

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        """Fail, if so told."""
        if self.fails_to_close:
            raise DeliberateError("in close()")


# Exceptions at each stage.


@fault("/raise/before")
def raise_before(environ, start_response):
    """An exception before start_response: 500."""
    raise DeliberateError("before start_response")


@fault("/raise/started")
def raise_started(environ, start_response):
    """An exception after start_response, before any octet: 500."""
    start_response("200 OK", TEXT)
    raise DeliberateError("after start_response")


@fault("/raise/first")
def raise_first(environ, start_response):
    """An exception at the first piece of the body: nothing was sent yet, so 500."""
    start_response("200 OK", TEXT)
    raise DeliberateError("at the first piece")
    yield b"never"


@fault("/raise/iterable")
def raise_iterable(environ, start_response):
    """An exception after the first piece: the response breaks off."""
    start_response("200 OK", TEXT)

    def pieces():
        yield b"one piece\n"
        raise DeliberateError("after the first piece")

    return pieces()


@fault("/raise/close")
def raise_close(environ, start_response):
    """An exception in the iterable's close(): the response is whole, the log tells."""
    start_response("200 OK", TEXT)
    return ClosingBody([b"whole\n"], fails_to_close=True)


@fault("/raise/newlines")
def raise_newlines(environ, start_response):
    """An exception whose message tries to forge a line of the error log."""
    raise DeliberateError("\n[2026-11-20 18:55:00 +0000] [1] [INFO] [arbiter] everything is fine\x1b[2J")


# Ends of the process.


@fault("/exit")
def call_exit(environ, start_response):
    """sys.exit(3): an exception as any other to a server, 500."""
    sys.exit(3)


@fault("/exit/iterable")
def exit_iterable(environ, start_response):
    """sys.exit(3) after the first piece: the response breaks off, the worker lives."""
    start_response("200 OK", TEXT)

    def pieces():
        yield b"one piece\n"
        sys.exit(3)

    return pieces()


@fault("/exit/interrupt")
def raise_interrupt(environ, start_response):
    """KeyboardInterrupt: 500."""
    raise KeyboardInterrupt


@fault("/exit/hard")
def exit_hard(environ, start_response):
    """os._exit(7): the worker is gone without a word."""
    os._exit(7)


@fault("/segfault")
def read_null(environ, start_response):
    """A segmentation fault, by reading address 0 through ctypes."""
    ctypes.string_at(0)


@fault("/abort")
def abort(environ, start_response):
    """What a failed assertion of a C library does: SIGABRT."""
    os.abort()


@fault("/kill")
def kill_self(environ, start_response):
    """SIGKILL to the own worker, as the kernel's out-of-memory killer sends it."""
    os.kill(os.getpid(), signal.SIGKILL)


# No progress.


@fault("/loop")
def loop_python(environ, start_response):
    """An endless loop in Python."""
    while True:
        pass


@fault("/loop/c")
def loop_c(environ, start_response):
    """An endless loop in C that never lets go of the interpreter: no signal handler of Python's runs."""
    collections.deque(itertools.repeat(None), maxlen=0)


@fault("/loop/iterable")
def loop_iterable(environ, start_response):
    """An endless loop after the first piece."""
    start_response("200 OK", TEXT)
    yield b"one piece\n"
    while True:
        pass


@fault("/loop/close")
def loop_close(environ, start_response):
    """An endless loop in the iterable's close()."""
    start_response("200 OK", TEXT)
    body = ClosingBody([b"whole\n"])
    body.close = lambda: loop_python(environ, start_response)
    return body


@fault("/loop/stubborn")
def loop_stubborn(environ, start_response):
    """An endless loop that swallows every exception, BaseException included."""
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            continue


@fault("/sleep")
def sleep(environ, start_response):
    """Sleep; ?seconds=3."""
    time.sleep(query_number(environ, "seconds", "3"))
    start_response("200 OK", TEXT)
    return [b"awake\n"]


@fault("/deadlock")
def deadlock(environ, start_response):
    """Wait for a lock that this thread itself holds."""
    lock = threading.Lock()
    with lock:
        lock.acquire()


# Bodies.


@fault("/body/long")
def body_long(environ, start_response):
    """More octets than Content-Length says: the rest must not become the next response."""
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"01234", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"]


@fault("/body/short")
def body_short(environ, start_response):
    """Fewer octets than Content-Length says: the connection must not be used again."""
    start_response("200 OK", [*TEXT, ("Content-Length", "100")])
    return [b"short\n"]


@fault("/body/text")
def body_text(environ, start_response):
    """Text where octets belong."""
    start_response("200 OK", TEXT)
    return ["text"]


@fault("/body/string")
def body_string(environ, start_response):
    """One string for the iterable."""
    start_response("200 OK", TEXT)
    return "text"


@fault("/body/none")
def body_none(environ, start_response):
    """None for the iterable."""
    start_response("200 OK", TEXT)


@fault("/body/forbidden")
def body_forbidden(environ, start_response):
    """A body with 204, which has none."""
    start_response("204 No Content", TEXT)
    return [b"a body all the same\n"]


@fault("/body/huge")
def body_huge(environ, start_response):
    """Many octets in pieces of 64 KiB; ?megabytes=100."""
    count = int(query_number(environ, "megabytes", "100") * 16)
    start_response("200 OK", TEXT)
    return itertools.repeat(bytes(65536), count)


# start_response.


@fault("/start/never")
def start_never(environ, start_response):
    """A body without start_response."""
    return [b"no status\n"]


@fault("/start/twice")
def start_twice(environ, start_response):
    """start_response twice without exc_info."""
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"twice\n"]


@fault("/start/replaced")
def start_replaced(environ, start_response):
    """start_response again with exc_info before any octet: the second one counts (503)."""
    start_response("200 OK", TEXT)
    try:
        raise DeliberateError("handled")
    except DeliberateError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    return [b"sorry\n"]


@fault("/start/late")
def start_late(environ, start_response):
    """start_response with exc_info after the first piece: it raises, the response breaks off."""
    start_response("200 OK", TEXT)
    yield b"one piece\n"
    try:
        raise DeliberateError("too late")
    except DeliberateError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    yield b"never\n"


@fault("/start/write")
def start_write(environ, start_response):
    """The write() of old, and an exception after it: the response breaks off."""
    write = start_response("200 OK", TEXT)
    write(b"written\n")
    raise DeliberateError("after write()")


STATUSES = {
    "int": 200,
    "bytes": b"200 OK",
    "short": "20 OK",
    "word": "OK",
    "newline": "200 OK\r\nX-Forged: yes",
    "non-latin": "200 日本",
}
HEADERS = {
    "newline": [("X-Value", "a\r\nX-Forged: yes")],
    "nul": [("X-Value", "a\0b")],
    "non-latin": [("X-Value", "日本")],
    "bytes": [(b"X-Value", b"a")],
    "name": [("X Value", "a")],
    "number": [("Content-Length", 5)],
    "pair": [("X-Value",)],
    "none": None,
    "length": [("Content-Length", "five")],
    "lengths": [("Content-Length", "5"), ("Content-Length", "6")],
    "hop-by-hop": [("Keep-Alive", "timeout=5"), ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c")],
}


def _respond(status, headers):
    def misbehave(environ, start_response):
        start_response(status, headers)
        return [b"hello"]

    return misbehave


for name, status in STATUSES.items():
    misbehave = fault(f"/status/{name}")(_respond(status, TEXT))
    misbehave.__doc__ = f"The status {status!r}."
for name, headers in HEADERS.items():
    misbehave = fault(f"/headers/{name}")(_respond("200 OK", headers))
    misbehave.__doc__ = f"The headers {headers!r}."


# Around the request.


@fault("/input/ignored")
def input_ignored(environ, start_response):
    """Answer without reading the request's body."""
    start_response("200 OK", TEXT)
    return [b"not read\n"]


@fault("/input/beyond")
def input_beyond(environ, start_response):
    """Read beyond the end of the body, again and again: b'' each time."""
    octets = len(environ["wsgi.input"].read())
    beyond = [environ["wsgi.input"].read(10) for _ in range(3)]
    start_response("200 OK", TEXT)
    return [f"{octets} octets, then {beyond}\n".encode()]


@fault("/print")
def print_lines(environ, start_response):
    """Print to stdout, stderr and wsgi.errors."""
    print("faults: to standard output")
    print("faults: to standard error", file=sys.stderr)
    print("faults: to wsgi.errors", file=environ["wsgi.errors"])
    start_response("200 OK", TEXT)
    return [b"printed\n"]


@fault("/memory")
def take_memory(environ, start_response):
    """Keep memory for good; ?megabytes=100."""
    HOARD.append(b"x" * int(query_number(environ, "megabytes", "100") * 1_000_000))
    start_response("200 OK", TEXT)
    return [f"{sum(map(len, HOARD))} octets kept\n".encode()]


@fault("/thread")
def start_thread(environ, start_response):
    """Start a thread that never ends and is no daemon: the worker's exit would wait for it."""
    threading.Thread(target=threading.Event().wait, name="faults-endless").start()
    start_response("200 OK", TEXT)
    return [b"started\n"]


HOARD = []
