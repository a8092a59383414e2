"""What the tests of the connection shells share."""

import logging

import pytest

from tests.contract.visits import Visit


@pytest.fixture
def prepare():
    """Open one connection that is not yet served: application, then the client's moves."""
    visits = []

    def open_connection(application, *moves, **context):
        visits.append(Visit(application, *moves, **context))
        return visits[-1]

    yield open_connection
    for each in visits:
        each.close()


@pytest.fixture
def visit(prepare):
    """Serve one connection: application, then the client's moves."""
    return lambda application, *moves, **context: prepare(application, *moves, **context).serve()


@pytest.fixture
def log(caplog):
    """The messages of the error log."""
    caplog.set_level(logging.DEBUG, logger="pyfork.error")

    class Log:
        def __call__(self, level):
            return [record.getMessage() for record in caplog.records if record.levelname == level]

        text = property(lambda _: caplog.text)

    return Log()
