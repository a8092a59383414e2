"""Whose fault it was, and how it is told."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pyfork.connection.failures import (
    application_frames,
    clients_fault,
    is_clients_fault_alone,
    line_of,
    log_failure,
    warn_of_response,
)
from pyfork.errors import ApplicationError, DisconnectedError, ProtocolError, RequestBodyError
from pyfork.gateway.wsgi import Exchange
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder

REQUEST = Request("GET", b"/x", "1.1", [])
TIMEOUT = ProtocolError(408, "late")


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, logger="pyfork.error")
    return caplog


def raised(error, cause=None, context=None):
    """Return ``error`` as if it had been raised from ``cause``, or while ``context`` was handled."""
    error.__context__ = context
    if cause is not None:
        error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ValueError(), None),
        (RequestBodyError(TIMEOUT), TIMEOUT),
        (raised(ValueError(), cause=RequestBodyError(TIMEOUT)), TIMEOUT),
        (raised(ValueError(), context=RequestBodyError(TIMEOUT)), TIMEOUT),
        (raised(ValueError(), context=raised(KeyError(), cause=RequestBodyError(TIMEOUT))), TIMEOUT),
        (raised(ValueError(), cause=KeyError(), context=RequestBodyError(TIMEOUT)), None),
        (OSError(), None),
    ],
)
def test_the_client_is_at_fault_if_a_chain_leads_to_it(error, fault):
    """By what an exception was raised from; what it was raised beside counts only without that."""
    assert clients_fault(error) is fault


@pytest.mark.parametrize(
    ("error", "is_alone"),
    [
        (RequestBodyError(TIMEOUT), True),
        (DisconnectedError("gone"), True),
        (raised(ValueError(), cause=RequestBodyError(TIMEOUT)), True),
        (raised(ValueError(), cause=raised(KeyError(), cause=DisconnectedError("gone"))), True),
        (raised(NameError(), context=RequestBodyError(TIMEOUT)), False),
        (raised(ValueError(), cause=raised(NameError(), context=RequestBodyError(TIMEOUT))), False),
        (ValueError(), False),
    ],
)
def test_what_happens_while_the_fault_is_handled_is_another(error, is_alone):
    """``raise ... from`` translates; an exception without it is one more."""
    assert is_clients_fault_alone(error) is is_alone


def test_a_client_that_has_gone_is_at_fault():
    """It is the exception itself, as there is no status for it."""
    gone = DisconnectedError("gone")
    assert clients_fault(raised(ValueError(), cause=gone)) is gone


def test_a_chain_may_be_a_circle():
    """The application can make one; looking for its end would be an endless loop."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert clients_fault(first) is None
    assert not is_clients_fault_alone(first)


def test_frames_begin_with_the_applications():
    """Ours before them are cut; those behind them show where a rule was broken."""

    def application():
        ResponseEncoder("GET", "1.1", False, b"").start("200", [])

    with pytest.raises(ApplicationError) as info:
        application()
    frames = application_frames(info.tb)
    assert frames.tb_frame.f_code is sys._getframe().f_code
    with pytest.raises(ApplicationError) as info:
        ResponseEncoder("GET", "1.1", False, b"").start("200", [])
    assert application_frames(info.tb.tb_next) is None
    assert application_frames(None) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x"), "the application raised ValueError: GET /x from 192.0.2.7"),
        (SystemExit(3), "the application called sys.exit(3): GET /x from 192.0.2.7"),
        (ApplicationError("the status is odd"), "the status is odd: GET /x from 192.0.2.7"),
    ],
)
def test_a_failure_is_logged_with_the_request(log, error, message):
    """The first line says what and where from; the exception follows, if it says more."""
    log_failure(REQUEST, "192.0.2.7", error)
    (record,) = log.records
    assert record.getMessage() == message
    assert bool(record.exc_info) is not isinstance(error, ApplicationError)


def test_an_odd_exit_is_told_by_its_kind(log):
    """Its repr() is the application's, and may fail as well."""

    class Odd:
        def __repr__(self):
            raise ValueError

    log_failure(REQUEST, "", SystemExit(Odd()))
    assert log.messages[0].startswith("the application called sys.exit('Odd')")


def test_a_failure_tells_its_place(log):
    """And a client without an address has one at least by kind."""
    log_failure(REQUEST, "", ValueError(), where=" in close()")
    assert log.messages == ["the application raised ValueError in close(): GET /x from a unix socket"]


def test_a_line_of_a_request_is_one_line():
    """In printable ASCII."""
    assert line_of(Request("GET", b"/a\xe9\n\\", "1.1", [])) == "GET /a\\xe9\\n\\\\"


POOR = """
import logging, os, resource, sys
from pyfork.connection import incoming, outgoing
from pyfork.connection.failures import line_of, log_failure
from pyfork.http1.request import Request
from pyfork.log.handlers import ErrorFormatter
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(ErrorFormatter("worker"))
logging.getLogger("pyfork.error").addHandler(handler)
logging.getLogger("pyfork.error").propagate = False
request = Request("GET", b"/a\\n", "1.1", [])
known = set(sys.modules)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
try:
    open(os.devnull)
except OSError as error:
    log_failure(request, "192.0.2.7", error)
body = incoming.IncomingBody()
try:
    body.add(bytes(incoming.MOST_IN_MEMORY + 1))
except OSError:
    print("no room for a body")
print(line_of(request), sorted(set(sys.modules) - known))
"""


def test_a_failure_is_told_when_no_descriptor_is_left():
    """Whatever telling takes is imported before: an import opens files."""
    told = subprocess.run([sys.executable, "-c", POOR], capture_output=True, text=True, check=True).stdout
    assert "the application raised OSError: GET /a\\n from 192.0.2.7" in told
    assert "OSError: [Errno 24] Too many open files: '/dev/null'" in told
    assert told.endswith("no room for a body\nGET /a\\n []\n")


def test_a_sound_response_warns_of_nothing(log):
    """The application may send a file longer than its Content-Length."""
    exchange = Exchange(None, {}, None, None)
    exchange.is_file = True
    encoder = SimpleNamespace(dropped=(), excess=5, missing=0)
    warn_of_response(REQUEST, exchange, encoder, set())
    assert log.records == []
