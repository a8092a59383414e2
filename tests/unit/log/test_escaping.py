"""What a client chose cannot end a line or a field, and to remember values changes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from pyfork.log import escaping
from pyfork.log.escaping import ESCAPED, ESCAPED_WITH_SPACES, Remembered, escape
from tests.unit.log import plain
from tests.unit.log.records import unescape

any_text = st.text(st.characters(exclude_categories=()))


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_escaping_loses_nothing(text):
    """What was logged can be told, octet by octet."""
    assert unescape(escape(text)) == text


@given(any_text)
def test_an_escaped_value_is_printable_ascii_without_quotes(text):
    """Not even lone surrogates, which an environ may hold, get through."""
    escaped = escape(text)
    assert escaped.isascii()
    assert not escaped or escaped.isprintable()
    assert '"' not in escaped
    assert "\\" not in escaped.replace("\\x", "")


def test_characters_above_latin_1_are_escaped_as_utf_8():
    """As a browser would have sent them."""
    assert escape("€") == "\\xe2\\x82\\xac"


@given(any_text)
def test_the_fast_way_is_the_plain_way(text):
    """At the first time and when it is remembered, character by character."""
    expected = plain.escape(text)
    assert escape(text) == expected
    assert ESCAPED[text] == ESCAPED[text] == expected
    assert ESCAPED_WITH_SPACES[text] == ESCAPED_WITH_SPACES[text] == (plain.escape(text, spaces=True) or "-")


def test_what_is_remembered_is_not_made_again():
    """Clients repeat their values."""
    made = []
    remembered = Remembered(lambda value: made.append(value) or value.upper())
    assert remembered["a"] == remembered["a"] == "A"
    assert made == ["a"]


def test_what_is_remembered_is_bounded(monkeypatch):
    """No client fills the memory, by the length of its values or by their number."""
    monkeypatch.setattr(escaping, "MOST_REMEMBERED", 10)
    remembered = Remembered(str.upper)
    long = "a" * (escaping.MOST_CHARACTERS + 1)
    assert remembered[long] == long.upper()
    assert not remembered
    for number in range(1000):
        assert remembered[f"a{number}"] == f"A{number}"
        assert len(remembered) <= 10
