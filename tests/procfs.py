"""What the kernel says of a process: its sockets, descriptors, threads, time and memory. Linux, by /proc (proc(5))."""

import contextlib
import os
import re
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.harness import wait_until

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
LIMIT_FLAGS = {resource.RLIMIT_NOFILE: "nofile", resource.RLIMIT_NPROC: "nproc", resource.RLIMIT_FSIZE: "fsize"}


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state, on; [] when the process has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return []


def state(pid: int) -> str:
    """Return the state's letter, "" when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def parent_of(pid: int) -> int:
    """Return the parent's pid, 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def is_alive(pid: int) -> bool:
    """Return whether it runs: a zombie does not."""
    return state(pid) not in {"", "Z", "X"}


def family(session: int) -> dict[int, tuple[int, str]]:
    """Return parent and state of each process of a session, zombies included."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := _stat(entry)) and int(fields[3]) == session:
            found[int(entry)] = int(fields[1]), fields[0]
    return found


def children(session: int, parent: int) -> list[int]:
    """Return the pids of the living children of one process, all in its session."""
    return sorted(pid for pid, (its, letter) in family(session).items() if its == parent and letter != "Z")


def wait_stopped(pid: int) -> bool:
    """Wait until every thread has stopped; return whether the process was there to do so."""

    def has_stopped() -> bool:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return True
        states = [fields[0] for thread in threads if (fields := _stat(f"{pid}/task/{thread}"))]
        return all(letter in "TtZX" for letter in states)

    wait_until(has_stopped, f"process {pid} has stopped", 10)
    return state(pid) == "T"


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Have a process stand still, so that it finds at once all that is done meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        assert wait_stopped(pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that it has used, 0.0 when it has gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def resident(pid: int) -> int:
    """Return its resident memory in octets."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def descriptors(pid: int) -> dict[int, str]:
    """Return what each descriptor leads to, as /proc/PID/fd has it."""
    found = {}
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def descriptor_kinds(pid: int) -> Counter[str]:
    """Return how many descriptors of each kind it has: pipes and sockets without their numbers, files by path."""
    return Counter(re.sub(r":\[\d+\]$", "", target) for target in descriptors(pid).values())


def listening(pid: int) -> set[str]:
    """Return the TCP listeners of its network, as /proc/PID/fd calls them."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}


def held_ports(pid: int, port: int) -> frozenset[int]:
    """Return the client ports of the connections to ``port`` that a process has accepted and not closed."""
    inodes = {match[1] for target in descriptors(pid).values() if (match := re.fullmatch(r"socket:\[(\d+)\]", target))}
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(int(fields[2].rpartition(":")[2], 16))
    return frozenset(found - {0})


def heartbeat_of(pid: int, arbiter: int) -> str:
    """Return a path by which the write end of a worker's heartbeat pipe can be opened by somebody else.

    It is the pipe that the worker writes and the arbiter reads.
    """
    read = {target for fd, target in descriptors(arbiter).items() if _access_mode(arbiter, fd) == os.O_RDONLY}
    for fd, target in descriptors(pid).items():
        if target.startswith("pipe:") and target in read and _access_mode(pid, fd) == os.O_WRONLY:
            return f"/proc/{pid}/fd/{fd}"
    raise ProcessLookupError(f"process {pid} has no heartbeat pipe to {arbiter}")


def _access_mode(pid: int, fd: int) -> int:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
        return int(re.search(r"^flags:\s+([0-7]+)$", text, re.MULTILINE)[1], 8) & os.O_ACCMODE
    return -1


def limit_of(pid: int, kind: int) -> tuple[int, int]:
    """Return soft and hard limit of a living process (getrlimit(2))."""
    names = {resource.RLIMIT_NOFILE: "Max open files", resource.RLIMIT_NPROC: "Max processes"}
    names[resource.RLIMIT_FSIZE] = "Max file size"
    text = Path(f"/proc/{pid}/limits").read_text()
    values = re.search(rf"^{names[kind]}\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    return tuple(resource.RLIM_INFINITY if value == "unlimited" else int(value) for value in values.groups())


def set_limit(pid: int, kind: int, soft: int) -> None:
    """Change the soft limit of a living process, as its own user (prlimit(2) asks for that, or CAP_SYS_RESOURCE)."""
    owner = os.stat(f"/proc/{pid}").st_uid
    _, hard = limit_of(pid, kind)
    if owner == os.geteuid():
        resource.prlimit(pid, kind, (soft, hard))
        return
    text = ["unlimited" if value == resource.RLIM_INFINITY else str(value) for value in (soft, hard)]
    subprocess.run(
        [*become(owner), "prlimit", f"--pid={pid}", f"--{LIMIT_FLAGS[kind]}={':'.join(text)}"],
        check=True,
        capture_output=True,
    )


def become(user: int) -> list[str]:
    """Return the beginning of a command that runs as ``user``, a number that need not be in any list of users."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
