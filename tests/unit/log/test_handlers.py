"""An entry of the error log cannot be forged or lost, and no application silences it."""

import logging
import logging.config
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.log.handlers import (
    ErrorFormatter,
    LastingLogger,
    SinkHandler,
    get_lasting_logger,
    indent_further_lines,
)
from pyfork.log.sink import Sink

ENTRY = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [-+]\d{4}\] \[\d+\] \[[A-Z]+\] \[arbiter\] (.*)", re.DOTALL)


@pytest.fixture
def log(tmp_path):
    """A logger that writes to a file, and a function that reads the file."""
    sink = Sink(str(tmp_path / "log"), 2)
    logger = logging.Logger("test")  # noqa: LOG001 (one that neither pytest nor another test knows)
    logger.addHandler(SinkHandler(sink, ErrorFormatter("arbiter")))
    logger.text = lambda: (tmp_path / "log").read_text("utf-8")
    yield logger
    sink.close()


def test_an_entry_says_when_which_process_how_bad_and_who(log):
    """[time] [pid] [LEVEL] [identity] message."""
    log.warning("worker %d is %s", 2, "stuck")
    assert ENTRY.fullmatch(log.text())[1] == "worker 2 is stuck\n"
    assert "] [WARNING] [" in log.text()


def test_a_traceback_is_indented_under_its_entry(log):
    """Its lines belong to the entry above, and none can pass for an entry."""
    try:
        raise ValueError("no\n[2026-11-20 18:55:00 +0000] [1] [INFO] [arbiter] forged")
    except ValueError:
        log.exception("it failed")
    first, *further = log.text().splitlines()
    assert first.endswith("it failed")
    assert further[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in further)


def test_a_traceback_that_was_cut_is_shown_as_it_was_cut(log):
    """The connection leaves out the server's own frames, so that the application's come first."""
    try:
        raise ValueError("no")
    except ValueError as error:
        log.error("it failed", exc_info=(ValueError, error, None))
    assert log.text().endswith("it failed\n  ValueError: no\n")


def test_a_stack_and_a_traceback_that_came_as_text_are_shown(log):
    """A record that travelled through a queue carries its traceback as text."""
    log.info("here", stack_info=True)
    record = log.makeRecord("test", logging.ERROR, "f", 1, "there", (), None)
    record.exc_text = "Traceback: gone\n"
    log.handle(record)
    assert "  Stack (most recent call last):\n" in log.text()
    assert log.text().endswith("there\n  Traceback: gone\n")


@given(st.text(st.characters(exclude_categories=())))
def test_no_message_can_forge_an_entry(text):
    """However the reader splits lines, only the first begins in the first column."""
    lines = ("[x] " + indent_further_lines(text)).splitlines()
    assert all(line.startswith("  ") for line in lines[1:])


def test_control_characters_are_escaped():
    """A terminal that shows the log obeys none of them."""
    assert indent_further_lines("a\x1b[2J\r\x00\x85\u2028é\tb") == "a\\x1b[2J\\r\\x00\\x85\\u2028é\tb"


def test_a_lone_surrogate_is_written_escaped(log):
    """File names that are not UTF-8 hold them."""
    log.info("file %s", "\udcff")
    assert log.text().endswith("file \\udcff\n")


class Hostile:
    """Cannot be shown."""

    def __repr__(self):
        raise RuntimeError("never")


def test_a_message_that_cannot_be_formatted_is_written_as_it_is(log):
    """The standard library would print to a standard error that may be closed."""
    log.info("%d workers", "two")
    log.info("%d workers", Hostile())
    one, two = log.text().splitlines()
    assert one.startswith("cannot format '%d workers' with ('two',)")
    assert two.startswith("cannot format '%d workers' with <tuple: RuntimeError in repr>")


def test_an_application_cannot_disable_a_lasting_logger():
    """disable_existing_loggers is true unless one says otherwise; Django's users find out in production."""
    early = logging.getLogger("test.lasting")
    lasting = get_lasting_logger("test.lasting")
    assert lasting is early
    assert get_lasting_logger("test.lasting") is early
    lasting.disabled = True
    assert lasting.isEnabledFor(logging.ERROR)
    assert isinstance(lasting, LastingLogger)
