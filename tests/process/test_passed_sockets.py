"""Sockets that were passed in by LISTEN_FDS serve the bind that has their address."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.harness import PATIENCE, SAMPLES, processes_of_session, reserve_port, wait_until
from tests.process.test_listeners import ask

# Becomes pyfork with the descriptors named by the first argument from 3 on, and the names of the second.
PASS = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
kept = [os.dup2(fd, 100 + number) for number, fd in enumerate(fds)]
for number, fd in enumerate(kept):
    os.dup2(fd, 3 + number)
for fd in kept:
    os.set_inheritable(fd, False)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, "-m", "pyfork", *sys.argv[3:]])
"""


@contextlib.contextmanager
def passing(log: Path, names: str, sockets: list[socket.socket], *arguments: str) -> Iterator[None]:
    """Run pyfork with ``sockets`` for the length of a ``with`` block, and wait for its clean end."""
    fds = [one.fileno() for one in sockets]
    process = subprocess.Popen(
        [sys.executable, "-c", PASS, ",".join(map(str, fds)), names, "--error-logfile", str(log), *arguments, "hello:app"],
        cwd=SAMPLES, pass_fds=fds, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), "it serves")
        yield
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        for pid in processes_of_session(process.pid):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, 9)
        process.wait()


def test_matched_ones_are_used_and_the_rest_is_opened(tmp_path: Path) -> None:
    """In any order; a socket that is in no bind is not served, which the log says."""
    path, port, log = tmp_path / "a.sock", reserve_port(), tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.create_server(("127.0.0.1", 0)) as other, \
            socket.socket(socket.AF_UNIX) as unix:  # fmt: skip
        unix.bind(str(path))
        unix.listen()
        inode = path.stat().st_ino
        address = tcp.getsockname()
        binds = ["-b", f"127.0.0.1:{address[1]}", "-b", f"127.0.0.1:{port}", "-b", f"unix:{path}"]
        with passing(log, "", [other, unix, tcp], *binds):
            for where, family in (
                (address, socket.AF_INET),
                (("127.0.0.1", port), socket.AF_INET),
                (str(path), socket.AF_UNIX),
            ):
                assert ask(where, family)
            assert path.stat().st_ino == inode
        assert path.exists(), "it is its maker's to remove"
        text = log.read_text()
        assert f"nobody serves http://127.0.0.1:{other.getsockname()[1]}" in text
        assert "server.bind is not used" not in text


def test_what_the_store_kept_is_ours_again(tmp_path: Path) -> None:
    """A stored socket serves its bind and is removed at the end; one that no bind wants is closed and not served."""
    path, gone, log = tmp_path / "a.sock", tmp_path / "gone.sock", tmp_path / "log"
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as unwanted:
        for one, where in ((unix, path), (unwanted, gone)):
            one.bind(str(where))
            one.listen()
        with passing(log, "pyfork-b:pyfork-a", [unwanted, unix], "-b", f"unix:{path}"):
            assert ask(str(path), socket.AF_UNIX)
            assert not gone.exists()
        assert not path.exists()


def test_a_dual_stack_socket_serves_the_ipv4_wildcard(tmp_path: Path) -> None:
    """systemd's ListenStream=PORT is one socket for both families."""
    log = tmp_path / "log"
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]
        with passing(log, "", [both], "-b", f":{port}"):
            assert ask(("127.0.0.1", port), socket.AF_INET)
            assert ask(("::1", port), socket.AF_INET6)
        assert "not used" not in log.read_text()
