"""How many processes of this cgroup the kernel's out-of-memory killer has ended, where that can be known.

cgroup v2 counts them as ``oom_kill`` in ``memory.events`` (Documentation/admin-guide/cgroup-v2.rst), v1 in
``memory.oom_control`` since Linux 4.13. The files are looked for through ``/proc/self/cgroup`` and
``/proc/self/mountinfo``, because the hierarchy may be mounted anywhere, and in a container often only a part of it is,
whose root is then the container's own cgroup.

What counts is where the victim was, not whose limit was reached: kills by a limit further up, and because the whole
machine was out of memory, are counted too. (v2 counts those of the cgroups below as well, v1 only the victim's own.)
What it cannot tell is *which* process was killed. It is absent in the root cgroup of v2, without the memory controller,
and where /proc or /sys is hidden.
"""

import os
from contextlib import suppress

LINGER = 10.0
"""Seconds for which a kill that was counted may wait for its victim to be reaped; then it was somebody else's."""

_ROOT = "/"


class OomKills:
    """Reads the count of this process's cgroup, and tells which deaths it may stand for.

    Growth is credit: each death that is asked about takes one of it, so that several that were killed together are each
    explained. What is left is forgotten after `LINGER`: processes of the application's are counted, too.

    Made in the arbiter before it forks, because only growth since then is of its workers. The cgroup is looked up each
    time: a service manager may have moved the process.

    Args:
        root: where /proc and /sys are, for tests.
    """

    def __init__(self, root: str | os.PathLike[str] = _ROOT) -> None:
        self._root = root
        self._last = self._read()
        self._credit = 0
        self._grown_at = 0.0

    def claim(self, now: float) -> int | None:
        """Return how many kills there were that no death has claimed, and claim one of them; called in the arbiter.

        Args:
            now: monotonic, seconds.

        Returns:
            0 if the death that is asked about is none of the kernel's, None if that cannot be known.
        """
        last, self._last = self._last, self._read()
        if last is None or self._last is None:
            return None
        if now - self._grown_at > LINGER:
            self._credit = 0
        if self._last > last:  # less: it is another cgroup by now
            self._credit += self._last - last
            self._grown_at = now
        credit = self._credit
        self._credit = max(0, credit - 1)
        return credit

    def _read(self) -> int | None:
        for path in _candidates(self._root):
            with suppress(OSError, ValueError):  # not there, or nothing of the kind in it: the next one may be
                return _count_in(_read(path))
        return None


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _count_in(text: str) -> int:
    """Return the value of ``oom_kill`` of a "flat keyed" file.

    Raises:
        ValueError: it has none.
    """
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    raise ValueError("there is no oom_kill")


def _candidates(root: str | os.PathLike[str]) -> list[str]:
    """Return the files where the count may be, the likeliest first."""
    try:
        groups = _read(os.path.join(root, "proc/self/cgroup")).splitlines()
        mounts = _read(os.path.join(root, "proc/self/mountinfo")).splitlines()
    except (OSError, ValueError):  # /proc is hidden, or no text
        return []
    own: dict[str, str] = {}
    for group in groups:
        number, _, rest = group.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            own["cgroup2"] = path
        elif "memory" in controllers.split(","):
            own["cgroup"] = path
    files = {"cgroup2": "memory.events", "cgroup": "memory.oom_control"}
    found = []
    for kind, top, point in _mounted(mounts):
        if kind in own:
            found.append(os.path.join(root, point.lstrip("/"), _below(own[kind], top), files[kind]))
            found.append(os.path.join(root, point.lstrip("/"), files[kind]))
    return found


def _mounted(mounts: list[str]) -> list[tuple[str, str, str]]:
    """Return the hierarchies that may count: type, root within the hierarchy, mount point (proc_pid_mountinfo(5))."""
    found = []
    for line in mounts:
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2" or (kinds[0] == "cgroup" and "memory" in kinds[2].split(",")):
            found.append((kinds[0], _unescape(fields[3]), _unescape(fields[4])))
    return sorted(found, key=lambda mount: mount[0] != "cgroup2")


def _below(path: str, top: str) -> str:
    """Return what of a cgroup's path is below the part of the hierarchy that is mounted."""
    if top != "/" and (path == top or path.startswith(f"{top}/")):
        path = path[len(top) :]
    return path.lstrip("/")


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
