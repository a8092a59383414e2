"""The rules that fuzzing holds the parser to: they hold for what is known, and each can be broken."""

import pytest
from hypothesis import HealthCheck, given, settings

from pyfork.http1.parser import RequestParser
from tests.corpus_files import load_cases
from tests.fuzz import invariants, reference
from tests.fuzz.grammar import conversations, damaged
from tests.fuzz.invariants import check

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
few = settings(max_examples=80, deadline=None, derandomize=True, database=None)
few = settings(few, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def test_the_corpus_breaks_no_rule():
    """What has been thought of; a crash that was mended is in there, too."""
    for case in load_cases():
        check(case.octets)


@few
@given(conversations())
def test_the_second_reading_reads_what_was_sent(sent):
    """It is right about right requests, so that a difference is a finding."""
    read = reference.read(b"".join(each.octets for each in sent))
    assert [(each.method, each.target.decode(), each.content) for each in read] == [
        (each.method, each.target, each.content) for each in sent
    ]
    for each, message in zip(sent, read, strict=True):
        fields = {(name.decode(), value) for name, value in message.fields if name.startswith(b"X-")}
        assert fields == set(each.fields)


@few
@given(damaged())
def test_damage_breaks_no_rule(octets):
    """Whatever the parser takes for a whole request is one by the grammar, however it was cut."""
    check(octets)


@pytest.mark.parametrize(
    "octets",
    [
        POST + b"Content-Length: 3\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 4\r\n\r\nabc",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    ],
)
def test_the_second_reading_stops_at_what_the_grammar_has_no_place_for(octets):
    """It would agree with a parser that is too patient otherwise."""
    assert reference.read(GET + octets) == reference.read(GET)


def broken_by(octets):
    """Return the message of the rule that these octets break."""
    with pytest.raises(AssertionError) as error:
        check(octets)
    return str(error.value)


def test_a_parser_that_miscounts_is_found_out(monkeypatch):
    """An octet less of each content, and the next request begins too early."""
    begin = RequestParser._begin_content

    def begin_short(parser, request, events):
        has_ended = begin(parser, request, events)
        parser._remaining -= parser._remaining > 1
        return has_ended

    monkeypatch.setattr(RequestParser, "_begin_content", begin_short)
    assert "the grammar reads it as" in broken_by(POST + b"Content-Length: 3\r\n\r\nabc")


def test_a_parser_that_depends_on_how_octets_come_is_found_out(monkeypatch):
    """One that forgets an octet when it comes first."""
    feed = RequestParser.feed
    monkeypatch.setattr(RequestParser, "feed", lambda parser, data: feed(parser, data.removeprefix(b"b")))
    assert broken_by(POST + b"Content-Length: 3\r\n\r\nabc") == "it means something else octet by octet"


def test_a_short_way_that_goes_elsewhere_is_found_out(monkeypatch):
    """It must mean what the long way means."""
    right = invariants.take_head

    def wrong(octets, limits):
        return right(octets.replace(b"/ ", b"/x "), limits)

    monkeypatch.setattr(invariants, "take_head", wrong)
    assert broken_by(GET).startswith("the ways differ")


def test_an_end_of_input_is_no_end_of_a_message(monkeypatch):
    """Content that was cut short must not look whole."""
    monkeypatch.setattr(RequestParser, "_take_eof", lambda parser: setattr(parser, "_phase", parser._phase.CLOSED))
    assert "the end of the input is taken" in broken_by(POST + b"Content-Length: 4\r\n\r\nabc")
