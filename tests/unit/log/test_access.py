"""The access log writes a line a request, costs nothing when nobody wants it, and never harms a request."""

import logging

import pytest

from pyfork.config.schema import LogSettings
from pyfork.errors import ConfigurationError
from pyfork.log.access import create_access_log
from pyfork.log.handlers import SinkHandler
from pyfork.log.sink import Sink
from tests.unit.log.records import make_record


@pytest.fixture
def logger():
    """pyfork.access, bare, and as it was afterwards."""
    logger = logging.getLogger("pyfork.access")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [], False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def attach(logger, *handlers):
    """Give ``logger`` these handlers and no other (pytest adds its own to loggers that do not propagate)."""
    logger.handlers = [*handlers]


class Listener(logging.Handler):
    """Keeps the records that it is given."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def sink(tmp_path):
    sink = Sink(str(tmp_path / "access.log"), 1)
    sink.read = (tmp_path / "access.log").read_text
    yield sink
    sink.close()


LINE = LogSettings(format="%(m)s %(s)s")


def test_there_is_none_when_nobody_wants_it(logger):
    """The connection then makes no record, takes no time and asks no clock."""
    attach(logger)
    assert create_access_log(LogSettings()) is None
    attach(logger, Listener())
    logger.setLevel(logging.WARNING)
    assert create_access_log(LogSettings()) is None


def test_a_line_goes_straight_to_the_file(logger, sink, monkeypatch):
    """Nobody else listens: the standard library's record would be made for nothing."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    monkeypatch.setattr(logger, "makeRecord", None)
    create_access_log(LINE).log(make_record())
    assert sink.read() == "GET 200\n"


def test_an_application_may_listen_too(logger, sink):
    """Attached at any time, before or after the log was made; it gets the line and the record behind it."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    access_log = create_access_log(LINE)
    listener = Listener()
    logger.addHandler(listener)
    record = make_record()
    access_log.log(record)
    assert sink.read() == "GET 200\n"
    assert listener.records[0].getMessage() == "GET 200"
    assert listener.records[0].access is record


def test_an_application_may_be_the_only_listener(logger):
    """No file was asked for."""
    listener = Listener()
    attach(logger, listener)
    create_access_log(LINE).log(make_record())
    assert [record.getMessage() for record in listener.records] == ["GET 200"]


def test_a_filter_is_heard(logger, sink):
    """As on any logger of the standard library: here, health checks are left out."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    logger.addFilter(quiet := lambda record: record.access.request.path != b"/health")
    access_log = create_access_log(LINE)
    record = make_record()
    record.request.path = b"/health"
    access_log.log(record)
    access_log.log(make_record())
    logger.removeFilter(quiet)
    assert sink.read() == "GET 200\n"


class Hostile:
    def __str__(self):
        raise ValueError("never")


def test_a_line_that_cannot_be_written_is_told_and_harms_nobody(logger, sink, caplog):
    """The environ holds objects of the application's, and str() of them runs its code."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    logging.getLogger("pyfork.error").addHandler(caplog.handler)
    try:
        create_access_log(LogSettings(format="%({X}e)s")).log(make_record(environ={"X": Hostile()}))
    finally:
        logging.getLogger("pyfork.error").removeHandler(caplog.handler)
    assert "cannot write a line of the access log: ValueError('never')" in caplog.text


def test_an_impossible_format_is_a_configuration_error(logger, sink):
    """It was checked at start; whoever comes around that is told here."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    with pytest.raises(ConfigurationError):
        create_access_log(LogSettings(format="%(nope)s"))


def test_lines_may_be_gathered(logger, sink):
    """The loop writes those of a turn together, and whoever does not ask for it has them written at once."""
    attach(logger, SinkHandler(sink, logging.Formatter()))
    access_log = create_access_log(LINE)
    access_log.log(make_record())
    assert sink.read() == "GET 200\n"
    access_log.gather()
    access_log.log(make_record())
    assert sink.read() == "GET 200\n"
    access_log.flush()
    assert sink.read() == "GET 200\nGET 200\n"
    access_log.log(make_record())
    assert sink.read() == "GET 200\n" * 3


def test_other_handlers_have_each_line_at_once(logger):
    """Theirs is the standard library's way."""
    attach(logger, listener := Listener())
    access_log = create_access_log(LINE)
    access_log.gather()
    access_log.log(make_record())
    assert len(listener.records) == 1
    access_log.flush()
