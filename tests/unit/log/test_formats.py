"""A format is checked whole when it is compiled, and no line that it writes can be forged."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.errors import ConfigurationError
from pyfork.http1.request import Request as ParsedRequest
from pyfork.log.formats import COMBINED, COMMON, compile_format
from tests.unit.log import plain
from tests.unit.log.records import Request, make_record, unescape

COMBINED_LINE = re.compile(
    r'(?P<h>[!-~]+) - (?P<u>[!-~]+) \[[^\]]+\] "(?P<r>[ -!#-~]*)" (?P<s>[0-9]{3}) (?P<b>[0-9]+|-)'
    r' "(?P<f>[ -!#-~]*)" "(?P<a>[ -!#-~]*)"'
)


def test_combined_is_what_apache_writes():
    """Programs that read Apache's logs read ours."""
    match = COMBINED_LINE.fullmatch(compile_format("combined")(make_record()))
    assert match is not None
    assert match.groupdict() == {
        "h": "192.0.2.7",
        "u": "-",
        "r": "GET /quote?by=hopper HTTP/1.1",
        "s": "200",
        "b": "123",
        "f": "http://example.org/",
        "a": "curl/8.5",
    }


def test_common_is_combined_without_its_last_two_fields():
    """As in Apache."""
    record = make_record()
    common = compile_format("common")(record)
    assert compile_format("combined")(record) == f'{common} "http://example.org/" "curl/8.5"'


def test_text_around_atoms_is_kept():
    """Anything may stand there, a percent sign doubled."""
    assert compile_format('[100%%] {"status": %(s)s, "µs": %(D)d}')(make_record()) == (
        '[100%] {"status": 200, "µs": 1234567}'
    )


def test_widths_work_as_in_gunicorn():
    """Its formats are Python's, so users have columns in theirs."""
    assert compile_format("%(m)-7s|%(B)6d|%(s).1s")(make_record()) == "GET    |   123|2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("%(x)s", "log.format: unknown atom '%(x)s'; the known ones are %(a)s %(B)s %(b)s %(D)s"),
        ("%(h)s %({x}z)s", "unknown atom '%({x}z)s'"),
        ("%({}i)s", "unknown atom '%({}i)s'"),
        ("%()s", "unknown atom '%()s'"),
        ("%(h)d", "'%(h)d' cannot be written with 'd'; write %(h)s"),
        ("%({x}i)d", "cannot be written with 'd'"),
        ("%(h)s 100% of it", "the % at character 10 ('% of it') begins no atom"),
        ("%(h)s %", "the % at character 7"),
        ("%h %(s)s", "the % at character 1"),
        ("combimed", '\'combimed\' is not "common", "combined" or "json"'),
        ("", "'' is not"),
    ],
)
def test_an_impossible_format_is_a_configuration_error(text, problem):
    """It stops the start and names what is wrong; it does not fail at the first request."""
    with pytest.raises(ConfigurationError) as caught:
        compile_format(text)
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_all_problems_of_a_format_are_told_at_once():
    """Nobody likes to mend a line one character at a time."""
    with pytest.raises(ConfigurationError) as caught:
        compile_format("%(x)s % %(h)d")
    assert len(caught.value.problems) == 3


# What a hostile client, or a careless application, may put anywhere.
octets = st.binary(max_size=40) | st.sampled_from(
    [b'"', b"\n", b"\r\n", b"\\", b'\\" 200 1 "', b"\x85", b"\xe2\x80\xa8"]
)
texts = st.text(st.characters(max_codepoint=0xFF), max_size=20) | st.text(
    st.characters(exclude_categories=()), max_size=9
)
hostile_requests = st.builds(
    Request,
    method=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9),
    target=octets,
    path=octets,
    query=octets,
    headers=st.lists(st.tuples(st.sampled_from([b"Referer", b"User-Agent", b"Host", b"Authorization", b"X"]), octets)),
)
hostile_records = st.builds(
    make_record,
    request=hostile_requests,
    environ=st.dictionaries(st.sampled_from(["REMOTE_USER", "X"]), texts),
    remote=texts,
    response_headers=st.lists(st.tuples(st.just("x"), texts)),
)


@given(hostile_records)
def test_no_value_can_forge_a_combined_line(record):
    """One line, all fields where they belong, and each says exactly what was sent."""
    line = compile_format("combined")(record)
    assert len(line.splitlines()) == 1
    match = COMBINED_LINE.fullmatch(line)
    assert match is not None
    request = record.request
    assert unescape(match["r"]) == f"{request.method} {request.target.decode('latin-1')} HTTP/1.1"
    agents = [value.decode("latin-1") for name, value in request.headers if name == b"User-Agent"]
    assert unescape(match["a"]) == (", ".join(agents) if agents else "-")


@given(hostile_records)
def test_no_value_can_forge_a_line_of_atoms(record):
    """In quotes, every atom that carries a client's or the application's value stays one field."""
    atoms = ["%(h)s", "%(u)s", "%(r)s", "%(m)s", "%(U)s", "%(q)s", "%(s)s", "%({x}i)s", "%({x}o)s", "%({x}e)s"]
    line = compile_format(" ".join(f'"{atom}"' for atom in atoms))(record)
    assert line.isascii()
    assert line.isprintable()
    assert len(re.findall(r'"[^"]*"', line)) == len(atoms)
    assert line.count('"') == 2 * len(atoms)


