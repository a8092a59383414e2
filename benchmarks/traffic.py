"""The clients of the memory benchmark: they ask until every worker has answered every request of a list."""

import http.client
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

CLIENTS = 8
"""Twice the workers: all of them are busy, so that the kernel has no favourite to wake."""
AT_ONCE = 16
"""Requests that are sent even when fewer are missing: a single one would go to whoever sleeps best."""
PATIENCE_SECONDS = 180.0
ANSWER_SECONDS = 30.0


class TrafficError(Exception):
    """A request was not answered rightly, or the workers did not all become warm; the message says how."""


@dataclass(frozen=True)
class Request:
    """What is asked for: a path, and the language of the answer."""

    path: str
    language: str = "en"


def ask(port: int, request: Request) -> int:
    """Ask on a new connection and return the pid of the worker that answered.

    Raises:
        TrafficError: it is not answered, not by 200, or the answer does not say by whom.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    headers = {"Accept-Language": request.language, "Connection": "close"}
    try:
        connection.request("GET", request.path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise TrafficError(f"{request.path}: {error!r}") from error
    finally:
        connection.close()
    worker = response.getheader("X-Worker")
    if response.status != 200 or worker is None or not body:
        raise TrafficError(f"{request.path}: {response.status}, by {worker}, {len(body)} octets")
    return int(worker)


def missing(requests: Sequence[Request], answered: Iterable[set[Request]], workers: int) -> list[Request]:
    """Return the requests that fewer than ``workers`` have answered; ``answered`` has a set for each worker seen."""
    seen = list(answered)
    return [request for request in requests if sum(request in one for one in seen) < workers]


def warm(port: int, requests: Sequence[Request], workers: int) -> frozenset[int]:
    """Ask until each of ``workers`` processes has answered each request, and return their pids.

    Raises:
        TrafficError: a request failed, a worker was replaced meanwhile, or it takes too long.
    """
    answered: defaultdict[int, set[Request]] = defaultdict(set)
    deadline = time.monotonic() + PATIENCE_SECONDS
    with ThreadPoolExecutor(CLIENTS) as clients:
        while wanted := missing(requests, answered.values(), workers):
            asked = list(itertools.islice(itertools.cycle(wanted), max(len(wanted), AT_ONCE)))
            for request, pid in zip(asked, clients.map(lambda each: ask(port, each), asked), strict=True):
                answered[pid].add(request)
            if len(answered) > workers:
                raise TrafficError(f"{len(answered)} processes have answered, of {workers} workers")
            if time.monotonic() > deadline:
                raise TrafficError(f"{len(wanted)} requests were not answered by every worker: {len(answered)} seen")
    return frozenset(answered)
