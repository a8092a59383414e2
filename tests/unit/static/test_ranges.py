"""Range requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.static.ranges import MOST_RANGES, content_range, frame_parts, read_ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=90-", [(90, 10)]),
        ("bytes=-10", [(90, 10)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=0-1000", [(0, 100)]),
        ("bytes=99-99", [(99, 1)]),
        ("bytes=0-0,-1", [(0, 1), (99, 1)]),
        ("Bytes = 0-9", [(0, 10)]),
        ("bytes= 0-9 ,\t20-29, ,", [(0, 10), (20, 10)]),
        ("bytes=50-59,0-9", [(0, 10), (50, 10)]),
        ("bytes=0-9,5-14", [(0, 15)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=0-99,5-6", [(0, 100)]),
        ("bytes=0-9,200-300", [(0, 10)]),
        ("bytes=0-99999999999999999999999", [(0, 100)]),
        ("bytes=000000000000000000000000-0000000000000000000000009", [(0, 10)]),
        ("bytes=100-", []),
        ("bytes=100-200", []),
        ("bytes=-0", []),
        ("bytes=99999999999999999999999999-", []),
        ("bytes=" + ",".join(f"{number * 3}-{number * 3}" for number in range(32)), [(n * 3, 1) for n in range(32)]),
    ],
)
def test_ranges_are_merged_and_in_order(text, expected):
    """Of a hundred octets; nothing when none of them begins within."""
    assert read_ranges(text, 100) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=9-0", "bytes=0-9,5-4", "bytes=1", "bytes=--1",
        "bytes=0-9-", "bytes=0 - 9", "lines=0-9", "bytes 0-9", "bytes=0-9;5-6", "bytes=\xb2-\xb3",
        "bytes=" + ",".join(["0-0"] * (MOST_RANGES + 1)),
        "bytes=0-," + ",".join(f"5-{number}" for number in range(1300)),  # slowhttptest -R
    ],
)  # fmt: skip
def test_what_is_no_range_is_ignored(text):
    """Another unit, a mistake anywhere, too many."""
    assert read_ranges(text, 100) is None


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=MOST_RANGES),
    st.integers(1, 100),
)
def test_every_octet_that_was_asked_for_is_sent_once(pairs, size):
    """And no other; a reply is never larger than the file."""
    pairs = [(min(pair), max(pair)) for pair in pairs]
    spans = read_ranges("bytes=" + ",".join(f"{first}-{last}" for first, last in pairs), size)
    sent = [octet for offset, count in spans for octet in range(offset, offset + count)]
    assert sent == sorted({octet for first, last in pairs for octet in range(first, min(last + 1, size))})
    assert all(count for _, count in spans)


@given(st.text(alphabet="0123456789-,= bytes", max_size=30).map("bytes={}".format), st.integers(1, 10**12))
def test_no_span_leaves_the_file(text, size):
    """Whatever a client asks for."""
    for offset, count in read_ranges(text, size) or ():
        assert 0 <= offset < offset + count <= size


def test_content_range_names_the_last_octet():
    """And the length of it all."""
    assert content_range((90, 10), 100) == "bytes 90-99/100"


def test_parts_have_their_own_heads():
    """A part begins behind an empty line, and the last boundary ends it all."""
    heads, tail = frame_parts([(0, 2), (5, 1)], 9, "text/css", "B")
    assert heads == [
        b"--B\r\nContent-Type: text/css\r\nContent-Range: bytes 0-1/9\r\n\r\n",
        b"\r\n--B\r\nContent-Type: text/css\r\nContent-Range: bytes 5-5/9\r\n\r\n",
    ]
    assert tail == b"\r\n--B--\r\n"
