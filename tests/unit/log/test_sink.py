"""A log's descriptor keeps its number, its lines stay whole, and nothing that happens to it harms the server."""

import contextlib
import errno
import itertools
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.log.sink import Sink, explain_unusable


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "error.log")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_lines_are_appended(path):
    """What was there before the start stays."""
    with open(path, "wb") as file:
        file.write(b"old\n")
    sink = Sink(path, 2)
    sink.write(b"new\n")
    sink.close()
    assert read(path) == b"old\nnew\n"


def test_two_processes_do_not_overwrite_each_other(path):
    """Each has a descriptor of its own after reopening: O_APPEND, not the offset, decides."""
    first, second = Sink(path, 2), Sink(path, 2)
    first.write(b"1\n")
    second.write(b"2\n")
    first.write(b"3\n")
    first.close()
    second.close()
    assert read(path) == b"1\n2\n3\n"


def test_reopening_follows_a_rotated_file_and_keeps_the_number(path):
    """faulthandler was given the number and is never told of another."""
    sink = Sink(path, 2)
    number = sink.fd
    sink.write(b"before\n")
    os.rename(path, path + ".1")
    sink.write(b"still\n")
    sink.reopen()
    sink.write(b"after\n")
    assert sink.fd == number
    assert not os.get_inheritable(number)
    sink.close()
    assert read(path + ".1") == b"before\nstill\n"
    assert read(path) == b"after\n"


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    """The arbiter opens it where pyfork was started, a worker reopens it from the application's directory."""
    monkeypatch.chdir(tmp_path)
    sink = Sink("error.log", 2)
    monkeypatch.chdir("/")
    sink.reopen()
    sink.write(b"line\n")
    sink.close()
    assert read(tmp_path / "error.log") == b"line\n"


def test_a_file_that_cannot_be_reopened_leaves_the_old_one(path, tmp_path):
    """Losing the log because a directory went would hide why it went."""
    sink = Sink(path, 2)
    os.rename(path, path + ".1")
    os.mkdir(path)
    with pytest.raises(IsADirectoryError):
        sink.reopen()
    sink.write(b"kept\n")
    sink.close()
    assert read(path + ".1") == b"kept\n"


@pytest.mark.parametrize("name", ["-", "/dev/stderr"])
def test_a_stream_is_duplicated_and_never_reopened(name, tmp_path, monkeypatch):
    """The application may close or redirect standard error; the log goes on. A journal's socket has no path to open."""
    with open(tmp_path / "stream", "wb") as stream:
        monkeypatch.setattr("pyfork.log.sink.STDERR_FD", stream.fileno())
        monkeypatch.setattr("pyfork.log.sink.STREAMS", {"/dev/stderr": stream.fileno()})
        sink = Sink(name, stream.fileno())
        assert "Sink" in repr(sink)
    sink.reopen()
    sink.write(b"line\n")
    sink.close()
    assert read(tmp_path / "stream") == b"line\n"


def test_a_closed_stream_is_nowhere(tmp_path):
    """``pyfork 2>&-`` starts; nobody reads what it says."""
    fd = os.open(tmp_path, os.O_RDONLY)
    os.close(fd)
    sink = Sink("-", fd)
    sink.write(b"line\n")
    assert os.path.sameopenfile(sink.fd, fd) if sink.fd != fd else stat.S_ISCHR(os.fstat(fd).st_mode)
    sink.close()


def test_a_stream_that_cannot_be_duplicated_is_an_error(monkeypatch):
    """Out of descriptors is not "nobody listens"."""

    def refuse(fd):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", refuse)
    with pytest.raises(OSError, match="Too many"):
        Sink("-", 2)


def test_a_full_disk_loses_lines_and_nothing_else():
    """/dev/full answers ENOSPC to every write."""
    sink = Sink("/dev/full", 2)
    sink.write(b"lost\n")
    sink.close()


def test_a_reader_that_has_gone_loses_lines_and_nothing_else():
    """``pyfork 2>&1 | head -1`` goes on serving."""
    reader, writer = os.pipe()
    sink = Sink("-", writer)
    os.close(reader)
    os.close(writer)
    sink.write(b"lost\n")
    sink.close()


def test_a_line_that_goes_out_in_parts_is_completed(path, monkeypatch):
    """A signal or a full pipe may cut a write short."""
    sink = Sink(path, 2)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    sink.write(b"abcdefgh\n")
    monkeypatch.undo()
    sink.close()
    assert read(path) == b"abcdefgh\n"


def test_a_full_pipe_does_not_block_and_the_log_says_what_is_missing(monkeypatch):
    """A container's log driver that stands still must not stop the arbiter; O_NONBLOCK would be everybody's."""
    monkeypatch.setattr("pyfork.log.sink._STUFFED_PATIENCE", 1)
    reader, writer = os.pipe()
    sink = Sink("-", writer)
    for number in range(100):
        sink.write(b"%04d" % number * 1000 + b"\n")
    sink.write(bytes(200_000))  # more than the pipe takes, in pieces
    received = os.read(reader, 1_000_000)
    assert received.startswith(b"0000" * 1000 + b"\n0001")
    sink.write(b"again\n")
    kept = received.count(b"\n")
    assert os.read(reader, 1_000_000) == b"pyfork: lines of this log are lost, as nobody read them: %d\nagain\n" % (
        101 - kept
    )
    sink.write(b"and again\n")
    assert os.read(reader, 1_000_000) == b"and again\n"
    assert os.get_blocking(writer)
    for fd in (reader, writer, sink.fd):
        os.close(fd)


