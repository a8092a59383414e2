"""What the system refuses a pidfile keeps nobody from serving."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pyfork.arbiter import pidfile as module
from pyfork.arbiter.pidfile import Pidfile, find_fault
from pyfork.errors import ConfigurationError


def refuse(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_cannot_be_written_changes_hands_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is in charge does not depend on it; the log says that the file is wrong."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    monkeypatch.setattr(module, "_write", refuse)
    pidfile.hand_over(4321)
    assert not pidfile.is_ours
    pidfile.take_over()
    assert pidfile.is_ours
    assert "cannot be written to name pid 4321: No space left on device" in caplog.text
    pidfile.release()
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its directory may be root's; a stop is a stop."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    monkeypatch.setattr(module.os, "unlink", refuse)
    pidfile.release()
    assert "cannot be removed" in caplog.text


def test_a_file_that_is_gone_is_what_was_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to tell."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    os.unlink(tmp_path / "pid")
    pidfile.release()
    assert caplog.text == ""


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the log has, information too."""
    caplog.set_level("INFO", "pyfork.error")
    return caplog


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    """With what makes it a pidfile: the pid, the lock, owner and mode; the descriptor's number is known elsewhere."""
    path = tmp_path / "pid"
    pidfile = Pidfile.acquire(str(path))
    os.fchmod(pidfile.fd, 0o640)
    if os.geteuid() == 0:
        os.fchown(pidfile.fd, 12, 34)
    before, fd = os.fstat(pidfile.fd), pidfile.fd
    pidfile.restore()
    assert told.text == ""
    path.unlink()
    pidfile.restore()
    assert f"{path} was removed; it is made anew, with pid {os.getpid()} in it" in told.text
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert path.read_text() == f"{os.getpid()}\n"
    assert pidfile.fd == fd
    assert pidfile.is_at(str(path))
    assert not os.get_inheritable(fd)
    assert is_locked(path)
    pidfile.release()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["a file", "a link", "a directory"])
def test_what_another_has_put_there_stays(tmp_path: Path, told: pytest.LogCaptureFixture, kind: str) -> None:
    """It may be another pyfork's; the operator is told what to do."""
    path = tmp_path / "pid"
    pidfile = Pidfile.acquire(str(path))
    path.unlink()
    if kind == "a file":
        path.write_text("1\n")
    elif kind == "a link":
        path.symlink_to("gone")
    else:
        path.mkdir()
    pidfile.restore()
    assert f"{path} is another file than pyfork's own by now, and is left as it is" in told.text
    assert f"to have pid {os.getpid()} in it again, remove it and send HUP" in told.text
    pidfile.release()
    assert path.is_dir() or path.is_symlink() or path.read_text() == "1\n"


@pytest.mark.parametrize("instant", ["between open and lock", "and gone again"])
def test_another_pyfork_may_be_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture, instant: str
) -> None:
    """It takes the file that was just made, as it would take a stale one: then it has it."""
    path = tmp_path / "pid"
    pidfile = Pidfile.acquire(str(path))
    path.unlink()
    others: list[int] = []
    flock = fcntl.flock

    def lose(fd: int, how: int) -> None:
        if instant == "and gone again":
            path.unlink()
        else:
            others.append(os.open(path, os.O_RDWR))
            flock(others[0], how)
        flock(fd, how)

    monkeypatch.setattr(module.fcntl, "flock", lose)
    before = len(os.listdir("/proc/self/fd"))
    pidfile.restore()
    assert "is another file than pyfork's own by now" in told.text
    assert len(os.listdir("/proc/self/fd")) == before + len(others)
    for fd in others:
        os.close(fd)
    pidfile.release()


def test_a_file_that_cannot_be_made_anew_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    """Its directory has gone, or the disk is full; a reload is a reload."""
    folder = tmp_path / "folder"
    folder.mkdir()
    pidfile = Pidfile.acquire(str(folder / "pid"))
    (folder / "pid").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", refuse)
        pidfile.restore()
    assert "was removed, and cannot be made anew: No space left on device" in told.text
    assert os.listdir(folder) == []
    folder.rmdir()
    pidfile.restore()
    assert "cannot be made anew: No such file or directory" in told.text
    pidfile.release()


def test_only_who_is_in_charge_makes_it_anew(tmp_path: Path) -> None:
    """During an upgrade, the old arbiter."""
    pidfile = Pidfile.acquire(str(tmp_path / "pid"))
    pidfile.is_ours = False
    (tmp_path / "pid").unlink()
    pidfile.restore()
    assert os.listdir(tmp_path) == []
    pidfile.release()


def test_what_can_be_known_before_a_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path that no start could use, with nothing made or changed; and the start says it too."""
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("good")
    (tmp_path / "text").write_text("VALUE = 1")
    (tmp_path / "loop").symlink_to("loop")
    for name, fault in (
        ("dir", "is a directory; name a file that can be written"),
        ("fifo", "is a pipe; name a file that can be written"),
        ("link", "is a symbolic link, which is not followed"),
        ("text", "exists and holds no pid; remove it or name another file"),
        ("gone/pid", f"there is no directory {tmp_path}/gone"),
    ):
        path = str(tmp_path / name)
        found = find_fault(path)
        assert found is not None
        assert found.startswith("server.pidfile: ")
        assert fault in found
        with pytest.raises(ConfigurationError, match=r"^server\.pidfile: "):
            Pidfile.acquire(path)
    (tmp_path / "good").write_text("123\n")
    (tmp_path / "empty").touch()
    assert find_fault(str(tmp_path / "good")) is find_fault(str(tmp_path / "empty")) is None
    assert find_fault(str(tmp_path / "new")) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be opened: Permission denied" in (find_fault(str(tmp_path / "good")) or "")
    assert f"no file can be made in {tmp_path}: permission denied" in (find_fault(str(tmp_path / "new")) or "")
