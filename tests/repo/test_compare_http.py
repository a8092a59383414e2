"""The judge of `make compare-http`: unfair to nobody, and blind to nothing."""

import fnmatch
import importlib
import json
import re
import sys
from types import SimpleNamespace

import pytest

from tests.corpus_files import Case, ExpectedContent, ExpectedEnd, ExpectedRefusal, ExpectedRequest, load_cases
from tests.repo.files import ROOT, text

NAMES = ("http_exchange", "http_peers", "http_verdicts", "contestants", "install", "compare_http")


@pytest.fixture(scope="module")
def modules():
    """Its modules by name: scripts that lie side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        for name in NAMES:
            patch.delitem(sys.modules, name, raising=False)
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def judge(modules):
    """Return the kind of fault of octets that came back for a case, None if there is none."""

    def find(case, octets, *, is_open=False, **keywords):
        fault = modules.http_verdicts.find_fault(case, modules.http_exchange.Exchange(octets, is_open), **keywords)
        return fault and fault.kind

    return find


def served(target="/", *, method="GET", body="", status=200, head="", **fields):
    """A response of the mirror's, as it would be for a request."""
    path, _, query = target.partition("?")
    seen = {"method": method, "raw_target": target, "path": path, "query": query, "fields": fields, "body": body}
    content = json.dumps(seen).encode()
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head.encode(), len(content), content)


def refused(status=400):
    return b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno" % status


CANARY = served("/canary", head="Connection: close\r\n")
GET = ExpectedRequest("GET", b"/a", "1.1", {})
POST = ExpectedRequest("POST", b"/b", "1.1", {})
GOOD = Case("good", "fields", is_valid=True, expected=[GET, ExpectedEnd()], state="idle")
TWO = Case(
    "two", "fields", True, expected=[POST, ExpectedContent(b"x"), ExpectedEnd(), GET, ExpectedEnd()], state="idle"
)
LAST = Case("last", "connection", is_valid=True, expected=[GET, ExpectedEnd()], state="closed")
CUT = Case("cut", "chunked", is_valid=True, expected=[POST, ExpectedContent(b"x")], state="waiting")
BAD = Case("bad", "chunked", is_valid=False, expected=[POST, ExpectedRefusal(400)], state="closed")
BAD_HOST = Case("bad host", "hosts", is_valid=False, expected=[ExpectedRefusal(400)], state="closed")


def test_who_does_as_the_corpus_says_has_no_fault(judge):
    """Each case with the answers that it asks for."""
    assert judge(GOOD, served("/a") + CANARY) is None
    assert judge(TWO, served("/b", method="POST", body="x") + served("/a") + CANARY) is None
    assert judge(LAST, served("/a")) is None
    assert judge(CUT, b"", is_open=True) is None
    assert judge(CUT, refused()) is None
    assert judge(BAD, refused()) is None


def test_what_the_rfcs_leave_open_is_nobodys_fault(judge):
    """Another status, an end of the connection that was announced, an interim response, going on where that is safe."""
    assert judge(BAD, refused(501)) is None
    assert judge(GOOD, served("/a", head="Connection: close\r\n")) is None
    assert judge(TWO, served("/b", method="POST", body="x", head="connection: Keep-Alive, Close\r\n")) is None
    assert judge(GOOD, b"HTTP/1.1 100 Continue\r\n\r\n" + served("/a") + CANARY) is None
    assert judge(BAD_HOST, refused() + CANARY) is None
    assert judge(TWO, served("/b", method="POST", body="x"), answers_once=True) is None