def test_a_full_pipe_that_is_non_blocking_delays_a_line_only_so_long(monkeypatch):
    """A neighbour on the terminal may have made it non-blocking; the arbiter must not wait for its reader for ever."""
    monkeypatch.setattr("pyfork.log.sink._STUFFED_PATIENCE", 1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = Sink("-", writer)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    sink.write(b"lost\n")
    os.read(reader, 1_000_000)
    sink.write(b"kept\n")
    attempts = iter([BlockingIOError(), 5])

    def stuff_once(fd, data):
        outcome = next(attempts)
        if isinstance(outcome, int):
            return outcome
        raise outcome

    monkeypatch.setattr(os, "write", stuff_once)
    sink.write(b"late\n")
    monkeypatch.undo()
    assert next(attempts, None) is None
    for fd in (reader, writer, sink.fd):
        os.close(fd)


def test_a_fifo_without_a_reader_is_an_error_and_not_a_hang(tmp_path):
    """The kernel would let an open wait for the reader for ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError) as caught:
        Sink(str(tmp_path / "fifo"), 2)
    assert caught.value.errno == errno.ENXIO


def test_root_gives_a_file_to_the_workers_user(path, monkeypatch):
    """They reopen it after the rotation, when they are root no more."""
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given.append((uid, gid)))
    Sink(path, 2, (1234, 99)).close()
    Sink(path, 2).close()
    Sink("/dev/null", 2, (1234, 99)).close()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    Sink(path, 2, (1234, 99)).close()
    assert given == [(1234, 99)]


def test_a_file_that_cannot_be_given_away_is_not_left_open(path, monkeypatch):
    """The error is the caller's, the descriptor nobody's."""

    def refuse(fd, uid, gid):
        refused.append(fd)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    refused = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(PermissionError):
        Sink(path, 2, (1234, 99))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(refused[0])


def test_it_is_known_beforehand_whether_a_path_can_be_opened(tmp_path, monkeypatch):
    """--check-config must not make the file to find out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.log").touch()
    assert explain_unusable("-") is None
    assert explain_unusable("/dev/stdout") is None
    assert explain_unusable("new.log") is None
    assert explain_unusable("old.log") is None
    assert explain_unusable(str(tmp_path)) == "Is a directory"
    assert explain_unusable("no/such.log") == "there is no directory 'no'"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert explain_unusable("new.log") == "Permission denied"
    assert explain_unusable("old.log") == "Permission denied"
    assert os.listdir(tmp_path) == ["old.log"]


@pytest.fixture
def writes(monkeypatch):
    """What each system call has written."""
    seen = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: seen.append(bytes(data)) or write(fd, data))
    return seen


def test_a_line_is_written_at_once(path, writes):
    """Unless somebody has said that more will come: a line that waits is lost with its process."""
    sink = Sink(path, 2)
    sink.add("1")
    assert read(path) == b"1\n"
    sink.flush()
    sink.add("2")
    assert writes == [b"1\n", b"2\n"]
    sink.close()


def test_lines_that_are_gathered_are_written_together(path, writes):
    """A system call costs as much as the line."""
    sink = Sink(path, 2)
    sink.gather()
    for line in ("1", "2", "3"):
        sink.add(line)
    assert writes == []
    sink.flush()
    assert writes == [b"1\n2\n3\n"]
    sink.close()


@given(st.lists(st.integers(1, 6000), max_size=12), st.sampled_from("xéµ"))
def test_no_write_is_larger_than_a_pipe_keeps_whole(sizes, character):
    """Workers share it: what is larger than PIPE_BUF may have another's lines in the middle (pipe(7)).

    Whole lines, in order; one that is larger by itself goes alone.
    """
    lines = [(character * (size - 1) + "\n").encode() for size in sizes]
    writes = []
    sink = Sink("/dev/null", 2)
    sink.write = writes.append
    sink.gather()
    for line in lines:
        sink.add(line.decode().rstrip("\n"))
    sink.flush()
    sink.close()
    assert b"".join(writes) == b"".join(lines)
    assert all(len(data) <= 4096 or data in lines for data in writes)
    assert all(data.endswith(b"\n") for data in writes)
    if character == "x":
        assert all(len(one) + len(two) > 4096 or two in lines for one, two in itertools.pairwise(writes))


def test_what_was_gathered_goes_to_the_file_of_its_time(path):
    """A rotation, or the end, comes when it comes."""
    sink = Sink(path, 2)
    sink.gather()
    sink.add("before")
    os.rename(path, path + ".1")
    sink.reopen()
    sink.add("after")
    sink.close()
    assert read(path + ".1") == b"before\n"
    assert read(path) == b"after\n"


def test_lines_that_are_lost_are_told_once_a_minute(monkeypatch):
    """With their number; a complaint for each would fill the other disk too."""
    now = 1000.0
    told = []
    monkeypatch.setattr("pyfork.log.sink.monotonic", lambda: now)
    sink = Sink("/dev/full", 2)
    sink.write(b"nobody is told\n")
    sink.complain = told.append
    for _ in range(5):
        sink.write(b"one\ntwo\n")
    assert told == ["cannot write the log '/dev/full': No space left on device; lines lost: 3"]
    now += 60
    sink.write(b"one\n")
    assert told[1:] == ["cannot write the log '/dev/full': No space left on device; lines lost: 9"]
    sink.write(b"one\ntwo\n")
    os.dup2(null := os.open("/dev/null", os.O_WRONLY), sink.fd)
    os.close(null)
    sink.write(b"kept\n")
    now += 60
    sink.write(b"kept\n")
    sink.write(b"kept\n")
    assert told[2:] == ["the log '/dev/full' is written again; lines lost: 2"]
    sink.close()


def test_a_complaint_that_fails_harms_nobody():
    """A handler of the application's may raise anything."""

    def fail(sentence):
        raise RuntimeError(sentence)

    sink = Sink("/dev/full", 2)
    sink.complain = fail
    sink.write(b"lost\n")
    sink.close()
