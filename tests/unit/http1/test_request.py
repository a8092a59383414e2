from pyfork.http1.request import EndOfMessage, Request


def test_a_new_request_has_no_content_and_no_host() -> None:
    """What a request is before its fields have been read."""
    request = Request("GET", b"/a?b", "1.1", [])
    assert (request.path, request.query, request.host) == (b"/a?b", b"", b"")
    assert (request.content_length, request.is_chunked, request.expects_continue) == (None, False, False)


def test_keep_alive_is_the_version_s_default() -> None:
    """RFC 9112 section 9.3: connections persist in HTTP/1.1, not in HTTP/1.0."""
    assert Request("GET", b"/", "1.1", []).keep_alive
    assert not Request("GET", b"/", "1.0", []).keep_alive


def test_a_request_shows_its_line() -> None:
    """A request in a traceback or a failed test can be recognised."""
    assert repr(Request("GET", b"/a", "1.1", [])) == "<Request GET b'/a' HTTP/1.1>"


def test_ends_are_equal_by_their_trailers() -> None:
    """An end is a value."""
    assert EndOfMessage() == EndOfMessage(())
    assert EndOfMessage(((b"A", b"b"),)) != EndOfMessage()
