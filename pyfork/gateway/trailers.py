"""Trailer fields of a chunked request (RFC 9110, section 6.5), as the application may see them.

They come behind the content, when the request has long been routed, authenticated and read. A field that means
something to those who do that must not come so late (section 6.5.1), and whoever merged it into the headers would let
the client forge it behind a proxy's back. So trailers are never merged, and those fields are left out altogether.
"""

from collections.abc import Iterable

Trailers = list[tuple[str, str]]

FORBIDDEN = frozenset(
    (
        # framing
        "content-length",
        "transfer-encoding",
        "trailer",
        "te",
        "connection",
        "keep-alive",
        "upgrade",
        # routing
        "host",
        "forwarded",
        "via",
        "x-real-ip",
        # what modifies the request: controls and conditionals
        "cache-control",
        "expect",
        "max-forwards",
        "pragma",
        "range",
        # authentication
        "authorization",
        "cookie",
        "origin",
        "referer",
        # how the content is to be read
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "content-type",
    )
)
"""Lower-case names of the fields that no trailer may bring."""

FORBIDDEN_PREFIXES = ("if-", "proxy-", "sec-", "x-forwarded-")
"""And how families of them begin."""


def offered(fields: Iterable[tuple[bytes, bytes]]) -> Trailers:
    """Return the trailers that the application may see: lower-case names and values as text, in their order.

    Besides what is forbidden, names with an underscore are left out, as among the headers.

    Args:
        fields: as `pyfork.http1.request.EndOfMessage` has them.
    """
    named = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
    return [
        (name, value)
        for name, value in named
        if name not in FORBIDDEN and not name.startswith(FORBIDDEN_PREFIXES) and "_" not in name
    ]
