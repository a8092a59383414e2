"""The words on the heartbeat pipe."""

import json
import select

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.ipc import messages as m

REPORT = m.BootReport(m.FailureKind.APPLICATION, "no module", "Traceback: ü\n")
WORDS: dict[bytes, m.Word] = {
    m.BEAT: m.Beat(),
    m.READY: m.Ready(),
    m.RIPE: m.Ripe(),
    m.encode_born(70_000): m.Born(70_000),
    m.encode_report(REPORT): REPORT,
    m.encode_worn("it is old: ü"): m.Worn("it is old: ü"),
    m.encode_worn(""): m.Worn(""),
}


@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=8), st.data())
def test_words_survive_any_cut(said: list[bytes], data: st.DataObject) -> None:
    """However the pipe cuts the octets, the words that come out are those that went in; beats in a row may be one."""
    octets = b"".join(said)
    decoder = m.WordDecoder()
    heard: list[m.Word] = []
    while octets:
        size = data.draw(st.integers(1, len(octets)))
        heard += decoder.feed(octets[:size])
        octets = octets[size:]
    assert _one_beat_each(heard) == _one_beat_each([WORDS[word] for word in said])


def _one_beat_each(words: list[m.Word]) -> list[m.Word]:
    return [word for word, before in zip(words, [None, *words], strict=False) if not word == before == m.Beat()]


def test_a_flood_of_beats_is_one() -> None:
    """A full pipe of them costs the arbiter what one does, and it attends to the other workers in between."""
    decoder = m.WordDecoder()
    assert decoder.feed(b"." * 65536) == [m.Beat()]
    assert decoder.feed(b"...R..") == [m.Beat(), m.Ready(), m.Beat()]


@given(st.text(), st.text())
def test_report_fits_an_empty_pipe(message: str, traceback: str) -> None:
    """A dying child never blocks on its report, whatever the application's traceback holds."""
    octets = m.encode_report(m.BootReport(m.FailureKind.BOOT, message * 300, traceback * 5000))
    assert len(octets) <= m.MAXIMUM_REPORT + 5
    [report] = m.WordDecoder().feed(octets)
    assert isinstance(report, m.BootReport)
    assert report.kind is m.FailureKind.BOOT


@given(st.integers(0, 40_000), st.text(min_size=1, max_size=3))
def test_a_traceback_that_fits_is_whole(size: int, text: str) -> None:
    """Ten kilobytes are an ordinary traceback of a framework's; their middle is where its author's frames are."""
    traceback = (text * size)[:size]
    report = m.BootReport(m.FailureKind.APPLICATION, "message", traceback)
    octets = m.encode_report(report)
    if len(json.dumps(["application", "message", traceback])) <= m.MAXIMUM_REPORT:
        assert m.WordDecoder().feed(octets) == [report]
    else:
        [read] = m.WordDecoder().feed(octets)
        assert isinstance(read, m.BootReport)
        first, _, last = read.traceback.partition(m.OMISSION)
        assert traceback.startswith(first)
        assert traceback.endswith(last)
        assert m.MAXIMUM_REPORT - 24 < len(octets) - 5 <= m.MAXIMUM_REPORT


def test_overlong_traceback_keeps_its_ends() -> None:
    """What is cut is the middle: the first frame and the exception itself stay."""
    traceback = "first frame" + "x" * 100_000 + "ValueError: last"
    [report] = m.WordDecoder().feed(m.encode_report(m.BootReport(m.FailureKind.BOOT, "", traceback)))
    assert isinstance(report, m.BootReport)
    assert report.traceback.startswith("first frame")
    assert report.traceback.endswith("ValueError: last")
    assert "[...]" in report.traceback


@given(st.text(st.characters(codec=None), max_size=3000))
def test_reason_of_a_worn_worker_is_bounded_and_cut_between_characters(reason: str) -> None:
    """The word is written in one piece, and what the arbiter reads is the beginning of what was said."""
    octets = m.encode_worn(reason)
    assert len(octets) <= 5 + m.LONGEST_REASON < select.PIPE_BUF
    [worn] = m.WordDecoder().feed(octets)
    assert isinstance(worn, m.Worn)
    assert reason.encode(errors="replace").decode().startswith(worn.reason)


@pytest.mark.parametrize(
    "octets",
    [
        b"W\0\0\4\1",
        b"W\0\0\0\1\xff",
        b"x",
        b"F\xff\xff\xff\xff",
        b"F\0\0\0\x015",
        b"F\0\0\0\2{}",
        b"F\0\0\0\3[1]",
        b'F\0\0\0\x10["what", "", ""]',
    ],
)
def test_what_is_no_word_is_refused(octets: bytes) -> None:
    """Octets that the application wrote to the pipe are an error, never taken for a word."""
    with pytest.raises(m.GarbledPipeError):
        m.WordDecoder().feed(octets)


@pytest.mark.parametrize(("timeout", "interval"), [(30, 5), (20, 5), (4, 1), (0, 5), (0.4, 0.1)])
def test_beat_interval(timeout: float, interval: float) -> None:
    """A beat comes every min(5, timeout/4) seconds, and every 5 where nothing is ever stuck."""
    assert m.beat_interval(timeout) == pytest.approx(interval)


def test_handoffs_name_their_processes() -> None:
    """The name in the log has number and generation."""
    handoff = m.Handoff(2, 5, 0, None, (), 0, 0, None, "")  # type: ignore[arg-type]
    assert handoff.name == "worker 2 gen 5"
    mold = m.MoldHandoff(5, 3, None, (), 0, 0, 0, None, "")  # type: ignore[arg-type]
    assert mold.name == "mold 3 gen 5"


def test_changes_are_told_in_lines_that_a_pipe_takes_whole() -> None:
    """PIPE_BUF is 512 octets at least; the arbiter hears one line or several."""
    assert m.decode_changes(m.encode_change("app.py has changed") + m.encode_change("é" * 600)) == [
        "app.py has changed",
        ("\\xe9" * 600)[: m.LONGEST_CHANGE],
    ]
    assert len(m.encode_change("x" * 5000)) == 512
