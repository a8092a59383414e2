"""What the kernel says of a server's processes: CPU time and memory of its whole session.

A server is started as the leader of a session of its own, so its tree is whatever has that session. CPU time is read
from the processes' CPU clocks (nanoseconds, every thread, ended ones too); the time of children that ended and were
waited for is in /proc only, in ticks of 10 ms.
"""

import contextlib
import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_CPU_CLOCK = 2
"""CPUCLOCK_SCHED: the kind of clock in the low bits of a process's clock id (clock_getcpuclockid(3))."""


def read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (proc(5) counts from 1), or [] when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def session_pids(session: int) -> list[int]:
    """Return the processes of a session."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if (fields := read_stat(pid)) and int(fields[3]) == session]


def cpu_seconds(pids: list[int]) -> float:
    """Return the user and system time of these processes, and of their children that ended."""
    return sum(_own_seconds(pid) + _ended_children_seconds(pid) for pid in pids)


def _own_seconds(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return 0.0  # it has gone


def _ended_children_seconds(pid: int) -> float:
    return sum(map(int, read_stat(pid)[13:15])) / TICKS


def thread_seconds(pids: list[int]) -> dict[int, float]:
    """Return the CPU time of each thread that lives, by its number."""
    spent = {}
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it has gone
                spent[int(file.parent.name)] = int(file.read_text().split()[0]) / 1e9
    return spent


def split_seconds(pids: list[int]) -> tuple[float, float]:
    """Return user and system time of these processes apart (ticks of 10 ms)."""
    fields = [stat for pid in pids if (stat := read_stat(pid))]
    return sum(int(stat[11]) for stat in fields) / TICKS, sum(int(stat[12]) for stat in fields) / TICKS


def pss_octets(pids: list[int]) -> int:
    """Return the proportional set size of these processes together; what they share counts once."""
    return sum(_smaps_octets(pid, "Pss") for pid in pids)


def resident_octets(pids: list[int]) -> int:
    """Return the resident set of these processes together; what they share counts for each."""
    return sum(_smaps_octets(pid, "Rss") for pid in pids)


def anonymous_octets(pids: list[int]) -> int:
    """Return that part of it which is no file's: it does not move when another Python starts that shares libraries."""
    return sum(_smaps_octets(pid, "Pss_Anon") for pid in pids)


def _smaps_octets(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has gone
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def busy_seconds(core: int) -> float:
    """Return how long a core has been busy since the start of the machine, with whatever."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *figures = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, figures[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS
    return 0.0
