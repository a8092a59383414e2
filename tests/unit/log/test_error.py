"""The logs of a process: opened once, inherited, opened anew without a gap, and never half configured."""

import io
import json
import logging
import os
import sys

import pytest

from pyfork.config.schema import LogSettings
from pyfork.errors import ConfigurationError
from pyfork.log import error as error_log

LOGGERS = ("pyfork.error", "pyfork.access")


@pytest.fixture(autouse=True)
def logs(monkeypatch):
    """No logs are open before, and none after."""
    monkeypatch.setattr(error_log, "_logs", None)
    saved = [(name, vars(logging.getLogger(name)).copy()) for name in LOGGERS]
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if error_log._logs:
        for sink in error_log._logs.sinks():
            sink.close()
    for name, state in saved:
        for key in ("handlers", "level", "propagate"):
            setattr(logging.getLogger(name), key, state[key])
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def settings(tmp_path):
    return LogSettings(error=str(tmp_path / "error.log"), access=str(tmp_path / "access.log"))


def log(message, *arguments):
    logging.getLogger("pyfork.error").info(message, *arguments)


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_arbiter_writes_as_arbiter_and_a_worker_by_its_name(settings):
    """The number and the generation tell whose line it is when pids have gone."""
    error_log.configure(settings)
    log("one")
    error_log.set_identity("worker 2 gen 5")
    log("two")
    one, two = text(settings.error).splitlines()
    assert one.endswith(f"[{os.getpid()}] [INFO] [arbiter] one")
    assert two.endswith(f"[{os.getpid()}] [INFO] [worker 2 gen 5] two")


def test_the_level_is_the_least_that_is_kept(settings):
    """log.level."""
    error_log.configure(LogSettings(error=settings.error, level="warning"))
    log("quiet")
    logging.getLogger("pyfork.error").warning("loud")
    assert "quiet" not in text(settings.error)
    assert "loud" in text(settings.error)


def test_the_access_logger_has_a_handler_only_when_a_file_was_asked_for(settings):
    """Whoever asks the logger knows whether anybody listens."""
    error_log.configure(LogSettings(error=settings.error))
    assert logging.getLogger("pyfork.access").handlers == []
    error_log.configure(settings)
    logging.getLogger("pyfork.access").info("line")
    assert text(settings.access) == "line\n"


def test_neither_logger_passes_records_to_the_applications_root(settings):
    """An application with a root handler would print every line twice."""
    error_log.configure(settings)
    assert [logging.getLogger(name).propagate for name in LOGGERS] == [False, False]


def test_all_files_that_cannot_be_opened_are_told_and_nothing_changes(settings, tmp_path):
    """A reload with a bad path is refused; the old log goes on."""
    error_log.configure(settings)
    fd = error_log.error_log_fd()
    with pytest.raises(ConfigurationError) as caught:
        error_log.configure(LogSettings(error=str(tmp_path), access=str(tmp_path / "no" / "log")))
    assert caught.value.problems == (
        f"log.error: cannot open {str(tmp_path)!r}: Is a directory",
        f"log.access: cannot open {str(tmp_path / 'no' / 'log')!r}: No such file or directory",
    )
    log("still here")
    assert error_log.error_log_fd() == fd
    assert "still here" in text(settings.error)
    with pytest.raises(ConfigurationError):
        error_log.configure(LogSettings(error=settings.error, access=str(tmp_path / "no" / "log")))


def test_new_settings_move_the_logs_and_close_the_old_files(settings, tmp_path):
    """A reload that names other files; the identity stays."""
    error_log.configure(settings)
    error_log.set_identity("somebody")
    before = len(os.listdir("/proc/self/fd"))
    error_log.configure(LogSettings(error=str(tmp_path / "new.log"), access=str(tmp_path / "new-access.log")))
    log("moved")
    assert text(settings.error) == ""
    assert text(tmp_path / "new.log").endswith("[somebody] moved\n")
    assert len(os.listdir("/proc/self/fd")) == before


def test_reopening_follows_rotated_files(settings):
    """Both logs, without a gap, the number kept for faulthandler."""
    error_log.configure(settings)
    fd = error_log.error_log_fd()
    for path in (settings.error, settings.access):
        os.rename(path, path + ".1")
    log("before")
    error_log.reopen()
    log("after")
    logging.getLogger("pyfork.access").info("line")
    assert error_log.error_log_fd() == fd
    assert text(settings.error + ".1").endswith("before\n")
    assert text(settings.error).endswith("after\n")
    assert text(settings.access) == "line\n"


def test_a_file_that_cannot_be_reopened_is_told_in_the_old_one(settings):
    """The old file stays in use."""
    error_log.configure(settings)
    os.rename(settings.error, settings.error + ".1")
    os.mkdir(settings.error)
    error_log.reopen()
    assert f"cannot reopen the log {settings.error!r}: Is a directory; the old file stays" in text(
        settings.error + ".1"
    )


def test_the_applications_own_log_files_are_reopened_too(settings, tmp_path):
    """As in gunicorn: whoever rotates logs rotates them all, and sends one signal."""
    error_log.configure(settings)
    path = str(tmp_path / "app.log")
    assert text(settings.error) == ""
    handlers = [logging.FileHandler(path), logging.FileHandler(str(tmp_path / "lazy.log"), delay=True)]
    logger = logging.getLogger("test.application")
    logger.handlers = handlers
    logger.warning("before")
    handlers[1].close()
    os.rename(path, path + ".1")
    error_log.reopen()
    logger.warning("after")
    assert text(path + ".1") == "before\n"
    assert text(path) == "after\n"
    os.rename(path, path + ".2")
    os.mkdir(path)
    error_log.reopen()
    assert f"cannot reopen the log {path!r}" in text(settings.error)
    logger.warning("still")
    assert text(path + ".2") == "after\nstill\n"
    for handler in handlers:
        handler.close()
    logger.handlers = []


