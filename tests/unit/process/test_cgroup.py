"""The count of the out-of-memory killer, read from made-up file systems."""

from pathlib import Path

import pytest

from pyfork.process.cgroup import LINGER, OomKills

V2 = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


class Machine:
    """The files of /proc and /sys that matter."""

    def __init__(self, root: Path, cgroup: str, mountinfo: str, file: str, content: str) -> None:
        self.root = root
        self._content = content
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(cgroup)
        (root / "proc/self/mountinfo").write_text(mountinfo)
        self.file = root / file
        self.file.parent.mkdir(parents=True)

    def kill(self, count: int) -> None:
        self.file.write_text(self._content.format(count))


MOUNT2 = "30 24 0:26 {} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
MOUNT1 = "41 24 0:29 {} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHERS = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n40 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "file", "content"),
    [
        ("0::/system.slice/shop.service\n", MOUNT2.format("/"), "sys/fs/cgroup/system.slice/shop.service/memory.events", V2),
        ("0::/\n", MOUNT2.format("/"), "sys/fs/cgroup/memory.events", V2),
        ("0::/docker/ab12\n", MOUNT2.format("/docker/ab12"), "sys/fs/cgroup/memory.events", V2),
        ("0::/docker/ab12/init\n", MOUNT2.format("/docker/ab12"), "sys/fs/cgroup/init/memory.events", V2),
        ("0::/../other\n", MOUNT2.format("/docker/ab12"), "sys/fs/cgroup/memory.events", V2),
        ("7:cpu:/\n4:memory:/shop\n0::/\n", OTHERS + MOUNT1.format("/"), "sys/fs/cgroup/memory/shop/memory.oom_control", V1),
        ("4:memory:/docker/ab\n", MOUNT1.format("/"), "sys/fs/cgroup/memory/memory.oom_control", V1),
        ("0::/a b\n", MOUNT2.format("/").replace("/sys/fs/", "/my\\040fs/"), "my fs/cgroup/a b/memory.events", V2),
    ],
)  # fmt: skip
def test_growth_is_told(tmp_path: Path, cgroup: str, mountinfo: str, file: str, content: str) -> None:
    """Wherever the hierarchy is mounted, whichever version it has."""
    machine = Machine(tmp_path, cgroup, mountinfo, file, content)
    machine.kill(7)
    kills = OomKills(tmp_path)
    assert kills.claim(0) == 0
    machine.kill(8)
    assert kills.claim(0) == 1
    assert kills.claim(0) == 0
    machine.kill(1)
    assert kills.claim(0) == 0
    machine.kill(2)
    assert kills.claim(0) == 1


def test_each_victim_has_its_own(tmp_path: Path) -> None:
    """The kernel has killed two before the first is reaped: the second was killed by it, too, and a third was not."""
    machine = Machine(tmp_path, "0::/\n", MOUNT2.format("/"), "sys/fs/cgroup/memory.events", V2)
    machine.kill(0)
    kills = OomKills(tmp_path)
    machine.kill(2)
    assert [kills.claim(now) for now in (5.0, 6.0, 7.0)] == [2, 1, 0]


def test_what_nobody_claims_is_forgotten(tmp_path: Path) -> None:
    """It was a process of the application's: whoever is killed later was not killed for that."""
    machine = Machine(tmp_path, "0::/\n", MOUNT2.format("/"), "sys/fs/cgroup/memory.events", V2)
    machine.kill(0)
    kills = OomKills(tmp_path)
    machine.kill(2)
    assert kills.claim(5.0) == 2
    assert kills.claim(5.0 + LINGER + 0.1) == 0
    machine.kill(4)
    assert kills.claim(100.0) == 2


def test_count_that_is_not_there_is_not_known(tmp_path: Path) -> None:
    """A file without it, a root cgroup without the file, nothing mounted, nothing readable."""
    assert OomKills(tmp_path).claim(0) is None
    machine = Machine(tmp_path, "0::/\n", OTHERS + MOUNT2.format("/"), "sys/fs/cgroup/memory.events", V2)
    kills = OomKills(tmp_path)
    assert kills.claim(0) is None
    machine.kill(1)
    assert kills.claim(0) is None
    machine.kill(2)
    assert kills.claim(0) == 1
    machine.file.write_text("oom_kill many\n")
    assert kills.claim(0) is None
    machine.file.write_text("oom 3\n")
    assert kills.claim(0) is None
    (tmp_path / "proc/self/mountinfo").write_text(OTHERS)
    assert kills.claim(0) is None


def test_this_machine_is_read_without_an_error() -> None:
    """Whatever it has."""
    assert OomKills().claim(0) in {0, None}
