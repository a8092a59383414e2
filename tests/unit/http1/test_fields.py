from typing import NamedTuple

import pytest

from pyfork.errors import ApplicationError
from pyfork.http1 import fields
from pyfork.http1.fields import MEANINGS, blame, check_value, read_content_length, read_status, require_pairs


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
    """The log names the status as it was given, or what was given instead."""
    with pytest.raises(ApplicationError) as caught:
        read_status(status)
    shown = repr(status) if isinstance(status, str) else type(status).__name__.removesuffix("Type")
    assert shown in str(caught.value)


def test_a_bad_status_is_shown_in_part() -> None:
    """Where its fault is, and how it begins: what an application puts in by mistake may be megabytes."""
    with pytest.raises(ApplicationError, match=r"'\\n' at position 9000") as caught:
        read_status("200 " + "x" * 8996 + "\n" + "x" * 1_000_000)
    assert len(str(caught.value)) < 250
    with pytest.raises(ApplicationError, match=r"'\\u20ac' at position 4"):
        read_status("200 \u20ac")
    with pytest.raises(ApplicationError) as caught:
        read_status(b"x" * 1000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_meanings() -> None:
    """What the encoder must look at, in any spelling."""
    assert MEANINGS["Content-LENGTH"] == "content-length"
    assert MEANINGS["X-Anything"] == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "''"),
        ("A B", "'A' and then ' ' at position 1"),
        ("A\r\n", r"'A' and then '\\r' at position 1"),
        ("\xe9", r"'' and then '\\xe9' at position 0"),
        ("Set-Cookie: secret", "'Set-Cookie' and then ':' at position 10$"),
        (b"A", "no str but a 'bytes' object: 'A'$"),
        (b"Cookie: secret", "no str but a 'bytes' object: 'Cookie'$"),
        (1, "no str but an 'int' object: 1$"),
        (1 << 99, "no str but an 'int' object$"),
        (None, "no str but None"),
    ],
)
def test_bad_names(name: str, message: str) -> None:
    """A name is a token; the log names the culprit, but not what may be its value."""
    with pytest.raises(ApplicationError, match=message):
        MEANINGS[name]


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
    for value, character in (("a\r\nSet-Cookie: b", r"'\\r' at position 1"), ("\0", r"'\\x00' at position 0")):
        with pytest.raises(ApplicationError, match=f"header X has {character}, a control character: "):
            check_value("X", value)
    for value in ("a\n", "\x7f"):
        with pytest.raises(ApplicationError):
            check_value("X", value)


def test_values_are_shown_in_part() -> None:
    """How they begin, and how long they are: logs are no place for megabytes."""
    with pytest.raises(ApplicationError, match=r"'\\n' at position 1000000") as caught:
        check_value("X" * 1000, "x" * 1_000_000 + "\n")
    assert "(1000001 characters)" in str(caught.value)
    assert len(str(caught.value)) < 350


@pytest.mark.parametrize("name", ["Set-Cookie", "authorization", "Proxy-Authenticate", "X-Api-Key", "X-CSRF-Token"])
def test_secrets_are_not_shown(name: str) -> None:
    """Who can read the log need not be who can log in."""
    with pytest.raises(ApplicationError, match=rf"{name} has '\\n' at position 6, a control character$"):
        check_value(name, "hidden\n")
    with pytest.raises(ApplicationError, match=rf"{name} has '\\u20ac' at position 6, which is not latin-1$"):
        blame([(name, "hidden\u20ac")], ValueError())


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([["A", "b"]], "header number 1 is no tuple of name and value but a 'list' object: A$"),
        ([("A", "b", "c")], "header number 1 is no tuple of name and value but a tuple of 3: A$"),
        ([("A", "b"), None], "header number 2 is no tuple of name and value but None$"),
        ([("A", "b"), "AB"], "header number 2 is no tuple of name and value but a 'str' object$"),
        ({"A": "b"}, "no list but a 'dict' object"),
        ((("A", "b"),), "no list but a 'tuple' object"),
        (None, "no list but None"),
        ([()], "a tuple of 0$"),
        ([(["A"], "b")], "name of a response header is no str but a 'list' object"),
        ([("A", 1)], "value of the response header A is no str but an 'int' object"),
        ([("A", b"b")], "value of the response header A is no str but a 'bytes' object"),
        ([("A", "\u20ac")], r"header A has '\\u20ac' at position 0, which is not latin-1: '\u20ac'"),
        ([("A", "\xe9")], "not a list of tuples: why"),
    ],
)
def test_blame(headers: list[tuple[str, str]], message: str) -> None:
    """The culprit is named."""
    with pytest.raises(ApplicationError, match=message):
        blame(headers, ValueError("why"))


@pytest.mark.parametrize(
    "headers",
    [{"AB": "b"}, ["AB"], [["A", "b"]], (("A", "b"),), "AB", iter([("A", "b")]), None],
)
def test_only_a_list_of_tuples_is_one(headers: list[tuple[str, str]]) -> None:
    """PEP 3333: what can be unpacked is not enough."""
    with pytest.raises(ApplicationError):
        require_pairs(headers)


def test_kinds_of_lists_and_tuples_are_some() -> None:
    """A named tuple is one."""

    class Fields(list[tuple[str, str]]):
        pass

    class Header(NamedTuple):
        name: str
        value: str

    require_pairs([])
    require_pairs([("A", "b")])
    require_pairs(Fields([Header("A", "b")]))