def test_what_the_application_prints_is_captured(settings, tmp_path, monkeypatch, capfd):
    """print() at once, not when 8 KiB have come together; what its subprocesses print as well; after reopening too."""
    saved = [os.dup(1), os.dup(2)]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # an application may have replaced it
    try:
        error_log.configure(LogSettings(error=settings.error, capture_output=True))
        assert os.get_inheritable(1)
        error_log.set_identity("worker 0 gen 1")
        print("printed")
        os.write(2, b"from C\n")
        os.rename(settings.error, settings.error + ".1")
        error_log.reopen()
        print("printed again")
    finally:
        for fd, original in enumerate(saved, start=1):
            os.dup2(original, fd)
            os.close(original)
    assert text(settings.error + ".1") == "printed\nfrom C\n"
    assert text(settings.error) == "printed again\n"


def test_log_config_replaces_what_it_names_and_leaves_the_rest(settings, tmp_path):
    """Here the access log gets a format of its own and the error log stays pyfork's."""
    path = tmp_path / "logging.json"
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "custom.log")}
    loggers = {"pyfork.access": {"handlers": ["file"], "level": "INFO"}, "gunicorn.access": {}}
    path.write_text(json.dumps({"handlers": {"file": handler}, "loggers": loggers}))
    error_log.configure(LogSettings(error=settings.error, config=str(path)))
    logging.getLogger("pyfork.access").info("line")
    for custom in logging.getLogger("pyfork.access").handlers:
        custom.close()
    assert text(tmp_path / "custom.log") == "line\n"
    assert "configures the logger 'gunicorn.access', which nobody uses here" in text(settings.error)


@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_of_log_config_is_given_to_the_workers_unless_a_link_led_to_it(settings, tmp_path, monkeypatch, is_link):
    """The workers' user may have made the link: what it leads to must not become theirs."""
    given = []
    monkeypatch.setattr(error_log, "give", lambda fd, owner: given.append(owner))
    config, custom = tmp_path / "logging.json", tmp_path / "custom.log"
    if is_link:
        (tmp_path / "target").touch()
        custom.symlink_to(tmp_path / "target")
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": str(custom)},
        "lazy": {"class": "logging.FileHandler", "filename": str(tmp_path / "lazy.log"), "delay": True},
    }
    loggers = {"pyfork.access": {"handlers": ["file", "lazy"], "level": "INFO"}}
    config.write_text(json.dumps({"handlers": handlers, "loggers": loggers}))
    error_log.configure(LogSettings(error=settings.error, config=str(config)), (1234, 99))
    for handler in logging.getLogger("pyfork.access").handlers:
        handler.close()
    assert given == ([] if is_link else [(1234, 99)])


def test_a_log_config_file_that_cannot_be_given_is_told(settings, tmp_path, monkeypatch):
    """The server starts: who reads the log knows why a rotation fails."""

    def refuse(fd, owner):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(error_log, "give", refuse)
    config = tmp_path / "logging.json"
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "custom.log")}
    loggers = {"pyfork.access": {"handlers": ["file"], "level": "INFO"}}
    config.write_text(json.dumps({"handlers": {"file": handler}, "loggers": loggers}))
    error_log.configure(LogSettings(error=settings.error, config=str(config)), (1234, 99))
    for each in logging.getLogger("pyfork.access").handlers:
        each.close()
    assert "custom.log' to the workers: Operation not permitted" in text(settings.error)


def test_a_log_config_that_cannot_be_applied_leaves_the_old_logs(settings, tmp_path):
    """Even when the old settings' own file has been broken since: the error log itself goes on."""
    path = tmp_path / "logging.json"
    path.write_text("{}")
    before = LogSettings(error=settings.error, config=str(path))
    error_log.configure(before)
    path.write_text('{"loggers": {"pyfork.error": {"handlers": ["nope"]}}}')
    with pytest.raises(ConfigurationError, match="cannot be applied"):
        error_log.configure(before)
    log("still here")
    assert "still here" in text(settings.error)
    plain = LogSettings(error=settings.error)
    error_log.configure(plain)
    with pytest.raises(ConfigurationError, match="cannot be applied"):
        error_log.configure(before)
    log("and here")
    assert "and here" in text(settings.error)
    error_log._logs.error.close()
    error_log._logs = None
    with pytest.raises(ConfigurationError, match="cannot be applied"):
        error_log.configure(before)


def test_without_logs_there_is_nothing_to_reopen():
    """A mistake of ours, told as one."""
    with pytest.raises(RuntimeError, match="configure"):
        error_log.reopen()


def test_checking_tells_every_problem_and_makes_nothing(tmp_path):
    """For --check-config, and for a reload before anything is touched."""
    broken = tmp_path / "broken.ini"
    broken.write_text("")
    settings = LogSettings(
        error=str(tmp_path / "no" / "log"), access=str(tmp_path), format="%(nope)s", config=str(broken)
    )
    problems = error_log.check(settings)
    assert [problem.partition(":")[0] for problem in problems] == [
        "log.error",
        "log.access",
        "log.format",
        "log.config",
    ]
    good = LogSettings(error=str(tmp_path / "log"), access="-")
    assert error_log.check(good) == []
    good_config = tmp_path / "good.json"
    good_config.write_text("{}")
    assert error_log.check(LogSettings(config=str(good_config))) == []
    assert not (tmp_path / "log").exists()
