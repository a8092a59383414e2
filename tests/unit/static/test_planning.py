"""What a client gets of a file."""

import pytest
from msgspec.structs import replace

from pyfork.static.planning import Plan, Representation, plan, refusal, validators_of

SECOND = 10**9
CHANGED = 1_700_000_000
NOW = CHANGED + 1000.0
TAG = f'"{CHANGED * SECOND + 5:x}-64"'
FILE = Representation(100, CHANGED * SECOND + 5, "text/css; charset=utf-8", "", varies=False, cache_control="")
CODED = replace(FILE, coding="br", varies=True)
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
OWN = [("ETag", TAG), ("Last-Modified", DATE), ("Content-Type", "text/css; charset=utf-8")]


def planned(representation=FILE, method="GET", now=NOW, **fields):
    return plan(method, {f"HTTP_{name.upper()}": value for name, value in fields.items()}, representation, now, "B")


def test_the_whole_file():
    """With its validators; HEAD is told the same."""
    whole = Plan("200 OK", [*OWN, ("Accept-Ranges", "bytes")], ((0, 100),))
    assert planned() == whole
    assert planned(method="HEAD") == whole
    assert planned(method="HEAD", range="bytes=0-9") == whole


def test_an_empty_file_has_no_octets_to_send():
    """And no ranges: asking for its beginning is no mistake."""
    empty = planned(replace(FILE, size=0), range="bytes=0-")
    assert empty.status == "200 OK"
    assert empty.spans == ()
    assert empty.content == b""
    assert ("Content-Length", "0") in empty.fields


def test_what_a_client_has_is_not_sent():
    """A 304 has what a cache must know, and no more (RFC 9110, section 15.4.5)."""
    representation = replace(CODED, cache_control="public, max-age=60")
    tag = f'"{CHANGED * SECOND + 5:x}-64-br"'
    assert planned(representation, if_none_match=tag) == Plan(
        "304 Not Modified", [("ETag", tag), ("Cache-Control", "public, max-age=60"), ("Vary", "Accept-Encoding")]
    )
    assert planned(if_modified_since=DATE).status == "304 Not Modified"


def test_a_failed_precondition():
    """Says nothing of the file."""
    assert planned(if_match='"other"') == refusal(
        "412 Precondition Failed", "The file is not in the state that the request asks for"
    )


def test_one_range():
    """Content-Range instead of a multipart."""
    expected = Plan("206 Partial Content", [*OWN, ("Content-Range", "bytes 90-99/100")], ((90, 10),))
    assert planned(range="bytes=-10") == expected
    assert planned(range="bytes=90-95,94-200") == expected
    assert planned(range="bytes=-10", if_range=TAG) == expected
    assert planned(range="bytes=-10", if_range='"other"').status == "200 OK"
    assert planned(range="bytes=9-0").status == "200 OK"


def test_several_ranges():
    """Each with its head."""
    several = planned(range="bytes=0-1,5-5")
    assert several.status == "206 Partial Content"
    assert several.fields == [*OWN[:2], ("Content-Type", "multipart/byteranges; boundary=B")]
    assert several.spans == ((0, 2), (5, 1))
    assert several.heads[0].startswith(
        b"--B\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 0-1/100\r\n"
    )
    assert len(several.heads) == 2
    assert several.tail == b"\r\n--B--\r\n"


def test_no_range_that_begins_within():
    """416, with the length."""
    none = planned(range="bytes=100-")
    assert none.status == "416 Range Not Satisfiable"
    assert ("Content-Range", "bytes */100") in none.fields
    assert none.spans == ()
    assert none.content


def test_a_coded_file_has_one_range_or_all():
    """Its octets are those of the coding; a multipart of them is understood in two ways, so it is sent whole."""
    assert ("Content-Encoding", "br") in planned(CODED).fields
    one = planned(CODED, range="bytes=0-9")
    assert one.status == "206 Partial Content"
    assert {("Content-Encoding", "br"), ("Vary", "Accept-Encoding")} <= {*one.fields}
    assert planned(CODED, range="bytes=0-1,5-5") == planned(CODED)


@pytest.mark.parametrize(
    ("age", "is_strong"), [(-1000.0, False), (0.0, False), (0.9, False), (1.1, True), (1000.0, True)]
)
def test_a_tag_is_weak_while_the_file_may_still_change_unnoticed(age, is_strong):
    """RFC 9110, section 8.8.1; a cache that has it keeps it when it becomes strong."""
    now = CHANGED + age
    assert validators_of(FILE, now).is_strong is is_strong
    tag = dict(planned(now=now).fields)["ETag"]
    assert tag == (TAG if is_strong else f"W/{TAG}")
    assert planned(now=now + 1000.0, if_none_match=tag).status == "304 Not Modified"


def test_no_file_is_of_the_future():
    """RFC 9110, section 8.8.2.1: Last-Modified is never later than Date; nor before the epoch, or after year 9999."""
    for mtime in (CHANGED + 5000, 10**12):
        assert validators_of(replace(FILE, mtime_ns=mtime * SECOND), NOW).modified == int(NOW)
    assert validators_of(replace(FILE, mtime_ns=-SECOND), NOW).modified == 0


def test_each_representation_has_a_tag_of_its_own():
    """Length, date and coding are in it."""
    others = [FILE, CODED, replace(FILE, coding="gzip"), replace(FILE, size=99), replace(FILE, mtime_ns=6)]
    assert len({validators_of(other, NOW).tag for other in others}) == 5
