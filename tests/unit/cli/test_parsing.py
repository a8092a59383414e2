"""What a child makes of the command line comes back as it was."""

import errno
import marshal
import os

import pytest

from pyfork.cli import parsing
from pyfork.cli.command_line import CommandLine, left_out_of
from pyfork.errors import ConfigurationError


def through_a_pipe(*arguments):
    """Take a line apart as the child does, and read the answer as the arbiter does."""
    return parsing._read(marshal.loads(marshal.dumps(parsing._parse(arguments))))


def test_it_comes_back_whole():
    """Every field, and octets that are no UTF-8, as the names of files may have them."""
    line = through_a_pipe("-c", "a.toml", "-b", ":80", "-b", "unix:/tmp/\udcff", "--daemon", "--app", "a:b", "c:d")
    assert line == CommandLine(
        overrides={
            "server.bind": ((":80", "unix:/tmp/\udcff"), "command line --bind"),
            "server.app": ("c:d", "command line APP"),
        },
        left_out=("daemon",),
        problems=["command line: the application is given twice, as APP (c:d) and with --app; give it once"],
        config="a.toml",
    )
    assert [left_out.flag for left_out in left_out_of(line)] == ["--daemon"]


def test_an_answer_given_is_a_status(capsys):
    """The child has printed it."""
    assert through_a_pipe("--version") == 0
    assert capsys.readouterr().out.startswith("pyfork ")


def test_a_mistake_is_raised_where_it_is_told():
    """In the arbiter, which tells systemd too."""
    with pytest.raises(ConfigurationError, match=r"No such option.*--nope.* \(`pyfork --help` shows"):
        through_a_pipe("--nope")


def test_completion_ends_by_its_status(monkeypatch, capsys):
    """click answers the shell's question and exits."""
    monkeypatch.setenv("_PYFORK_COMPLETE", "bash_source")
    assert through_a_pipe() == 0
    assert "_pyfork_completion" in capsys.readouterr().out


def test_no_room_for_a_process(monkeypatch):
    """Nothing stays open, and the message says which limits to raise."""

    def refuse():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    pipes = []
    pipe = os.pipe
    monkeypatch.setattr(os, "pipe", lambda: pipes.append(pipe()) or pipes[-1])
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(ConfigurationError, match=r"no process could be started .*: Resource temp.* RLIMIT_NPROC"):
        parsing.parse_apart(["app:app"])
    for end in pipes[0]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_a_parser_that_is_killed(monkeypatch):
    """It could tell nothing, so the arbiter does; as when the kernel has run out of memory."""
    monkeypatch.setattr(os, "fork", lambda: 4711)
    monkeypatch.setattr(os, "waitpid", lambda pid, _: (pid, 9))
    with pytest.raises(ConfigurationError, match="was killed by signal 9; start pyfork again"):
        parsing.parse_apart(["app:app"])
