"""The service manager's end of the line, for the tests: a real datagram socket that speaks sd_notify(3)."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.harness import PATIENCE

# Puts what the arbiter removes into the queue of its notices, so that their order can be seen; as sitecustomize.py.
ORDER_OF_UNLINKS = """
import os, socket, sys
notify = os.environ.get("NOTIFY_SOCKET")
def tell(event, arguments):
    if event == "os.remove" and notify:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(f"UNLINK={arguments[0]}".encode(), notify)
sys.addaudithook(tell)
"""


@dataclass
class Notice:
    """One datagram: its assignments, and the descriptors that came with it."""

    values: dict[str, str]
    fds: list[int] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> str:
        return self.values[name]


class ServiceManager:
    """Listens as systemd does.

    Attributes:
        address: for $NOTIFY_SOCKET.
        notices: all that have been received, in order.
        stored: descriptors that it keeps, by name.
    """

    def __init__(self, *, is_abstract: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory()  # tmp_path may be too long for a socket
        self.directory = Path(self._directory.name)
        self.address = f"@{self._directory.name}" if is_abstract else f"{self._directory.name}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address.replace("@", "\0", 1))
        self.notices: list[Notice] = []
        self.stored: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for notice in self.notices:
            for fd in notice.fds:
                with contextlib.suppress(OSError):  # a test has made a socket of it
                    os.close(fd)
        self.socket.close()
        self._directory.cleanup()

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a service."""
        return {"NOTIFY_SOCKET": self.address, **more}

    def receive(self, patience: float = PATIENCE) -> Notice:
        """Return the next notice; raises TimeoutError when there is none in time."""
        self.socket.settimeout(patience)
        octets, fds, flags, _ = socket.recv_fds(self.socket, 4096, 8)
        assert not flags & socket.MSG_CTRUNC
        lines = octets.decode().split("\n")
        notice = Notice(dict(line.split("=", 1) for line in lines), fds)
        assert len(notice.values) == len(lines), f"an assignment comes twice: {lines}"
        self.notices.append(notice)
        if "FDSTORE" in notice:
            [self.stored[notice["FDNAME"]]] = fds
        if "FDSTOREREMOVE" in notice:
            del self.stored[notice["FDNAME"]]
        return notice

    def wait(self, name: str, suits: Callable[[Notice], bool] = lambda _: True) -> Notice:
        """Return the next notice that assigns ``name`` and suits."""
        while True:
            try:
                notice = self.receive()
            except TimeoutError:
                raise AssertionError(f"no {name} came; there were {self.history()}") from None
            if name in notice and suits(notice):
                return notice

    def drain(self) -> None:
        """Receive what is there."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.receive(0)

    def history(self) -> list[str]:
        """Return what has come, a word each: what matters of it."""
        words = ("READY", "RELOADING", "STOPPING", "FDSTORE", "FDSTOREREMOVE", "MAINPID", "UNLINK")
        return [word for notice in self.notices for word in words if word in notice]