def readings(octets):
    """Return what the octets may mean: UTF-8 if they can, else an octet a character."""
    try:
        return [octets.decode()]
    except UnicodeDecodeError:
        return [octets.decode("latin-1")]


@given(hostile_records)
def test_no_value_can_forge_a_json_line(record):
    """One line, one object, the known keys, and each value says exactly what was sent."""
    line = compile_format("json")(record)
    assert line.isascii()
    assert line.isprintable()
    parsed = json.loads(line)
    assert parsed["target"] in readings(record.request.target)
    assert parsed["query"] in readings(record.request.query)
    assert parsed["status"] == 200
    assert parsed["remote"] == plain.utf_8(record.remote or None)


def test_json_holds_numbers_as_numbers_and_what_is_missing_as_null():
    """It is read by programs: no dash to parse."""
    parsed = json.loads(compile_format("json")(make_record(request=Request(headers=[]), remote="")))
    assert re.fullmatch(r"2026-11-\d\dT\d\d:\d\d:00\.250[-+]\d{4}", parsed.pop("time"))
    assert isinstance(parsed.pop("pid"), int)
    assert parsed == {
        "remote": None,
        "user": None,
        "method": "GET",
        "target": "/quote?by=hopper",
        "path": "/quote",
        "query": "by=hopper",
        "protocol": "HTTP/1.1",
        "host": None,
        "status": 200,
        "octets": 123,
        "duration": 1.234567,
        "referer": None,
        "user_agent": None,
    }


def test_json_of_a_request_that_could_not_be_parsed_has_nulls():
    """The status says what it was answered."""
    record = make_record(status="400 Bad Request")
    record.request = None
    parsed = json.loads(compile_format("json")(record))
    assert parsed["status"] == 400
    assert parsed["method"] is parsed["target"] is parsed["path"] is parsed["query"] is parsed["protocol"] is None


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"/caf\xc3\xa9", r"/caf\u00e9"),
        (b"/caf\xe9", r"/caf\u00e9"),
        (b"/\xe2\x82\xac", r"/\u20ac"),
        (b"/\xe2\x82", r"/\u00e2\u0082"),
        (b"/\xf0\x9f\x8e\x84", r"/\ud83c\udf84"),
        (b"/\xed\xa0\x80", r"/\u00ed\u00a0\u0080"),
    ],
)
def test_json_reads_utf_8_where_the_octets_are(octets, shown):
    """Clients send UTF-8 and read it again; what is not (Latin-1, a surrogate, garbage) is shown octet by octet."""
    headers = [(b"User-Agent", octets)]
    line = compile_format("json")(make_record(request=Request(target=octets, path=octets, headers=headers)))
    for key in ("target", "path", "user_agent"):
        assert f'"{key}": "{shown}"' in line


def test_json_reads_an_applications_text_as_it_is():
    """REMOTE_USER may hold what no header can."""
    assert json.loads(compile_format("json")(make_record(environ={"REMOTE_USER": "日"})))["user"] == "日"


# Each value may come twice, as one field and as several, with the marks that join them inside.
pieces = st.sampled_from(
    [b"", b"a", b",", b", ", b" ", b"\t", b"; ", b"\xc3\xa9", b"\xe9", b'"', b"Basic ", b"YWRhOjE="]
)
values = st.lists(pieces, max_size=4).map(lambda parts: b"".join(parts).strip(b" \t"))
NAMES = [b"Referer", b"User-Agent", b"user-agent", b"Authorization", b"Cookie", b"X-Tag", b"x-TAG", b"X_Tag"]
parsed_requests = st.builds(
    ParsedRequest,
    method=st.sampled_from(["GET", "POST", "BREW"]),
    target=octets,
    http_version=st.sampled_from(["1.0", "1.1"]),
    headers=st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5),
)
any_records = st.builds(
    make_record,
    request=st.none() | parsed_requests | hostile_requests,
    environ=st.none() | st.dictionaries(st.sampled_from(["REMOTE_USER", "X"]), texts),
    remote=st.sampled_from(["", "::1", "192.0.2.7"]) | texts,
    status=st.sampled_from(["200 OK", "404 Not Found", "500 Ü"]),
    octets=st.integers(0, 2**40),
    started=st.floats(0, 2e9),
    duration=st.floats(0, 1e5),
)


@given(any_records)
def test_lines_are_those_of_the_plain_way(record):
    """Octet by octet, whatever was remembered: programs read these lines."""
    assert compile_format("common")(record) == compile_format(COMMON)(record) == plain.common(record)
    assert compile_format("combined")(record) == compile_format(COMBINED)(record) == plain.combined(record)
    assert compile_format("json")(record) == plain.json_line(record)
    names = ["m", "U", "q", "p", "{x-tag}i", "{x_tag}i", "{cookie}i", "{authorization}i"]
    expected = "|".join(plain.atom(record, name) for name in names)
    assert compile_format("|".join(f"%({name})s" for name in names))(record) == expected
