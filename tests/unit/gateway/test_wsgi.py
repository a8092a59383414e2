"""PEP 3333 between the application and the connection."""

import io
import os
import sys
from wsgiref.validate import validator

import pytest

from pyfork.errors import ApplicationError
from pyfork.gateway.environ import base_environ, build_environ
from pyfork.gateway.errors import ErrorStream
from pyfork.gateway.file_wrapper import FileParts, FileRegion, FileWrapper
from pyfork.gateway.input import InputStream
from pyfork.gateway.wsgi import MOST_JOINED, Exchange
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder

PLAIN = [("Content-Type", "text/plain")]


class Client:
    """Drives an exchange as a shell does, and keeps what is sent."""

    def __init__(self, application, *, method="GET", version="1.1"):
        self.encoder = ResponseEncoder(method, version, True, b"<date>")
        self.sent = []
        self.exchange = Exchange(application, {}, self.encoder, self.sent.append)

    def run(self):
        """Return all that the client gets."""
        try:
            data = self.exchange.begin()
            while True:
                self.sent.append(data)
                if self.exchange.is_finished:
                    break
                data = self.exchange.advance()
        finally:
            self.exchange.close()
        return self.response

    @property
    def response(self):
        return b"".join(data for data in self.sent if not isinstance(data, FileRegion))

    @property
    def head(self):
        return self.response.partition(b"\r\n\r\n")[0]

    @property
    def body(self):
        return self.response.partition(b"\r\n\r\n")[2]


def run(application, **request):
    client = Client(application, **request)
    client.run()
    return client


def returning(value, headers=(), status="200 OK"):
    """Return an application that returns ``value``."""

    def application(environ, start_response):
        start_response(status, [*PLAIN, *headers])
        return value

    return application


class Blocks:
    """An iterable that remembers its close()."""

    def __init__(self, *blocks):
        self.blocks = iter(blocks)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        if isinstance(block, BaseException):
            raise block
        return block

    def close(self):
        self.closed += 1


# Bodies whose length is known.


@pytest.mark.parametrize("body", [[b"hello"], (b"hello",), [b"he", b"", b"llo"], [b"hello", b""]])
def test_a_list_is_sent_at_once_with_its_length(body):
    """Head and body together, whatever the number of its blocks."""
    client = run(returning(body))
    assert len(client.sent) == 1
    assert b"Content-Length: 5" in client.head
    assert client.body == b"hello"
    assert client.exchange.octets_sent == 5


@pytest.mark.parametrize("body", [[], (), [b""], iter(()), Blocks(), Blocks(b"", b"")])
def test_no_body_has_the_length_zero(body):
    """Also when that is known at the end only."""
    client = run(returning(body))
    assert b"Content-Length: 0" in client.head
    assert client.body == b""
    assert client.exchange.octets_sent == 0


@pytest.mark.parametrize(
    ("blocks", "sends"), [([bytes(MOST_JOINED + 1)], 2), ([b"", b"a", bytes(MOST_JOINED), b"b"], 3)]
)
def test_a_large_list_is_not_copied_together(blocks, sends):
    """Head and beginning are sent together, the rest from where it is."""
    client = run(returning(blocks))
    body = b"".join(blocks)
    assert b"Content-Length: %d" % len(body) in client.head
    assert client.body == body
    assert len([data for data in client.sent if data]) == sends
    assert isinstance(client.sent[1], memoryview)
    assert client.exchange.octets_sent == len(body)


def test_a_large_list_obeys_what_was_said_before():
    """A shorter length, a HEAD, a head that write() has sent."""
    large = [bytes(MOST_JOINED), b"rest"]
    client = run(returning(large, [("Content-Length", "100000")]))
    assert client.body == bytes(100000)
    assert client.encoder.excess == MOST_JOINED + 4 - 100000
    assert client.exchange.octets_sent == 100000
    for length in (5, 0):
        client = run(returning(large, [("Content-Length", str(length))]))
        assert client.body == bytes(length)
        assert b"Content-Length: %d" % length in client.head
    client = run(returning(large), method="HEAD")
    assert b"Content-Length: %d" % (MOST_JOINED + 4) in client.head
    assert client.body == b""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)(b"x")
        return large

    assert run(application).body == b"1\r\nx\r\n%x\r\n%b\r\n4\r\nrest\r\n0\r\n\r\n" % (MOST_JOINED, large[0])


