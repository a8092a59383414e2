"""Which stage of a request a line of code belongs to, and what is reckoned from samples."""

import linecache
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

SYSTEM_CALLS = (
    ("receive", re.compile(r"\brecv(_into|msg)?\(")),
    ("send", re.compile(r"\b(send|sendmsg|sendall|sendfile)\(")),
    ("wait", re.compile(r"\.(e?poll|select)\(|\bloop\.run\(|switch\(")),
    ("accept", re.compile(r"\b_?accept4?\(|socket\.socket\(|\.close\(\)|_ss\.close\(")),
)
"""By what the line of Python calls: the time is mostly the kernel's."""
PLACES = (
    ("encode", "pyfork/http1/response"),
    ("parse", "pyfork/http1/"),
    ("environ", "pyfork/gateway/environ"),
    ("environ", "pyfork/gateway/forwarded"),
    ("gateway", "pyfork/gateway/"),
    ("figures", "pyfork/ipc/"),
    ("access log", "pyfork/log/"),
    ("connection", "pyfork/connection/"),
    ("connection", "/socket.py"),
    ("loop", "pyfork/workers/"),
    ("loop", "/gevent/"),
    ("loop", "/threading.py"),
    ("loop", "/queue.py"),
    ("loop", "/selectors.py"),
)
"""By the file of the function; the first that fits."""
APPLICATION = "application"
STAGES = {
    "wait": "the poller's system call",
    "receive": "recv(2)",
    "parse": "octets to a request, http1/",
    "environ": "a request to an environ",
    "gateway": "calling the application, its headers and its iterable",
    APPLICATION: "everything that is not pyfork's",
    "encode": "the response's octets, http1/response",
    "send": "send(2)",
    "connection": "the shell's own work, connection/",
    "loop": "the worker's own work, workers/",
    "figures": "scoreboard and heartbeat, ipc/",
    "access log": "log/",
    "accept": "accept(2), close(2)",
}


class Sample(NamedTuple):
    """A line, and the CPU time that was spent there, in nanoseconds."""

    file: str
    function: str
    line: int
    spent: int

    @property
    def stage(self) -> str:
        """What the line is part of."""
        return stage_of(self.file, linecache.getline(self.file, self.line))


def stage_of(file: str, source: str) -> str:
    """Return the stage of a line in a file."""
    is_servers = any(place in file for _, place in PLACES)
    for stage, pattern in SYSTEM_CALLS:
        if is_servers and pattern.search(source):
            return stage
    return next((stage for stage, place in PLACES if place in file), APPLICATION)


def by_stage(samples: Sequence[Sample]) -> list[tuple[str, float]]:
    """Return the part of each stage, in the order in which a request passes them."""
    spent: Counter[str] = Counter()
    for sample in samples:
        spent[sample.stage] += sample.spent
    total = sum(spent.values()) or 1
    return [(stage, spent[stage] / total) for stage in STAGES if spent[stage]]


def by_function(samples: Sequence[Sample]) -> list[tuple[str, str, float]]:
    """Return file, function and part of each function, the dearest first."""
    spent: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        spent[sample.file, sample.function] += sample.spent
    total = sum(spent.values()) or 1
    return [(file, function, each / total) for (file, function), each in spent.most_common()]
