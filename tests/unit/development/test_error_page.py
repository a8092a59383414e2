"""An error as a header, an element, a page: nothing of it is taken for markup or for another header."""

import pytest

from pyfork.development.error_page import LONGEST_HEADER, make_banner, make_header, make_page


@pytest.mark.parametrize(
    ("error", "value"),
    [
        ("one line", "one line"),
        ("\n first \r\nsecond", "first"),
        ("tab\tand é and \x7f", "tab?and ? and ?"),
        ("x" * 5000, "x" * LONGEST_HEADER),
        ("", ""),
    ],
)
def test_the_header_is_one_short_line_of_ascii(error: str, value: str) -> None:
    """Whatever the error says, it cannot end the header or break a client."""
    assert make_header(error) == ("X-Pyfork-Reload-Error", value)


@pytest.mark.parametrize("make", [make_banner, make_page])
def test_markup_in_an_error_is_text(make) -> None:
    """Tracebacks quote lines of code, templates among them; a lone surrogate is somebody's file name."""
    octets = make("<script>alert('\"&\"')</script> é \udc80 {0}")
    assert b"&lt;script&gt;alert(&#39;&quot;&amp;&quot;&#39;)&lt;/script&gt; &#233; &#56448; {0}" in octets
    assert b"<script" not in octets
    assert octets.isascii()
