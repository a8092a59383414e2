"""What the tests of the connection shells share."""

import gc
import logging
from time import monotonic

import pytest

from pyfork.connection import blocking, nonblocking, receiving
from tests.contract.visits import LoopVisit, Visit, open_descriptors


@pytest.fixture
def shell():
    """The blocking shell, unless a module says otherwise."""
    return Visit


@pytest.fixture(params=LoopVisit.WAYS)
def way(request):
    """The non-blocking shell, with the application run in each way."""

    class Way(LoopVisit):
        way = request.param

    return Way


@pytest.fixture(scope="module")
def _quick_collection():
    """Spare `gc.collect` what was there before the module: pytest's many objects are not what it is called for."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def prepare(shell, _quick_collection):
    """Open one connection that is not yet served: application, then the client's moves."""
    visits = []
    before = open_descriptors()

    def open_connection(application, *moves, **context):
        visits.append(shell(application, *moves, **context))
        return visits[-1]

    yield open_connection
    for each in visits:
        each.close()
    visits.clear()
    gc.collect()  # files of applications that have no close()
    assert open_descriptors() <= before, "a descriptor is still open"


@pytest.fixture
def now(monkeypatch):
    """A moment at which the shells' clock stands still: how long they wait does not depend on how long we take."""
    moment = monotonic()
    for module in (blocking, nonblocking, receiving):
        monkeypatch.setattr(module, "monotonic", lambda: moment)
    return moment


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
