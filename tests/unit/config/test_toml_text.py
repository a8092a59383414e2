"""What we write is TOML, and both readers that users have understand it the same."""

import tomllib

import pytest
import toml
from hypothesis import given
from hypothesis import strategies as st

from pyfork.config.toml_text import literal, write_settings

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


def both(text):
    document = tomllib.loads(text)
    assert toml.loads(text) == document
    return document


@given(texts, texts)
def test_any_string_can_be_written(text, comment):
    """For the standard library's reader there is no exception, whatever the comment says."""
    values = {"log.format": text, "server.pythonpath": (text, "x"), "server.env": {text or "A": text}}
    document = tomllib.loads(write_settings(values, dict.fromkeys(values, comment)))
    assert document == {
        "server": {"pythonpath": [text, "x"], "env": {text or "A": text}},
        "log": {"format": text},
    }


@pytest.mark.parametrize(
    "text",
    [
        '%(h)s %(l)s "%(r)s" %(s)s "%({user-agent}i)s"',
        "a, b",
        "it's",
        "[x]",
        "C:\\new\\u0041",
        "# no comment",
        "é ☃ 😀",
        "key = 'value'",
        """both " and '""",
        "",
    ],
)
def test_the_reader_toml_reads_the_same(text):
    """It takes escapes apart twice and cuts arrays at commas: what people do write must survive it."""
    values = {"log.format": text, "server.env": {"A": text, "b-c": "x"}}
    if "\\" not in text:
        values["server.pythonpath"] = (text, "x")
    document = both("# head\n" + write_settings(values, dict.fromkeys(values, "environment PYFORK_LOG_FORMAT")))
    assert document["log"]["format"] == document["server"]["env"]["A"] == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (30.0, "30"),
        (0.5, "0.5"),
        (None, '"unlimited"'),
        ((), "[]"),
        ({}, "{}"),
    ],
)
def test_other_values(value, text):
    """No limit is a word, since TOML has no null; a round number of seconds needs no point."""
    assert literal(value) == text


def test_a_string_that_needs_it_has_escapes():
    """Only what is in nobody's way for both readers is kept as it is."""
    assert literal("\x1b'\U0001f600'") == '"\\u001b\\u0027\\U0001f600\\u0027"'
    assert tomllib.loads("a = " + literal("\\'\x00"))["a"] == "\\'\x00"


def test_tables_and_their_order():
    """A mapping comes last in its table, for what follows it would belong to it; a mask is octal, in quotes."""
    values = {
        "server.env": {"A": "1", "B C": "2"},
        "server.umask": 0o22,
        "server.user": None,
        "http.limit_request_body": None,
    }
    comments = {"server.env": "file\nwith a line", "server.umask": "default"}
    assert write_settings(values, comments) == (
        '\n[server]\numask = "0o022"  # default\n# user: who started pyfork\n'
        '\n[server.env]  # file?with a line\nA = "1"\n"B C" = "2"\n'
        '\n[http]\nlimit_request_body = "unlimited"\n'
    )
    assert literal({"A": "1", "B C": "2"}) == '{ A = "1", "B C" = "2" }'
