"""The loads: what is asked of the servers, and how a right answer looks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contestants import Contestant

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "sample_apps"
APPS = HERE / "apps"
MEBIBYTE = 1 << 20
IDLE_CONNECTIONS = 3000
PATIENCE_SECONDS = 20
"""How long wrk waits for one answer before it calls it an error."""

BROWSER_HEADERS = (
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate",
    "Accept-Language: en-US,en;q=0.5",
    "Cookie: sessionid=0123456789abcdef0123456789abcdef; theme=dark",
    "DNT: 1",
    "Referer: http://www.example.org/a/page/that/linked/here.html",
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
"""With Host and Connection: the ten headers of a browser's request."""


@dataclass(frozen=True)
class Load:
    """A way to ask, and what to ask for.

    Attributes:
        name: what ``--loads`` calls it.
        title: what the tables call it.
        app: module:attribute, found in ``folder``.
        is_right: whether the octets of a body are the right answer.
        takes_part: which servers it is for.
        reference: the server to whose cost the tables relate the others'.
        path: what is asked for.
        body: what is sent, b"" for a GET.
        connections: how many requests are under way at a time.
        headers: sent with each request, beside wrk's own Host.
        script: wrk's.
        threads: of the servers whose application threads can be set.
        seconds: length of one measurement.
        rest: seconds to wait after it, until the requests that were cut off have ended.
    """

    name: str
    title: str
    app: str
    is_right: Callable[[bytes], bool]
    takes_part: Callable[[Contestant], bool]
    reference: str = "async"
    folder: Path = SAMPLES
    path: str = "/"
    body: bytes = b""
    connections: int = 32
    headers: Sequence[str] = ("Connection: keep-alive", *BROWSER_HEADERS)
    script: str = ""
    threads: int = 8
    seconds: float = 1.5
    rest: float = 0.0


def _is_hello(body: bytes) -> bool:
    return body == b"Hello, world!\n"


def _is_quote(body: bytes) -> bool:
    return bool(json.loads(body)["author"] == "Grace Hopper")


def _is_mebibyte(body: bytes) -> bool:
    return len(body) == MEBIBYTE and body[:256] == bytes(range(256))


def _is_count(body: bytes) -> bool:
    return body == b"1048576\n"


def _is_rows(body: bytes) -> bool:
    return len(json.loads(body)["rows"]) == 3


def _is_plain(contestant: Contestant) -> bool:
    return contestant.is_plain and not contestant.is_logging


def _is_logging_or_beside(contestant: Contestant) -> bool:
    return contestant.is_logging or contestant.name in {"async", "threadpool", "gevent", "sync"}


def _is_concurrent(contestant: Contestant) -> bool:
    return contestant.is_concurrent


def _holds_idle(contestant: Contestant) -> bool:
    return contestant.idle_arguments is not None


LOADS = (
    Load("hello", "hello, 32 kept-alive connections, ten browser headers", "hello:app", _is_hello, _is_plain),
    Load(
        "varied",
        "hello, kept-alive, no two requests alike (query, cookie)",
        "hello:app",
        _is_hello,
        _is_plain,
        script="apps/varied.lua",
    ),
    Load("falcon", "Falcon JSON, 32 kept-alive connections", "quotes:app", _is_quote, _is_plain, path="/quote"),
    Load(
        "connect",
        "hello, a new connection for each request, 32 at a time",
        "hello:app",
        _is_hello,
        _is_plain,
        reference="sync",
        headers=("Connection: close", *BROWSER_HEADERS),
    ),
    Load(
        "log",
        "hello, kept-alive, with the combined access log to a file and without",
        "hello:app",
        _is_hello,
        _is_logging_or_beside,
    ),
    Load(
        "down",
        "1 MiB body down, 8 kept-alive connections",
        "bodies:app",
        _is_mebibyte,
        _is_plain,
        folder=APPS,
        connections=8,
        seconds=1,
    ),
    Load(
        "up",
        "1 MiB body up, 8 kept-alive connections",
        "bodies:app",
        _is_count,
        _is_plain,
        folder=APPS,
        body=b"x" * MEBIBYTE,
        connections=8,
        script="apps/upload.lua",
        seconds=1,
    ),
    Load(
        "slow",
        "0.3 s sleeping application, 100 users, 100 threads",
        "slow_db:app",
        _is_rows,
        _is_concurrent,
        reference="threadpool",
        connections=100,
        threads=100,
        seconds=2,
        rest=0.4,
    ),
    Load(
        "idle",
        f"{IDLE_CONNECTIONS} idle kept-alive connections",
        "hello:app",
        _is_hello,
        _holds_idle,
        connections=IDLE_CONNECTIONS,
        seconds=3.5,
    ),
)
