"""Where the benchmark runs: what it needs, how it is pinned, and what is written beside its figures."""

import contextlib
import os
import platform
import re
import resource
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPEN_FILES = 12_000
"""Descriptors for 3 000 idle connections and what else a server opens."""

HOW_TO_GET_WRK = """make bench: needs wrk to make the load, and it is not installed. Get it:

    Debian, Ubuntu   apt-get install wrk
    Arch             pacman -S wrk
    from source      https://github.com/wg/wrk
"""


def check_tools() -> None:
    """End the program with advice when the system lacks what the benchmark cannot do without."""
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists() or "Pss_Anon" not in rollup.read_text():
        sys.exit("make bench: reads CPU times and memory from /proc: run it on Linux, 5.4 or newer")
    if not shutil.which("wrk"):
        sys.exit(HOW_TO_GET_WRK)
    if not shutil.which("taskset"):
        sys.exit("make bench: needs taskset to pin the servers to a core (Debian, Ubuntu: apt-get install util-linux)")


@dataclass(frozen=True)
class Cores:
    """Which core the servers have, and which the clients; the same when there is but one."""

    server: int
    client: int

    @property
    def is_shared(self) -> bool:
        """Whether servers and clients take the CPU from each other."""
        return self.server == self.client

    @property
    def server_prefix(self) -> list[str]:
        """What pins a command to the servers' core."""
        return ["taskset", "-c", str(self.server)]


def choose_cores() -> Cores:
    """Return the first core for the servers and the second for the clients."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[1 if len(cores) > 1 else 0])


def settle(cores: Cores) -> None:
    """Pin this process (and so the clients that it starts) to its core, and let servers open many files."""
    os.sched_setaffinity(0, {cores.client})
    allow_open_files()


def allow_open_files() -> None:
    """Let this process, and what it starts, open many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def describe() -> dict[str, str]:
    """Return what kind of machine this is; nothing that names it."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {_release()}",
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }


def _release() -> str:
    """Return the kernel's release, digits and dots only: what follows says who built it, and for whom."""
    found = re.match(r"\d+(\.\d+)*", platform.release())
    return "" if found is None else found[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()


def versions(distributions: list[str]) -> dict[str, str]:
    """Return the installed version of each distribution; those that are not installed are left out."""
    found = {}
    for name in distributions:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def without_paths(text: str) -> str:
    """Return ``text`` with paths in the repository as seen from its root: results name no one's directories."""
    return text.replace(f"{ROOT}/", "")


if __name__ == "__main__":
    check_tools()  # before anything is installed in vain
