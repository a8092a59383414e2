"""The command: what each line leads to, what it prints and with which status it ends."""

import os
import sys
import tomllib

import pytest

from pyfork.cli import command
from pyfork.cli.options import parse
from pyfork.errors import ApplicationLoadError, ConfigurationError


@pytest.fixture(autouse=True)
def served(monkeypatch, tmp_path):
    """A start directory of its own, a clean environment, and servers that only note what they would serve."""
    found = []

    def serve(loaded, reload_configuration, *_):
        found.append((loaded, reload_configuration))
        return 0

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setattr(command, "parse_apart", parse)  # no child of a test's
    monkeypatch.setattr(command, "try_application", lambda settings: 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__config__", sys)  # so that --convert's module is taken away again
    for name in ("PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)
    return found


def test_it_serves(served, capsys):
    """A line in gunicorn's manner needs nothing else; its warnings come before the log exists."""
    assert command.run(["-w", "2", "--worker-tmp-dir", "/dev/shm", "shop:app"]) == 0
    loaded, _ = served[0]
    assert (loaded.settings.server.app, loaded.settings.workers.count) == ("shop:app", 2)
    assert capsys.readouterr().err == (
        "pyfork: warning: --worker-tmp-dir is ignored: heartbeats go through a pipe; no file is written, so none can "
        "block\n"
    )


def test_a_reload_asks_again_for_the_file_that_was_read(served, tmp_path):
    """A ./server.toml that has vanished refuses the reload; the defaults are not what the operator wants."""
    file = tmp_path / "server.toml"
    file.write_text("[server]\napp = 'shop:app'\n")
    command.run([])
    _, reload_configuration = served[0]
    file.unlink()
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        reload_configuration()


def test_a_reload_reads_the_file_anew(served, tmp_path):
    """With the same line and the same environment; a mistake in it refuses the reload."""
    (tmp_path / "server.toml").write_text("[workers]\ncount = 2\ntimeout = 5\n")
    assert command.run(["-t", "7", "shop:app"]) == 0
    _, reload_configuration = served[0]
    (tmp_path / "server.toml").write_text("[workers]\ncount = 3\ntimeout = 5\n")
    workers = reload_configuration().settings.workers
    assert (workers.count, workers.timeout) == (3, 7)
    (tmp_path / "server.toml").write_text("[workers]\ncount = 'x'\ntype = 'fibers'\n")
    with pytest.raises(ConfigurationError) as caught:
        reload_configuration()
    assert len(caught.value.problems) == 2


def test_a_pipe_is_read_once(served):
    """``-c <(generate)`` starts; its second reading would be empty, and a reload to the defaults nobody wants."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb") as end:
        end.write(b"[workers]\ncount = 2\n")
        end.close()
        assert command.run(["-c", f"/dev/fd/{reading}", "shop:app"]) == 0
        loaded, reload_configuration = served[0]
        assert loaded.settings.workers.count == 2
        with pytest.raises(ConfigurationError, match="this is a pipe, not a regular file"):
            reload_configuration()


def test_everything_that_is_wrong_is_reported_at_once(served, tmp_path, capsys):
    """The line's, the file's, the environment's and the system's problems; nothing is started."""
    (tmp_path / "server.toml").write_text("[servr]\n[workers]\ncount = 'x'\n")
    assert command.run(["--daemon", "--certfile", "a.pem", "-k", "fibers", "-t", "soon"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("pyfork: error: ") for line in lines)
    for part in (
        "--daemon: ",
        "tls.certfile: ",
        "table servr",
        "workers.count",
        "--timeout",
        "fibers",
        "no application",
    ):
        assert len([line for line in lines if part in line]) == 1, part
    assert not served


def test_no_application_is_a_clear_error(capsys):
    """pyfork alone, in an empty directory."""
    assert command.run([]) == 2
    assert "pyfork: error: no application: name it on the command line" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--nope"], ["-w"], ["a", "b"]])
def test_a_wrong_line_names_help(arguments, capsys):
    """Status 2, one line."""
    assert command.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("pyfork: error: ")
    assert error.endswith("(`pyfork --help` shows what there is)\n")


def test_problems_of_the_start_end_it_with_2(monkeypatch, capsys):
    """A port in use comes to light when the sockets are opened."""

    def serve(*_):
        raise ConfigurationError("server.bind: in use")

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setattr(command, "parse_apart", parse)  # no child of a test's
    assert command.run(["shop:app"]) == 2
    assert capsys.readouterr().err == "pyfork: error: server.bind: in use\n"


def test_print_config(capsys):
    """TOML on standard output and nothing else; it needs no application."""
    assert command.run(["--print-config", "-w", "3", "--threads", "2"]) == 0
    captured = capsys.readouterr()
    assert tomllib.loads(captured.out)["workers"]["count"] == 3
    assert "count = 3  # command line --workers\n" in captured.out
    assert 'type = "threadpool"  # because of workers.threads, from command line --threads\n' in captured.out
    assert command.run(["--print-config", "-w", "0"]) == 2


def test_check_config(monkeypatch, capsys):
    """0 and "ok"; 2 for the configuration; 4 for the application, which the scratch process has explained."""
    assert command.run(["--check-config", "shop:app"]) == 0
    assert capsys.readouterr().out == "ok\n"
    assert command.run(["--check-config"]) == 2
    monkeypatch.setattr(command, "try_application", lambda settings: 4)
    assert command.run(["--check-config", "shop:app"]) == 4
    assert capsys.readouterr().out == ""

    def fail(_):
        raise ApplicationLoadError("it crashed")

    monkeypatch.setattr(command, "try_application", fail)
    assert command.run(["--check-config", "--print-config", "shop:app"]) == 4
    captured = capsys.readouterr()
    assert captured.err == "pyfork: error: it crashed\n"
    assert "[server]" in captured.out


@pytest.mark.parametrize("file", ["gunicorn.conf.py", "file:gunicorn.conf.py", "python:gunicorn.conf"])
def test_a_python_configuration_is_not_read_as_toml(file, capsys):
    """The error names the way out."""
    assert command.run(["-c", file, "--daemon", "shop:app"]) == 2
    error = capsys.readouterr().err
    assert "--daemon: " in error
    assert "`pyfork --convert gunicorn.conf.py > server.toml` converts it" in error


def test_what_gunicorn_would_have_read_is_warned_of(monkeypatch, tmp_path, capsys):
    """GUNICORN_CMD_ARGS always; ./gunicorn.conf.py until there is a server.toml or a -c."""
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-w 3")
    assert command.run(["shop:app"]) == 0
    error = capsys.readouterr().err
    assert "warning: environment GUNICORN_CMD_ARGS is not read; `pyfork --convert gunicorn.conf.py` writes" in error
    assert "warning: gunicorn.conf.py is not read; `pyfork --convert gunicorn.conf.py > server.toml`" in error
    monkeypatch.delenv("GUNICORN_CMD_ARGS")
    (tmp_path / "server.toml").write_text("")
    assert command.run(["shop:app"]) == 0
    assert capsys.readouterr().err == ""


def test_convert_takes_in_everything_that_gunicorn_would(monkeypatch, tmp_path, capsys):
    """The file, then GUNICORN_CMD_ARGS, then the line; what is left out, and what this version lacks, is warned of."""
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\nthreads = 2\ntimeout = 2\nworker_class = 'gthread'\n")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 3 --timeout '3' --spew")
    assert command.run(["--convert", "gunicorn.conf.py", "-t", "4", "shop:app"]) == 0
    captured = capsys.readouterr()
    assert tomllib.loads(captured.out) == {
        "server": {"app": "shop:app"},
        "workers": {"type": "gthread", "count": 2, "threads": 3, "timeout": 4},
    }
    assert "warning: --spew is ignored" in captured.err
    assert "must be changed" not in captured.err


def test_convert_ignores_questions_in_the_variable(monkeypatch, tmp_path, capsys):
    """--version in GUNICORN_CMD_ARGS is nothing to convert; a file that is missing is an error."""
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\n")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--version")
    assert command.run(["--convert", "file:gunicorn.conf.py"]) == 0
    assert "count = 2\n" in capsys.readouterr().out
    assert command.run(["--convert", "gone.py"]) == 2


@pytest.mark.parametrize(("value", "reason"), [("-n 'a", "no closing quotation"), ("--nope", "--nope")])
def test_convert_names_the_variable_that_is_wrong(value, reason, monkeypatch, capsys):
    """The mistake is not on the command line."""
    monkeypatch.setenv("GUNICORN_CMD_ARGS", value)
    assert command.run(["--convert", "gunicorn.conf.py"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pyfork: error: environment GUNICORN_CMD_ARGS: ")
    assert reason in error


def test_a_start_directory_that_is_gone(monkeypatch, capsys):
    """Deleted under the shell's feet."""

    def gone(_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(command, "logical_directory", gone)
    assert command.run(["shop:app"]) == 2
    assert "the current directory is gone" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough(monkeypatch):
    """`pyfork --print-config | head` ends without a traceback."""

    def full(*_):
        raise BrokenPipeError

    monkeypatch.setattr("pyfork.config.render.to_toml", full)
    copy = os.dup(sys.stdout.fileno())
    try:
        assert command.run(["--print-config"]) == 1
    finally:
        os.dup2(copy, sys.stdout.fileno())
        os.close(copy)


def test_main_exits_with_the_status(monkeypatch, capsys):
    """Of the given line, or of this process's."""
    with pytest.raises(SystemExit) as caught:
        command.main(["--version"])
    assert caught.value.code == 0
    monkeypatch.setattr(sys, "argv", ["pyfork", "--nope"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
