"""Root opens no log that leads it where the workers' user wants it to write."""

import errno
import os
import stat

import pytest

from pyfork.log.opening import give, open_log

OTHERS = (1234, 99)
IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def as_root(monkeypatch):
    """Who is not root has root's caution all the same, and may give nothing away."""
    if not IS_ROOT:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "fchown", lambda *_: None)


@pytest.fixture
def target(tmp_path):
    """A file that is nobody's business."""
    path = tmp_path / "secret"
    path.write_text("root's\n")
    return path


def link(path, target, *, is_roots=False):
    """Make a link that root has made, or the workers' user."""
    path.symlink_to(target)
    if is_roots and not IS_ROOT:
        pytest.skip("only root can make a link of root's")
    if not is_roots and IS_ROOT:
        os.chown(path, OTHERS[0], -1, follow_symlinks=False)
    return str(path)


def append(path, owner=OTHERS):
    fd = open_log(path, owner)
    assert os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    os.write(fd, b"line\n")
    os.close(fd)


def test_root_follows_no_link_of_another(tmp_path, target):
    """Broken-into application code may have put it there; the error says whose it is and what to do."""
    path = link(tmp_path / "error.log", target)
    with pytest.raises(PermissionError) as caught:
        open_log(path, OTHERS)
    assert f"a symbolic link of user {os.lstat(path).st_uid}'s to '{target}'" in caught.value.strerror
    assert "remove it, name its target, or make it root's" in caught.value.strerror
    assert target.read_text() == "root's\n"
    assert target.stat().st_uid == os.getuid()


def test_nor_one_behind_a_link_of_roots(tmp_path, target):
    """The second link is in a directory of theirs."""
    link(tmp_path / "theirs", target)
    path = link(tmp_path / "error.log", tmp_path / "theirs", is_roots=True)
    with pytest.raises(PermissionError, match="symbolic link of user 1234"):
        open_log(path, OTHERS)


def test_nor_makes_a_file_at_the_end_of_one(tmp_path):
    """A new file in /etc/cron.d is as good as an old one."""
    path = link(tmp_path / "error.log", tmp_path / "new")
    with pytest.raises(PermissionError):
        open_log(path, OTHERS)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stderr"])
def test_anybodys_link_may_lead_to_a_stream(tmp_path, device):
    """As the images of containers have them, whoever their files belong to."""
    append(link(tmp_path / "error.log", device))


def test_but_not_to_any_device(tmp_path):
    """Of a disk, for one."""
    path = link(tmp_path / "error.log", "/dev/full")
    with pytest.raises(PermissionError):
        open_log(path, OTHERS)


def test_a_link_of_roots_is_followed_and_its_target_is_not_given(tmp_path, target):
    """Root has said where the log is to be, and the workers have been given nothing; relative links are the link's."""
    path = link(tmp_path / "error.log", "second", is_roots=True)
    link(tmp_path / "second", target.name, is_roots=True)
    append(path)
    assert target.read_text() == "root's\nline\n"
    assert target.stat().st_uid == 0


def test_links_in_a_circle_are_an_error(tmp_path):
    """Not a loop."""
    path = link(tmp_path / "error.log", "error.log", is_roots=True)
    with pytest.raises(OSError) as caught:
        open_log(path, OTHERS)
    assert caught.value.errno == errno.ELOOP


def test_the_kernels_own_links_are_opened(tmp_path):
    """`/dev/fd/5` has no target that could be read."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    append(f"/dev/fd/{fd}")
    os.close(fd)
    assert (tmp_path / "file").read_text() == "line\n"


def test_root_appends_to_no_file_with_a_second_name(tmp_path, target):
    """A hard link shows nobody who made it."""
    (tmp_path / "error.log").hardlink_to(target)
    with pytest.raises(PermissionError, match=r"has 2 names .* remove it, or the other names"):
        open_log(str(tmp_path / "error.log"), OTHERS)
    assert target.read_text() == "root's\n"
    assert target.stat().st_uid == os.getuid()


def test_without_a_way_to_be_sure_no_link_is_followed(tmp_path, target, monkeypatch):
    """macOS has no O_PATH."""
    path = link(tmp_path / "error.log", target)
    monkeypatch.delattr(os, "O_PATH")
    with pytest.raises(PermissionError, match="name its target"):
        open_log(path, OTHERS)


@pytest.mark.parametrize("owner", [(-1, -1), (0, 0), (-1, 99)])
def test_links_are_followed_where_the_workers_are_root_too(tmp_path, target, owner):
    """They could write the target themselves."""
    append(link(tmp_path / "error.log", target), owner)
    (tmp_path / "access.log").hardlink_to(target)
    append(str(tmp_path / "access.log"), owner)
    assert target.read_text() == "root's\nline\nline\n"


def test_who_is_not_root_may_follow_what_there_is(tmp_path, target, monkeypatch):
    """The kernel says what that user may do."""
    path = link(tmp_path / "error.log", target)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    append(path)
    assert target.read_text() == "root's\nline\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file away")
def test_a_file_is_given_and_a_device_is_not(tmp_path):
    """The workers reopen it when they are root no more."""
    append(str(tmp_path / "error.log"))
    status = (tmp_path / "error.log").stat()
    assert (status.st_uid, status.st_gid) == OTHERS
    fd = os.open("/dev/null", os.O_WRONLY)
    give(fd, OTHERS)
    os.close(fd)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.stat("/dev/null").st_uid == 0
