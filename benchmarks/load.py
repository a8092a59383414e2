"""The client: wrk or hey, whichever is installed, with a new connection for each request."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

HOW_TO_GET_ONE = """make bench: needs wrk or hey to make the load, and neither is installed. Get one of them:

    Debian, Ubuntu   apt-get install wrk        (or: apt-get install hey)
    Arch             pacman -S wrk
    macOS            brew install wrk           (or: brew install hey)
    with Go          go install github.com/rakyll/hey@latest
    from source      https://github.com/wg/wrk
"""

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
    """What one run of the client did."""

    requests: int
    errors: int


@dataclass(frozen=True)
class Client:
    """How to call the load generator.

    Attributes:
        name: "wrk" or "hey".
        prefix: what pins it to its core, if anything.
        connections: how many requests are under way at a time.
    """

    name: str
    prefix: Sequence[str]
    connections: int

    def command(self, url: str, seconds: float) -> list[str]:
        """Return the command line of a run."""
        headers = [part for header in BROWSER_HEADERS for part in ("-H", header)]
        if self.name == "wrk":
            options = ["-t", "1", "-c", str(self.connections), "-d", f"{seconds:g}s", "-H", "Connection: close"]
        else:
            options = ["-c", str(self.connections), "-z", f"{seconds:g}s", "-cpus", "1", "-disable-keepalive"]
        return [*self.prefix, self.name, *options, *headers, url]

    def run(self, url: str, seconds: float) -> Load:
        """Make load for ``seconds`` and return what came of it."""
        result = subprocess.run(
            self.command(url, seconds), capture_output=True, text=True, check=True, timeout=seconds + 60
        )
        return parse_wrk(result.stdout) if self.name == "wrk" else parse_hey(result.stdout)


def parse_wrk(text: str) -> Load:
    """Read wrk's report."""
    requests = re.search(r"^\s*(\d+) requests in ", text, re.MULTILINE)
    if requests is None:
        raise ValueError(f"this is no report of wrk's:\n{text}")
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad_statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = sum(map(int, socket_errors.groups())) if socket_errors else 0
    return Load(int(requests[1]), errors + (int(bad_statuses[1]) if bad_statuses else 0))


def parse_hey(text: str) -> Load:
    """Read hey's report."""
    statuses = [(int(status), int(count)) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", text)]
    _, _, after = text.partition("Error distribution:")
    failures = sum(int(count) for count in re.findall(r"^\s*\[(\d+)\]", after, re.MULTILINE))
    if not statuses and not failures:
        raise ValueError(f"this is no report of hey's:\n{text}")
    answered = sum(count for _, count in statuses)
    return Load(answered, failures + sum(count for status, count in statuses if not 200 <= status < 400))


def find_client(prefix: Sequence[str], connections: int) -> Client:
    """Return wrk or hey; end the program with advice when there is neither."""
    for name in ("wrk", "hey"):
        if shutil.which(name):
            return Client(name, prefix, connections)
    sys.exit(HOW_TO_GET_ONE)


if __name__ == "__main__":
    find_client((), 1)  # before anything is installed in vain
