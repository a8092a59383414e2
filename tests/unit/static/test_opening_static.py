"""The way from a mount's directory to a file, and to nothing else."""

import errno
import os
import socket

import pytest

from pyfork.static.opening import ABSENT, MOST_LINKS, Walk


@pytest.fixture
def root(tmp_path):
    """A directory with files, beside one that must not be reached."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "key").write_text("secret")
    root = tmp_path / "root"
    (root / "css" / "deep").mkdir(parents=True)
    (root / "css" / "app.css").write_text("body")
    (root / "css" / "deep" / "a.css").write_text("deep")
    return root


@pytest.fixture
def follow(root):
    """Follow a path; return what is at its end, "a directory", or the name of the error."""

    def walk(path, directory=root):
        before = len(os.listdir("/proc/self/fd"))
        try:
            with Walk(str(directory)) as way:
                found = way.follow(path.encode().split(b"/"))
                if found is None:
                    return "a directory"
                fd, status = way.open(found[0])
                assert status == found[1]
                with open(fd, "rb") as file:
                    return file.read().decode()
        except OSError as error:
            return "nothing" if error.errno in ABSENT else repr(error)
        finally:
            assert len(os.listdir("/proc/self/fd")) == before

    return walk


def test_files_and_directories(follow):
    """A file has nothing below it."""
    assert follow("css/app.css") == "body"
    assert follow("css/deep/a.css") == "deep"
    assert follow("css") == "a directory"
    assert follow("css/none") == "nothing"
    assert follow("none/app.css") == "nothing"
    assert follow("css/app.css/x") == "nothing"
    assert follow("x" * 300) == "nothing"


@pytest.mark.parametrize(
    ("place", "target", "path", "expected"),
    [
        ("css/link.css", "app.css", "css/link.css", "body"),
        ("current", "css", "current/app.css", "body"),
        ("css/deep/up", "../app.css", "css/deep/up", "body"),
        ("css/deep/up", "../..", "css/deep/up/css/app.css", "body"),
        ("css/deep/odd", ".././/deep/../app.css", "css/deep/odd", "body"),
        ("link", "css/deep/", "link", "a directory"),
        ("out", "../secret", "out", "nothing"),
        ("out", "..", "out/secret", "nothing"),
        ("out", "css/../../secret", "out", "nothing"),
        ("out", "../root/css/app.css", "out", "nothing"),
        ("out", "../outside", "out/key", "nothing"),
        ("out", "/etc/passwd", "out", "nothing"),
        ("out", "/", "out/etc/passwd", "nothing"),
        ("loop", "loop", "loop", "nothing"),
        ("dangling", "none", "dangling", "nothing"),
        ("file", "css/app.css/..", "file", "nothing"),
    ],
)
def test_links_stay_inside(follow, root, place, target, path, expected):
    """Relative ones that never leave the directory, not even to come back, are followed; no others."""
    (root / place).symlink_to(target)
    assert follow(path) == expected


def test_an_absolute_link_is_not_followed_even_inside(follow, root):
    """It names a place on the machine, and what it means changes with the directory's own name."""
    (root / "abs").symlink_to(root / "css" / "app.css")
    assert follow("abs") == "nothing"


def test_chains_of_links_end(follow, root):
    """Nobody can make the server walk for long."""
    (root / "link0").symlink_to("css/app.css")
    for number in range(1, MOST_LINKS + 1):
        (root / f"link{number}").symlink_to(f"link{number - 1}")
    assert follow(f"link{MOST_LINKS - 1}") == "body"
    assert follow(f"link{MOST_LINKS}") == "nothing"


def test_the_directory_itself_may_be_a_link(follow, root, tmp_path):
    """Deploys switch one; a link below it still cannot leave."""
    (tmp_path / "current").symlink_to(root)
    (root / "out").symlink_to("../secret")
    assert follow("css/app.css", tmp_path / "current") == "body"
    assert follow("out", tmp_path / "current") == "nothing"
    assert follow("x", tmp_path / "none") == "nothing"
    assert follow("x", tmp_path / "secret") == "nothing"


def test_what_is_no_file_is_not_opened(follow, root):
    """A FIFO would block, a socket or a device do anything."""
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(root / "sock"))
        assert follow("fifo") == "nothing"
        assert follow("sock") == "nothing"
        assert follow("fifo/x") == "nothing"


def test_what_became_something_else_is_not_there(root):
    """Between the look and the opening: a link, a directory, a FIFO, nothing."""

    def link(path):
        path.symlink_to("../../secret")

    for change in (link, os.mkdir, os.mkfifo, lambda path: None):
        path = root / "css" / "moving"
        path.write_text("x")
        with Walk(str(root)) as walk:
            name, _ = walk.follow((b"css", b"moving"))
            path.unlink()
            change(path)
            with pytest.raises(OSError) as caught:
                walk.open(name)
            assert caught.value.errno in ABSENT
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def test_a_directory_that_becomes_a_link_is_not_entered(root, monkeypatch):
    """The race that `realpath` loses."""
    (root / "swap").mkdir()
    look = os.stat

    def swap(name, **options):
        status = look(name, **options)
        if name == b"swap":
            os.rmdir(root / "swap")
            os.symlink("../outside", root / "swap")
        return status

    monkeypatch.setattr(os, "stat", swap)
    with Walk(str(root)) as walk, pytest.raises(OSError) as caught:
        walk.follow((b"swap", b"key"))
    assert caught.value.errno in {errno.ENOTDIR, errno.ELOOP}


def test_beside_a_file(root, monkeypatch):
    """A regular file, or None; also when it goes between two looks."""
    (root / "css" / "app.css.br").write_text("coded")
    (root / "css" / "app.css.gz").symlink_to("app.css.br")
    with Walk(str(root)) as walk:
        walk.follow((b"css", b"app.css"))
        assert walk.look(b"app.css.br").st_size == 5
        assert walk.look(b"app.css.gz") is None
        assert walk.look(b"app.css.zz") is None
        monkeypatch.setattr(os, "access", lambda *_, **__: True)
        assert walk.look(b"app.css.zz") is None
