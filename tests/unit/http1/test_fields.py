import pytest

from pyfork.errors import ApplicationError
from pyfork.http1 import fields
from pyfork.http1.fields import MEANINGS, blame, check_value, read_content_length, read_status


def test_statuses() -> None:
    """PEP 3333: "a status string of the form '999 Message here'"."""
    assert read_status("200 OK") == (200, b"HTTP/1.1 200 OK\r\n")
    assert read_status("404 ") == (404, b"HTTP/1.1 404 \r\n")
    assert read_status("299 Caf\xe9") == (299, b"HTTP/1.1 299 Caf\xe9\r\n")


@pytest.mark.parametrize(
    "status",
    [
        "",
        "200",
        "OK",
        "20 OK",
        "2000 OK",
        "099 OK",
        "200OK",
        " 200 OK",
        "200 OK\r\n",
        "200 OK\nX: y",
        "200 O\0K",
        "100 Continue",
        "101 Switching Protocols",
        "200 \u20ac",
        200,
        b"200 OK",
        None,
        ["200 OK"],
    ],
)
def test_bad_statuses(status: str) -> None:
    """The log names the status as it was given."""
    with pytest.raises(ApplicationError) as caught:
        read_status(status)
    assert repr(status) in str(caught.value)


def test_meanings() -> None:
    """What the encoder must look at, in any spelling."""
    assert MEANINGS["Content-LENGTH"] == "content-length"
    assert MEANINGS["X-Anything"] == ""


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "\xe9", "A\0", b"A", 1, None])
def test_bad_names(name: str) -> None:
    """A name is a token; the log names the culprit."""
    with pytest.raises(ApplicationError) as caught:
        MEANINGS[name]
    assert repr(name) in str(caught.value)


def test_what_is_learnt_of_names_is_bounded() -> None:
    """An application that makes up names does not fill the memory."""
    meanings = fields._Meanings()
    for number in range(2000):
        assert meanings[f"X-{number}"] == ""
    assert len(meanings) == 1024
    long = fields._Meanings()
    assert long["X" * 65] == ""
    assert not long


def test_content_lengths() -> None:
    """1*DIGIT, ASCII, of a size that can be."""
    assert read_content_length("0") == 0
    assert read_content_length("12") == 12
    for value in ("", "-1", "+1", "1_0", " 1", "1, 1", "\xb2", "0x1", "9" * 20, "1\r\n"):
        with pytest.raises(ApplicationError, match="Content-Length"):
            read_content_length(value)


def test_values() -> None:
    """A tab is whitespace; other control characters have no place in a value."""
    check_value("X", "a\tb\xa0\xff")
    for value in ("a\r\nSet-Cookie: b", "a\n", "\0", "\x7f"):
        with pytest.raises(ApplicationError, match="header X has control characters"):
            check_value("X", value)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([["A", "b"]], "not a tuple"),
        ([("A", "b", "c")], "not a tuple"),
        ([("A", "b"), None], "not a tuple"),
        ([(["A"], "b")], "name of a response header is no str"),
        ([("A", 1)], "value of the response header A is no str: 1"),
        ([("A", b"b")], "value of the response header A is no str"),
        ([("A", "\u20ac")], "header A has characters that are not latin-1"),
        ([("A", "\xe9")], "not a list of tuples: why"),
    ],
)
def test_blame(headers: list[tuple[str, str]], message: str) -> None:
    """The culprit is named."""
    with pytest.raises(ApplicationError, match=message):
        blame(headers, ValueError("why"))
