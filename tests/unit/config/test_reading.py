"""Files that settings name: read whole, and never waited for."""

import os
import socket

import pytest

from pyfork.config.reading import IrregularFileError, check_regular, read_regular


def refusal(path):
    """Return what is said of a path that is no regular file; nothing stays open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IrregularFileError) as caught:
        read_regular(str(path))
    assert os.listdir("/proc/self/fd") == before
    return caught.value.strerror


def test_a_file_is_read(tmp_path):
    """All of it or as much as is asked for; a link to it will do."""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(str(tmp_path / "file")) == b"abc"
    assert read_regular(str(tmp_path / "link"), 2) == b"ab"


def test_what_would_have_to_be_waited_for_is_refused(tmp_path, monkeypatch):
    """A named pipe whose writer never comes, above all."""
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "it is a pipe, not a regular file"
    assert refusal("/dev/null") == "it is a device, not a regular file"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert refusal("sock") == "it is a socket, or a device that is not there, not a regular file"


def test_other_refusals_are_the_systems(tmp_path):
    """With the exceptions that say what is wrong."""
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        read_regular(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_regular(str(tmp_path / "gone"))


def test_a_mode_that_nobody_knows_is_no_regular_file():
    """Other systems have kinds of their own."""
    with pytest.raises(IrregularFileError, match="it is something else"):
        check_regular(0)