@pytest.mark.parametrize(
    ("case", "octets", "is_open", "kind"),
    [
        (BAD, served("/b", method="POST"), False, "SERVED"),
        (BAD_HOST, served("/a") + CANARY, False, "SERVED"),
        (BAD, CANARY, False, "GOES_ON"),
        (BAD, refused() + CANARY, False, "GOES_ON"),
        (LAST, served("/a") + CANARY, False, "GOES_ON"),
        (GOOD, served("/a") + refused() + CANARY, False, "GOES_ON"),
        (GOOD, served("/a") + served("/smuggled"), False, "GOES_ON"),
        (CUT, served("/b", method="POST", body="x"), False, "CUT"),
        (GOOD, served("/b") + CANARY, False, "OTHER"),
        (GOOD, served("/a", method="POST") + CANARY, False, "OTHER"),
        (GOOD, served("/a", body="x") + CANARY, False, "OTHER"),
        (GOOD, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False, "OTHER"),
        (GOOD, refused(), False, "REFUSED"),
        (BAD, b"", False, "SILENT"),
        (BAD, b"", True, "HANGS"),
        (GOOD, served("/a"), False, "SILENT"),
        (GOOD, served("/a"), True, "HANGS"),
        (GOOD, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", False, "GARBLED"),
        (GOOD, b"Bad Request", False, "GARBLED"),
    ],
)
def test_every_kind_of_fault_is_found(modules, judge, case, octets, is_open, kind):
    """By its name."""
    assert judge(case, octets, is_open=is_open) == getattr(modules.http_verdicts, kind)


def test_a_choice_may_be_made_either_way_and_must_be_made_well(modules, judge):
    """Served or refused; but not with more answers than there are requests, nor with none."""
    verdicts = modules.http_verdicts
    assert judge(BAD, served("/b", method="POST") + CANARY, choice="") is None
    assert judge(BAD, served("/b", method="POST") + CANARY, choice="closing") == verdicts.GOES_ON
    assert judge(BAD, served("/b", method="POST"), choice="closing") is None
    assert judge(BAD, served("/b") + served("/smuggled") + CANARY, choice="") == verdicts.GOES_ON
    assert judge(BAD, refused() + CANARY, choice="") == verdicts.GOES_ON
    assert judge(GOOD, refused(), choice="") is None
    assert judge(BAD, b"", is_open=True, choice="") == verdicts.HANGS
    assert judge(BAD, b"", is_open=True, choice="waiting") is None
    assert judge(BAD, b"\x00\x00", choice="any") is None
    assert judge(CUT, served("/b", method="POST"), choice="") == verdicts.CUT


def test_what_is_handed_on_is_held_to_what_was_sent(judge):
    """Host, fields and trailers, and targets by whichever name a gateway has for them."""
    host = ExpectedRequest("GET", b"http://h/p%20q?r", "1.1", {"host": b"h"}, [(b"X-A", b"1"), (b"A_B", b"2")])
    case = Case("", "targets", is_valid=True, expected=[host, ExpectedEnd(((b"T", b"u"),))], state="idle")
    good = {"HTTP_HOST": "h", "HTTP_X_A": "0,1"}
    for target in ("http://h/p%20q?r", "/p q?r", "/p%20q?r"):
        assert judge(case, served(target, **good) + CANARY) is None
    for wrong in ({"HTTP_HOST": "other"}, {"HTTP_X_A": "2"}, {"HTTP_T": "u"}):
        assert judge(case, served("/p q?r", **{**good, **wrong}) + CANARY)
    assert judge(case, served("/p", **good) + CANARY)


def test_a_response_to_head_has_no_content(judge):
    """One that has is no longer in step."""
    head = ExpectedRequest("HEAD", b"/", "1.1", {})
    case = Case("head", "methods", is_valid=True, expected=[head, ExpectedEnd()], state="idle")
    assert judge(case, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + CANARY) is None
    assert judge(case, served("/", method="HEAD") + CANARY)


def test_the_choices_are_cases_of_the_corpus(modules):
    """A case that has another name now would be judged by another measure without anybody noticing."""
    choices = modules.http_verdicts.Choices(text("benchmarks/http_choices.txt"))
    names = [case.name for case in load_cases()]
    assert not [name for name in choices.marks if "*" not in name and name not in names]
    assert not [name for name in choices.marks if "*" in name and not fnmatch.filter(names, name)]
    assert set(choices.marks.values()) <= {"", "closing", "waiting", "any"}


def test_a_choice_may_be_named_with_others(modules):
    """By a star; the first that fits counts."""
    choices = modules.http_verdicts.Choices("# reason\na [b\na * | closing\n* end | waiting  # why\n")
    assert [choices.find(name) for name in ("a [b", "a c", "an end", "a the end", "other")] == [
        "", "closing", "waiting", "closing", None,
    ]  # fmt: skip


def test_every_peer_is_required_by_a_version(modules):
    """One that is not pinned changes under the results."""
    pinned = {line.lower() for line in modules.install.read_requirements(text("benchmarks/requirements-http.txt"))}
    names = {re.fullmatch(r"([a-z0-9-]+)==[0-9.]+", line)[1] for line in pinned}
    assert {each.distribution for each in modules.http_peers.PEERS} - {"pyfork"} <= names


def test_sections_are_sorted_as_numbers(modules):
    """And a case that names none is counted all the same."""
    compare = modules.compare_http
    reasons = ["RFC 9112 section 10.1.1: a", "RFC 9112 section 2.2.", "As above.", "RFC 9110 section 5"]
    sections = [compare.section_of(Case("", "", is_valid=True, reason=reason)) for reason in reasons]
    assert sorted(sections, key=compare._in_order) == ["RFC 9110, 5", "RFC 9112, 2.2", "RFC 9112, 10.1", "no section"]


def test_the_page_has_each_fault_by_name(modules):
    """In both tables, and in the list of its server."""
    compare, verdicts = modules.compare_http, modules.http_verdicts
    outcomes = [compare.Outcome("a 1", {"bad": verdicts.Fault(verdicts.SERVED, "200")}), compare.Outcome("b 2")]
    page = compare.render([GOOD, BAD], outcomes, modules.http_verdicts.Choices("good"), 3)
    for line in (
        "| chunked | 1 | 1 | 0 |",
        "| fields | 1 | 0 | 0 |",
        "| **all** | 2 | **1** | **0** |",
        "| serves what must be refused | 1 | 0 |",
        "- chunked: bad: serves what must be refused (200)",
    ):
        assert line in page.splitlines()
    assert "## b 2\n\nNone." in page