def test_an_iterable_of_one_block_has_its_length():
    """PEP 3333: if len() is 1, the first block's length is the body's."""

    class One(Blocks):
        def __len__(self):
            return 1

    client = run(returning(One(b"", b"hello")))
    assert b"Content-Length: 5" in client.head
    assert client.body == b"hello"


def test_an_iterable_of_more_blocks_has_no_length():
    """Its len() is a number of blocks."""

    class Two(Blocks):
        def __len__(self):
            return 2

    client = run(returning(Two(b"hello", b"!")))
    assert b"Transfer-Encoding: chunked" in client.head
    assert client.body == b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"


def test_the_applications_length_goes_before_ours():
    """Even if it is wrong: the encoder cuts, and the client sees what is missing."""
    client = run(returning([b"hello"], [("Content-Length", "3")]))
    assert client.body == b"hel"
    assert client.encoder.excess == 2
    assert client.exchange.octets_sent == 3
    client = run(returning([b"hello"], [("Content-Length", "7")]))
    assert client.body == b"hello"
    assert client.encoder.missing == 2
    assert not client.encoder.keep_alive


# Bodies whose length is not known.


def test_each_block_is_sent_before_the_next_is_asked_for():
    """PEP 3333, "Buffering and Streaming"."""
    sent_at = []
    client = None

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        for number in range(3):
            sent_at.append(len(client.response))
            yield b"%d" % number

    client = Client(application)
    client.run()
    assert sent_at[0] == 0
    assert sent_at[0] < sent_at[1] < sent_at[2]
    assert client.body == b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"
    assert client.exchange.octets_sent == 3


def test_http_1_0_is_delimited_by_the_end_of_the_connection():
    """It knows no chunks."""
    client = run(returning(iter([b"a", b"b"])), version="1.0")
    assert client.body == b"ab"
    assert not client.encoder.keep_alive


def test_start_response_may_come_with_the_first_block():
    """A generator's code begins to run there."""

    def application(environ, start_response):
        yield b""
        start_response("201 Created", PLAIN)
        yield b"late"

    client = run(application)
    assert client.head.startswith(b"HTTP/1.1 201 Created\r\n")
    assert b"late" in client.body


def test_empty_blocks_do_not_send_the_head():
    """PEP 3333: only the first block that is not empty does, so an error may still replace it."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b""
        assert not client.encoder.head_sent
        yield b""
        start_response("500 Internal Server Error", PLAIN, (ValueError, ValueError(), None))
        yield b"sorry"

    client = Client(application)
    client.run()
    assert client.head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert client.exchange.status == "500 Internal Server Error"


def test_an_old_sequence_is_an_iterable():
    """Python iterates over what has only __getitem__."""

    class Old:
        def __getitem__(self, index):
            return [b"old"][index]

    assert b"old" in run(returning(Old())).body


def test_too_much_ends_the_iteration():
    """What is cut anyway need not be produced; it may be endless."""
    blocks = Blocks(b"abc", b"def", AssertionError("asked for more"))
    client = run(returning(blocks, [("Content-Length", "4")]))
    assert client.body == b"abcd"
    assert client.exchange.octets_sent == 4
    assert blocks.closed == 1


# Responses without a body.


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_statuses_have_no_body(status):
    """Whatever the application returns."""
    client = run(returning([b"hello"], status=status))
    assert client.body == b""
    assert client.exchange.octets_sent == 0
    assert run(returning(Blocks(b"a", b"b"), status=status)).body == b""
    assert b"Content-Length" not in run(returning([], status=status)).head


def test_head_gets_the_length_that_get_would_have():
    """And no body; the rest is not even asked for."""
    client = run(returning([b"hello"]), method="HEAD")
    assert b"Content-Length: 5" in client.head
    assert client.body == b""
    blocks = Blocks(b"a", AssertionError("asked for more"))
    client = run(returning(blocks, [("Content-Length", "9")]), method="HEAD")
    assert b"Content-Length: 9" in client.head
    assert client.body == b""
    assert client.encoder.missing == 0
    assert blocks.closed == 1


def test_an_empty_answer_to_head_claims_no_length():
    """Of a GET's body it says nothing."""
    client = run(returning([]), method="HEAD")
    assert b"Content-Length" not in client.head


# start_response.


