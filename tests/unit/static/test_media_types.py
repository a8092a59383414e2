"""Media types by the names of files."""

import re

import pytest

from pyfork.static.media_types import _BY_ENDING, _TYPES, media_type_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"app.css", "text/css; charset=utf-8"),
        (b"App.Min.JS", "text/javascript; charset=utf-8"),
        (b"module.wasm", "application/wasm"),
        (b"logo.svg", "image/svg+xml"),
        (b"data.json", "application/json"),
        (b"app.css.gz", "application/gzip"),
        (b"README", "application/octet-stream"),
        (b"css", "application/octet-stream"),
        (b"x.unknown", "application/octet-stream"),
        (b"x.", "application/octet-stream"),
        (b"x.\xff", "application/octet-stream"),
    ],
)
def test_the_ending_says_it(name, expected):
    """In any case; text is UTF-8, and what nobody knows is saved by browsers."""
    assert media_type_of(name) == expected


def test_the_table_is_sound():
    """No ending stands twice, and every type is one."""
    assert len(_BY_ENDING) == sum(len(endings.split()) for endings in _TYPES.values())
    for ending, media_type in _BY_ENDING.items():
        assert ending == ending.lower()
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", media_type)
