"""``wsgi.errors``."""

import logging

import pytest

from pyfork.gateway.errors import MOST_PENDING, ErrorStream


@pytest.fixture
def records():
    """What is logged, as it grows."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append((record.name, record.levelno, record.getMessage()))
    logger = logging.getLogger("pyfork.error")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def error(text):
    return ("pyfork.error", logging.ERROR, text)


def test_lines_become_records(records):
    """When they are whole; an unfinished one waits for its end."""
    stream = ErrorStream()
    print("first", 1, file=stream)
    stream.write("sec")
    assert records == [error("first 1")]
    stream.writelines(["ond\n", "third\nfourth\nfif"])
    assert records[1:] == [error("second\nthird\nfourth")]


def test_flush_logs_what_is_there(records):
    """And nothing if nothing is."""
    stream = ErrorStream()
    stream.flush()
    assert stream.write("half") == 4
    stream.flush()
    stream.flush()
    assert records == [error("half")]


def test_empty_lines_are_no_records(records):
    """A record of nothing tells nothing."""
    ErrorStream().write("\n\n")
    assert records == []


def test_percent_signs_are_text(records):
    """They are no formats."""
    ErrorStream().write("100 %s\n")
    assert records == [error("100 %s")]


def test_a_line_without_an_end_is_logged_in_pieces(records):
    """Memory is not the application's to fill by accident."""
    stream = ErrorStream()
    stream.write("a\n" + "x" * (MOST_PENDING + 1))
    assert records == [error("a\n" + "x" * (MOST_PENDING + 1))]
    stream.flush()
    assert len(records) == 1


def test_octets_are_refused():
    """PEP 3333: the stream is in text mode."""
    with pytest.raises(TypeError, match="takes a str, not bytes"):
        ErrorStream().write(b"octets\n")