def test_a_second_call_needs_exc_info():
    """PEP 3333: it is a fatal error without."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)

    with pytest.raises(ApplicationError, match="a second time without exc_info"):
        run(application)


def test_exc_info_replaces_a_head_that_was_not_sent():
    """The first call may have exc_info as well, and it may be given by name."""

    def application(environ, start_response):
        start_response("500 One", [("X-A", "1")], exc_info=(ValueError, ValueError(), None))
        try:
            raise ValueError
        except ValueError:
            start_response("500 Two", [("X-B", "2")], sys.exc_info())
        return [b"sorry"]

    client = run(application)
    assert client.head.startswith(b"HTTP/1.1 500 Two\r\n")
    assert b"X-A" not in client.head
    assert client.exchange.headers == [("X-B", "2")]


def test_exc_info_is_raised_once_the_head_was_sent():
    """It is the application's own exception, with its traceback."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"begun"
        try:
            raise ValueError("the reason")
        except ValueError:
            start_response("500 Internal Server Error", PLAIN, sys.exc_info())

    client = Client(application)
    with pytest.raises(ValueError, match="the reason") as raised:
        client.run()
    assert raised.traceback[-1].name == "application"
    assert b"500" not in client.head


def test_an_empty_exc_info_is_no_exception():
    """Sys.exc_info() outside of an except block is (None, None, None)."""

    def early(environ, start_response):
        start_response("200 OK", PLAIN, sys.exc_info())
        return [b"fine"]

    assert run(early).body == b"fine"

    def late(environ, start_response):
        start_response("200 OK", PLAIN)(b"begun")
        start_response("200 OK", PLAIN, (None, None, None))

    with pytest.raises(ApplicationError, match="after the head was sent"):
        run(late)


@pytest.mark.parametrize(
    ("status", "headers", "culprit"),
    [
        ("200", [], "200"),
        (200, [], "'int'"),
        (b"200 OK", [], "200 OK"),
        ("200 OK\r\nX: y", [], "X: y"),
        ("200 OK", [("X-A", "a\r\nB: c")], "X-A"),
        ("200 OK", [("X-A", "a\0")], "X-A"),
        ("200 OK", [("X-A", "\N{SNOWMAN}")], "X-A"),
        ("200 OK", [("X A", "a")], "'X' and then ' '"),
        ("200 OK", [("X-A", 5)], "X-A"),
        ("200 OK", [(b"X-A", "5")], "X-A"),
        ("200 OK", [("Content-Length", "five")], "five"),
        ("200 OK", None, "headers"),
    ],
)
def test_a_bad_head_is_refused_where_it_is_given(status, headers, culprit):
    """The exception goes through the application, so that its traceback shows the place, and names the culprit."""

    def application(environ, start_response):
        start_response(status, headers)
        return [b"never"]

    client = Client(application)
    with pytest.raises(ApplicationError, match=culprit) as raised:
        client.run()
    assert "application" in [entry.name for entry in raised.traceback]
    assert client.response == b""


def test_a_head_that_was_refused_can_be_given_again():
    """The application may catch the exception, and give a better one."""

    def application(environ, start_response):
        with pytest.raises(ApplicationError):
            start_response("200 OK", [("X-A", "\n")])
        start_response("500 Internal Server Error", PLAIN)
        return [b"sorry"]

    assert run(application).head.startswith(b"HTTP/1.1 500 ")


# write().


def test_write_sends_before_it_returns():
    """Head first, then each piece; what is returned follows."""

    def application(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"")
        assert client.sent == []
        write(b"one")
        assert client.response.endswith(b"3\r\none\r\n")
        write(b"two")
        return [b"three"]

    client = Client(application)
    client.run()
    assert client.body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
    assert client.exchange.octets_sent == 11


def test_write_obeys_the_length():
    """Together with what is returned."""

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])(b"abc")
        return [b"def"]

    client = run(application)
    assert client.body == b"abcd"
    assert client.encoder.excess == 2


