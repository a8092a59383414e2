"""--log-config takes what gunicorn's takes, and says what is wrong with it before anything is changed."""

import json
import logging
import os

import pytest

from pyfork.errors import ConfigurationError
from pyfork.log.log_config import apply_log_config, read_log_config

INI = """
[loggers]
keys = root, audit

[handlers]
keys = file

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers =

[logger_audit]
level = INFO
handlers = file
qualname = {name}
propagate = 0

[handler_file]
class = FileHandler
formatter = plain
args = ('%(here)s/audit.log',)

[formatter_plain]
format = AUDIT %(message)s
"""


@pytest.fixture(autouse=True)
def root_as_before():
    """These files configure the root logger too, on which pytest listens."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for name in ("test.audit", "gunicorn.error"):
        for handler in logging.getLogger(name).handlers:
            handler.close()
        logging.getLogger(name).handlers = []
    root.handlers = handlers
    root.setLevel(level)


def write(path, text):
    path.write_text(text)
    return str(path)


def test_an_ini_file_is_applied(tmp_path):
    """``%(here)s`` is the file's directory, as gunicorn has it."""
    assert apply_log_config(write(tmp_path / "logging.ini", INI.format(name="test.audit"))) == ()
    logging.getLogger("test.audit").info("line")
    assert (tmp_path / "audit.log").read_text() == "AUDIT line\n"


@pytest.mark.parametrize("name", ["logging.json", "logging.conf"])
def test_a_json_file_is_applied(tmp_path, name):
    """Whatever its name: --log-config-json says what it is. Version and disable_existing_loggers need not be written."""
    existing = logging.getLogger("test.existing")
    content = {
        "formatters": {"plain": {"format": "AUDIT %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(tmp_path / "audit.log"), "formatter": "plain"}
        },
        "loggers": {"test.audit": {"level": "INFO", "handlers": ["file"], "propagate": False}},
    }
    assert apply_log_config(write(tmp_path / name, f"\n {json.dumps(content)}")) == ()
    logging.getLogger("test.audit").info("line")
    assert (tmp_path / "audit.log").read_text() == "AUDIT line\n"
    assert not existing.disabled


def test_gunicorns_loggers_are_warned_of(tmp_path):
    """A file taken over as it is would configure loggers that nobody uses."""
    (warning,) = apply_log_config(write(tmp_path / "logging.ini", INI.format(name="gunicorn.error")))
    assert "'gunicorn.error', which nobody uses here: name it 'pyfork.error'" in warning
    (warning,) = apply_log_config(write(tmp_path / "logging.json", '{"loggers": {"gunicorn.access": {}}}'))
    assert "'pyfork.access'" in warning


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.ini", "", "is not valid: it has no section [loggers], [handlers], [formatters]"),
        ("a.ini", "nonsense", "MissingSectionHeaderError"),
        ("a.json", "[]", "is not valid: it must hold one JSON object"),
        ("a.json", "{", "is not valid: Expecting property name"),
        ("a.conf", "{", "is not valid: Expecting property name"),
        ("a.json", "\x00", "is not valid: Expecting value"),
    ],
)
def test_a_file_in_no_format_is_a_configuration_error(tmp_path, name, text, problem):
    """It says the file and the reason, on one line."""
    with pytest.raises(ConfigurationError) as caught:
        read_log_config(write(tmp_path / name, text))
    (sentence,) = caught.value.problems
    assert problem in sentence
    assert name in sentence
    assert "\n" not in sentence


def test_a_missing_file_is_a_configuration_error(tmp_path):
    """The standard library of 3.11 says KeyError: 'formatters'."""
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        apply_log_config(str(tmp_path / "none.ini"))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "a.json",
            '{"handlers": {"x": {"class": "no.such.Handler"}}}',
            "cannot be applied: Unable to configure handler 'x': Cannot resolve 'no.such.Handler'",
        ),
        ("a.ini", INI.replace("FileHandler", "NoSuchHandler").format(name="test.audit"), "NoSuchHandler"),
    ],
)
def test_a_file_that_cannot_be_applied_is_a_configuration_error(tmp_path, name, text, problem):
    """The cause is told too: the standard library's own message names the handler and not what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        apply_log_config(write(tmp_path / name, text))
    assert problem in caught.value.problems[0]


def test_a_pipe_is_not_waited_for(tmp_path):
    """A reload that waited for its writer would stop the whole arbiter."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match=r"^log\.config: cannot read .*: it is a pipe, not a regular file$"):
        read_log_config(str(tmp_path / "fifo"))
