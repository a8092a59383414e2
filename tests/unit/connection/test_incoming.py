"""A request's body that is kept until it is whole."""

import tempfile

import pytest

from pyfork.connection.incoming import MOST_IN_MEMORY, IncomingBody
from pyfork.gateway.input import EMPTY_INPUT
from pyfork.http1.request import EndOfMessage


@pytest.mark.parametrize("size", [1, MOST_IN_MEMORY, MOST_IN_MEMORY + 1, 3 * MOST_IN_MEMORY])
def test_what_was_added_is_read(size):
    """In memory or from a file; close() may be called twice."""
    body = IncomingBody()
    octets = bytes(range(256)) * (size // 256 + 1)
    for at in range(0, size, 10_000):
        body.add(octets[at : min(at + 10_000, size)])
    assert body.octets == size
    assert (body._file is not None) == (size > MOST_IN_MEMORY)
    assert body.open().read() == octets[:size]
    body.close()
    body.close()


def test_an_empty_body_is_that_of_every_request_without_one():
    """No object for it."""
    assert IncomingBody().open() is EMPTY_INPUT


@pytest.mark.parametrize("content", [b"", b"a", bytes(MOST_IN_MEMORY + 1)])
def test_trailers_come_with_a_chunked_body(content):
    """A chunked body may be empty and have some nevertheless; another body has none at all."""
    end = EndOfMessage(((b"X-Sum", b"1"), (b"Authorization", b"no")))
    body = IncomingBody(is_chunked=True)
    stream = body.take([content, end] if content else [end])
    assert stream.trailers == [("x-sum", "1")]
    assert stream.read() == content
    assert IncomingBody(is_chunked=True).take([EndOfMessage()]).trailers == []
    assert IncomingBody().take([b"a", EndOfMessage()]).trailers is None
    body.close()


def test_a_full_disk_is_told_once(monkeypatch):
    """By add() or open(); close() has nothing to add."""

    class Full:
        def writelines(self, lines):
            pass

        def seek(self, position):
            raise OSError(28, "No space left on device")

        close = seek

    monkeypatch.setattr(Full, "close", lambda self: self.seek(0))
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    body = IncomingBody()
    body.add(bytes(MOST_IN_MEMORY + 1))
    with pytest.raises(OSError, match="No space"):
        body.open()
    body.close()
