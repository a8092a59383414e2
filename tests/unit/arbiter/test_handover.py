"""What one arbiter tells the next: it arrives as it was sent, or is refused with a message."""

import pytest

from pyfork.arbiter.handover import Handover, PassedListener, decode, encode
from pyfork.errors import ConfigurationError

HANDOVER = Handover(
    version=1,
    ready_fd=9,
    pidfile_fd=8,
    pidfile="/run/odd\udcff.pid",
    listeners=(
        PassedListener(5, "127.0.0.1:8000", None, passed=True),
        PassedListener(6, "unix:/a", (1, 2), passed=False),
    ),
    wanted=3,
    count=2,
    predecessor=77,
)


def test_it_arrives_as_it_was_sent() -> None:
    """Paths that are no UTF-8 included."""
    assert decode(encode(HANDOVER)) == HANDOVER


def test_a_later_version_may_say_more() -> None:
    """Keys that are not known are left alone."""
    assert decode(encode(HANDOVER).replace("{", '{"more": [1], ', 1)) == HANDOVER


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "pyfork sets it itself"),
        ("[]", "pyfork sets it itself"),
        ('{"version": 1}', "missing required field"),
        ('{"version": 2, "anything": 1}', "version 2 is not known here"),
        (encode(HANDOVER).replace('"ready_fd": 9', '"ready_fd": -1'), "ready_fd"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, words: str) -> None:
    """The variable is named, and what to do about it."""
    with pytest.raises(ConfigurationError, match=f"environment PYFORK_UPGRADE: .*{words}"):
        decode(text)
