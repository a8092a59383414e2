"""The application that the faults meet, and the server that serves it.

The application says in each answer who gave it and to which request. What it does at its import is a word in a file
beside it (its mood), so that the next boot can be made slow or impossible.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.harness import Server, reserve_port
from tests.procfs import become

SOURCE = """
import os
import signal
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "mood")) as file:
    MOOD = file.read().split()
if MOOD[0] == "slow":
    time.sleep(float(MOOD[1]))
elif MOOD[0] == "broken":
    raise RuntimeError("the application is broken on purpose")
elif MOOD[0] == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)


def body_of(number, size):
    word = b"%d." % number
    return (word * (size // len(word) + 1))[:size]


def hang():
    with open(os.path.join(HERE, "hanging"), "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


def app(environ, start_response):
    query = dict(pair.split("=") for pair in environ["QUERY_STRING"].split("&"))
    number = int(query["number"])
    headers = [("Content-Type", "text/plain"), ("X-Number", query["number"]), ("X-Pid", str(os.getpid()))]
    if environ["REQUEST_METHOD"] == "POST":
        sum = 0
        while piece := environ["wsgi.input"].read(16384):
            sum = zlib.crc32(piece, sum)
        headers.append(("X-Sum", str(sum)))
    if environ["PATH_INFO"] == "/hang":
        hang()
    if query["sleep"] != "0":
        time.sleep(int(query["sleep"]) / 1000)
    body = body_of(number, int(query["size"]))
    headers.append(("Content-Length", str(len(body))))
    start_response("200 OK", headers)
    return [body]
"""
USER = 54_321
"""Whom the server runs as when root tests it: nobody's number, so that its processes can be counted and limited."""
COUNT = 3
TIMEOUT = 2.0
GRACEFUL_TIMEOUT = 4.0
KEEP_ALIVE = 5.0
BOOT_TIMEOUT = 25.0
"""Seconds; an upgrade has as long for the start of an interpreter, which takes long where all cores are busy."""


class Site(Server):
    """A server in a directory of its own, whose logs are rotated, filled and stuffed.

    Args:
        directory: empty; with its contents it is given to the server's user.
        worker_type: of its workers.
        user: who the server runs as; None is whoever runs the tests.
        environ: more environment variables.
        workers: more of the table ``[workers]``.
    """

    def __init__(
        self, directory: Path, worker_type: str, user: int | None, environ: Mapping[str, str], **workers: Any
    ) -> None:
        (directory / "application").mkdir()
        (directory / "application" / "site1.py").write_text(SOURCE)
        self.rotated: list[Path] = []
        self.access_path = directory / "access.log"
        self.pidfile = directory / "pyfork.pid"
        settings: dict[str, dict[str, Any]] = {
            "server": {"pidfile": str(self.pidfile)},
            "workers": {
                "type": worker_type,
                "count": COUNT,
                "threads": 4 if worker_type == "threadpool" else 1,
                "timeout": TIMEOUT,
                "graceful_timeout": GRACEFUL_TIMEOUT,
                "boot_timeout": BOOT_TIMEOUT,
                **workers,
            },
            "http": {"keep_alive": KEEP_ALIVE},
            "log": {"access": str(self.access_path)},
        }
        port = reserve_port()  # its own socket: a stop is to refuse, and to close it
        prefix = become(user) if user is not None else []
        super().__init__(
            directory,
            "site1:app",
            cwd=directory / "application",
            settings=settings,
            environ=environ,
            prefix=prefix,
            bind=[f"127.0.0.1:{port}"],
        )
        for name in ("PYFORK_FAULT_SEED", "PYFORK_FAULT_SECONDS"):  # it would take them for settings
            self._environ.pop(name, None)
        self.port = port
        self.user = user
        self.feel("fine")
        self._give(directory)

    def feel(self, mood: str) -> None:
        """Say what the next imports of the application meet: "fine", "slow SECONDS", "broken" or "crash"."""
        path = self.directory / "application" / "mood"
        path.with_suffix(".new").write_text(mood)
        path.with_suffix(".new").replace(path)

    def rotate(self, successor: Path | None = None) -> None:
        """Move the error log away, as logrotate does; who writes goes on with the moved one until told.

        Args:
            successor: what gets the log's name, at the same moment; None leaves the name free.
        """
        moved = self.directory / f"error.log.{len(self.rotated) + 1}"
        if successor is None:
            self.log_path.rename(moved)
        else:
            moved.hardlink_to(self.log_path)
            successor.replace(self.log_path)
        self.rotated.append(moved)

    def _whole_log(self) -> str:
        """Return the error log with all that was rotated away: what is wrong in any part of it is found."""
        parts = [*self.rotated, self.log_path]
        return "".join(path.read_text(errors="replace") for path in parts if path.is_file())

    def _give(self, directory: Path) -> None:
        if self.user is not None:
            for folder, _, names in os.walk(directory):
                for path in (folder, *(os.path.join(folder, name) for name in names)):
                    os.chown(path, self.user, self.user)