def test_write_takes_octets_only():
    """As the body does."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)("text")

    with pytest.raises(ApplicationError, match=r"write\(\) with a 'str' object"):
        run(application)


def test_write_ends_with_the_response():
    """A writer that was kept would otherwise write into the next response."""
    kept = []

    def application(environ, start_response):
        kept.append(start_response("200 OK", PLAIN))
        return [b"done"]

    client = run(application)
    with pytest.raises(ApplicationError, match="after its response had ended"):
        kept[0](b"more")
    assert client.body == b"done"


# What is no response.


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "returned None"),
        (b"octets", "returned a 'bytes' object"),
        ("text", "returned a 'str' object"),
        (5, "returned an 'int' object"),
        (["text"], "a 'str' object"),
        ([b"a", None], "None"),
        (iter(["text"]), "yielded a 'str' object"),
        (iter([bytearray(b"a")]), "yielded a 'bytearray' object"),
    ],
)
def test_what_is_no_iterable_of_octets_is_refused(value, what):
    """And the message says what it was."""
    client = Client(returning(value))
    with pytest.raises(ApplicationError, match=what):
        client.run()
    assert client.response == b""


@pytest.mark.parametrize("value", [[], [b"a"], Blocks(), Blocks(b"a"), FileWrapper(io.BytesIO(b"a"))])
def test_a_body_needs_a_head(value):
    """start_response() is due when the first block is."""
    with pytest.raises(ApplicationError, match=r"did not call start_response\(\)"):
        run(lambda environ, start_response: value)


def test_exceptions_pass():
    """The shell decides about them; SystemExit is one."""

    def leave(environ, start_response):
        sys.exit(3)

    with pytest.raises(SystemExit):
        run(leave)
    blocks = Blocks(b"a", ValueError("the reason"))
    with pytest.raises(ValueError, match="the reason"):
        run(returning(blocks))
    assert blocks.closed == 1


# close().


def test_close_is_called_once():
    """After all, and also when nothing was taken from the iterable."""
    blocks = Blocks(b"a")
    client = run(returning(blocks))
    client.exchange.close()
    assert blocks.closed == 1
    blocks = Blocks(b"a")
    client = Client(lambda environ, start_response: blocks)
    with pytest.raises(ApplicationError):
        client.run()
    assert blocks.closed == 1


def test_close_without_a_response_does_nothing():
    """The application may have raised before it returned anything."""
    Client(returning([])).exchange.close()


def test_a_generator_is_closed():
    """Its finally blocks run when the client has gone."""
    ended = []

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append(True)

    client = Client(application)
    client.exchange.begin()
    client.exchange.close()
    assert ended == [True]


# Files.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        yield file


def test_a_file_is_a_region_behind_the_head(file):
    """Its length is that of the body, from its position on; it is closed at the end."""
    file.seek(3)
    client = run(returning(FileWrapper(file)))
    region = client.sent[0]
    assert isinstance(region, FileRegion)
    assert b"Content-Length: 7\r\n" in region.head
    assert (region.offset, region.count) == (3, 7)
    assert client.sent[1:] == [b""]
    assert client.exchange.octets_sent == 7
    assert client.encoder.missing == 0
    assert file.closed


def test_a_file_is_sent_to_the_length_only(file):
    """PEP 3333: to its end or to the Content-Length, so it is no mistake."""
    client = run(returning(FileWrapper(file), [("Content-Length", "4")]))
    assert client.sent[0].count == 4
    assert client.exchange.octets_sent == 4
    assert client.encoder.excess == 0
    assert client.exchange.is_file


def test_a_file_can_be_too_short(file):
    """What is missing is counted."""
    client = run(returning(FileWrapper(file), [("Content-Length", "12")]))
    assert client.sent[0].count == 10
    assert client.encoder.missing == 2


def test_nothing_of_a_file_can_be_wanted(file):
    """A region has at least one octet."""
    client = run(returning(FileWrapper(file), [("Content-Length", "0")]))
    assert client.body == b""
    assert b"Content-Length: 0" in client.head


def test_head_of_a_file_has_its_length(file):
    """And nothing is read."""
    client = run(returning(FileWrapper(file)), method="HEAD")
    assert b"Content-Length: 10" in client.head
    assert client.body == b""
    assert file.closed


def test_parts_of_a_file_go_out_in_order(file):
    """With what is around them; their length is known, and the file is closed at the end."""
    fd = os.dup(file.fileno())
    client = run(returning(FileParts(fd, [(0, 2), (5, 1)], [b"<", b"|"], b">")))
    first, second, *rest = client.sent
    assert first.head.endswith(b"Content-Length: 6\r\n\r\n<")
    assert (first.fd, first.offset, first.count) == (fd, 0, 2)
    assert second == FileRegion(b"|", fd, 5, 1)
    assert rest == [b">", b""]
    assert client.exchange.octets_sent == 6
    assert client.encoder.missing == client.encoder.excess == 0
    assert client.exchange.is_file
    with pytest.raises(OSError):
        os.fstat(fd)


def test_one_part_needs_nothing_around_it(file):
    """Its head is the response's."""
    client = run(returning(FileParts(os.dup(file.fileno()), [(3, 4)])))
    assert client.sent[0].head.endswith(b"Content-Length: 4\r\n\r\n")
    assert client.response == b""
    assert (client.sent[0].offset, client.sent[0].count) == (3, 4)
    assert client.exchange.octets_sent == 4


