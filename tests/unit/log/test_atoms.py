"""Each atom shows what Apache's and gunicorn's documents say it does."""

import base64
import json
import os
import time
from typing import ClassVar

import pytest

from pyfork.log.formats import compile_format
from tests.unit.log.records import Request, make_record


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def write(text, **changes):
    return compile_format(text)(make_record(**changes))


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("%(h)s", "192.0.2.7"),
        ("%(l)s", "-"),
        ("%(u)s", "-"),
        ("%(t)s", "[20/Nov/2026:18:55:00 +0000]"),
        ("%(r)s", "GET /quote?by=hopper HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/quote"),
        ("%(q)s", "by=hopper"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "200"),
        ("%(B)s", "123"),
        ("%(b)s", "123"),
        ("%(f)s", "http://example.org/"),
        ("%(a)s", "curl/8.5"),
        ("%(T)s", "1"),
        ("%(M)s", "1234"),
        ("%(D)s", "1234567"),
        ("%(L)s", "1.234567"),
        ("%(p)s", "<PID>"),
        ("%({host}i)s", "example.org"),
        ("%({Host}i)s", "example.org"),
        ("%({missing}i)s", "-"),
        ("%({content-type}o)s", "application/json"),
        ("%({X-ID}o)s", "1, 2"),
        ("%({missing}o)s", "-"),
        ("%({wsgi.url_scheme}e)s", "http"),
        ("%({server_name}e)s", "example.org"),
        ("%({missing}e)s", "-"),
    ],
)
def test_an_atom_shows_its_value(atom, expected):
    """The meanings are gunicorn's, name by name."""
    assert write(atom) == expected.replace("PID", str(os.getpid()))


@pytest.mark.parametrize("atom", ["r", "m", "U", "q", "H", "f", "a", "u", "{host}i"])
def test_a_request_that_could_not_be_parsed_shows_dashes(atom):
    """An answer to garbage (400) is logged too, and nothing of the garbage is invented."""
    record = make_record()
    record.request = None
    record.environ = None
    assert compile_format(f"%({atom})s")(record) == "-"


def test_an_environ_variable_without_an_environ_is_a_dash():
    """The application was not asked: there is no environ."""
    assert write("%({SERVER_NAME}e)s", environ=None) == "-"


def test_no_octets_are_a_dash_for_b_and_zero_for_B():
    """Apache: %b is "-" rather than 0, %B is 0."""
    assert write("%(b)s %(B)s", octets=0) == "- 0"


def test_a_unix_socket_has_no_remote_address():
    """An empty field would shift all that follow it."""
    assert write("%(h)s", remote="") == "-"


def test_the_path_is_decoded_as_path_info_is():
    """An octet a character, and what is not printable ASCII escaped."""
    assert write("%(U)s", request=Request(path=b"/caf%C3%A9%0A%zz")) == "/caf\\xc3\\xa9\\x0a%zz"


def test_several_headers_of_a_name_are_joined():
    """None of them is lost."""
    headers = [(b"X-Forwarded-For", b"192.0.2.1"), (b"x-forwarded-for", b"192.0.2.2"), (b"X-Forwarded-Foo", b"no")]
    assert write("%({X-Forwarded-For}i)s", request=Request(headers=headers)) == "192.0.2.1, 192.0.2.2"


def test_a_name_outside_latin_1_is_a_header_that_nobody_sends():
    """It is no error: the header's name simply never comes."""
    assert write("%({日}i)s%({日}o)s") == "--"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (b"Basic " + base64.b64encode(b"grace:secret"), "grace"),
        (b"basic " + base64.b64encode(b"grace hopper:secret"), "grace\\x20hopper"),
        (b"Basic " + base64.b64encode(b":secret"), "-"),
        (b"Basic not base64", "-"),
        (b"Basic \xff", "-"),
        (b"Bearer Z3JhY2U6", "-"),
    ],
)
def test_the_user_is_that_of_basic_authentication(authorization, expected):
    """The name stands without quotes, so its spaces are escaped; the password is never shown."""
    assert write("%(u)s", request=Request(headers=[(b"Authorization", authorization)])) == expected


def test_the_user_that_a_middleware_found_comes_first():
    """REMOTE_USER is where middleware puts it (CGI, RFC 3875 4.1.11)."""
    assert write("%(u)s", environ={"REMOTE_USER": "ada"}) == "ada"


def test_the_month_is_english_in_every_locale(monkeypatch):
    """Programs that read the log know Jan to Dec, whatever locale the application sets."""
    monkeypatch.setattr(time, "strftime", lambda pattern, moment: pattern)
    assert "/Nov/" in write("%(t)s", started=1795200901.0)


def test_the_text_of_a_second_is_made_once(monkeypatch):
    """Formatting a time costs more than all else in the line."""
    line = compile_format("%(t)s")
    first = line(make_record(started=1795200902.1))
    monkeypatch.setattr(time, "localtime", None)
    assert line(make_record(started=1795200902.9)) == first


def test_a_header_of_several_fields_is_told_from_one_with_a_comma():
    """The environ joins them by a comma alone, the log by a comma and a space; a value is what was sent."""
    fields = "%({x-tag}i)s"
    one, two = [(b"X-Tag", b"a,b")], [(b"X-Tag", b"a"), (b"x-tag", b"b")]
    assert write(fields, request=Request(headers=one)) == "a,b"
    assert write(fields, request=Request(headers=two)) == "a, b"
    assert write(fields, request=Request(headers=[(b"X-Tag", b""), *two])) == ", a, b"
    assert write("%(a)s", request=Request(headers=[(b"User-Agent", b"a,b"), (b"User-Agent", b"")])) == "a,b, "


@pytest.mark.parametrize("name", ["cookie", "x_tag", "content-type", "content-length"])
def test_every_header_can_be_shown(name):
    """Those too that an environ leaves out, joins by another mark or calls by another name."""
    headers = [(name.title().encode(), b"1"), (name.encode(), b"2")]
    assert write(f"%({{{name}}}i)s", request=Request(headers=headers)) == "1, 2"
    assert write(f"%({{{name}}}i)s", request=Request(headers=headers[:1])) == "1"


class Unread:
    """A request whose fields nobody has taken apart."""

    method, target, path, query, http_version = "GET", b"/", b"/", b"", "1.1"
    logged = None
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    variables: ClassVar = {"HTTP_USER_AGENT": agent, "HTTP_AUTHORIZATION": "Basic YWRhOg=="}


def test_the_fields_are_not_looked_at_for_an_ordinary_request():
    """They are made anew from the octets, and what a line needs is known already."""
    record = make_record(request=Unread())
    assert Unread.agent in compile_format("combined")(record)
    assert json.loads(compile_format("json")(record))["user"] == "ada"
    assert compile_format('%(u)s "%(f)s" "%({user-agent}i)s"')(record) == f'ada "-" "{Unread.agent}"'