def test_a_file_behind_write_is_read(file):
    """The head has gone, with another framing."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)(b"before")
        return FileWrapper(file)

    client = run(application)
    assert client.body == b"6\r\nbefore\r\na\r\n0123456789\r\n0\r\n\r\n"


def test_what_only_reads_is_read():
    """In the blocks that the application asked for."""
    client = run(returning(FileWrapper(io.BytesIO(b"abcdef"), 4)))
    assert client.body == b"4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"


# The validator of the standard library.


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_validator_finds_nothing(method):
    """Neither in our side of the protocol nor in the environ."""
    told = []

    def application(environ, start_response):
        told.append(environ["wsgi.input"].read(100))
        told.extend(environ["wsgi.input"].readlines(1))
        environ["wsgi.errors"].flush()
        start_response("200 OK", PLAIN)(b"written ")
        return [b"returned"]

    request = Request(method, b"/a%20b?c=d", "1.1", [(b"Host", b"a"), (b"Content-Length", b"3")])
    request.path, request.query, request.host = b"/a%20b", b"c=d", b"a"
    base = base_environ(
        server_name="127.0.0.1",
        server_port="80",
        errors=ErrorStream(),
        is_multithread=False,
        is_multiprocess=True,
    )
    pieces = [b"", b"abc"]
    environ = build_environ(base, request, InputStream(pieces.pop), ("127.0.0.1", 5))
    client = Client(None, method=method)
    client.exchange = Exchange(validator(application), environ, client.encoder, client.sent.append)
    client.run()
    assert told == [b"abc"]
    assert client.head.startswith(b"HTTP/1.1 200 OK\r\n")


# Early hints.

STYLE = ("Link", "</style.css>; rel=preload")


def hinting(*, when="before"):
    """Return an application that gives hints; it does not get the callable here by its environ."""

    def application(environ, start_response):
        if when == "before":
            environ["hint"]([STYLE])
        start_response("200 OK", PLAIN)
        if when == "started":
            environ["hint"]([STYLE])
        if when == "written":
            start_response("200 OK", PLAIN, sys.exc_info())(b"a")
            environ["hint"]([STYLE])
        return [b"hello"]

    return application


def with_hints(application, **request):
    client = Client(application, **request)
    client.exchange._environ["hint"] = client.exchange.send_early_hints
    return client


@pytest.mark.parametrize("when", ["before", "started"])
def test_hints_go_before_the_response(when):
    """While its head has not been sent; the response is the same as without."""
    client = with_hints(hinting(when=when))
    response = client.run()
    assert response.startswith(
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
    )
    assert response.count(b"HTTP/1.1 ") == 2
    assert response.endswith(b"Content-Length: 5\r\n\r\nhello")
    assert client.exchange.octets_sent == 5


def test_http_1_0_gets_no_hints():
    """It knows no interim response."""
    assert b"103" not in with_hints(hinting(), version="1.0").run()


def test_hints_that_are_empty_are_none():
    """Nothing is sent."""

    def application(environ, start_response):
        environ["hint"]([])
        return returning([b"hello"])(environ, start_response)

    client = with_hints(application)
    client.run()
    assert client.response.startswith(b"HTTP/1.1 200")


def test_hints_that_come_too_late_are_the_applications_mistake():
    """Behind the head they would be content, behind the end part of the next response."""
    with pytest.raises(ApplicationError, match="after the head"):
        with_hints(hinting(when="written")).run()
    client = with_hints(hinting())
    client.run()
    before = list(client.sent)
    with pytest.raises(ApplicationError, match="had ended"):
        client.exchange.send_early_hints([STYLE])
    assert client.sent == before
