"""How much a client may send before it is refused: an operator's limits, and two of our own.

llhttp itself has none (tried: a header line of 100 MB, an endless chunk extension), so every octet is counted here.
"""

from msgspec import Struct

MAX_FEED = 16_384
"""Octets that a shell reads at once and feeds: the bound of what is read ahead of the request being served."""

MAX_FRAMING = 16_384
"""Octets of framing, chunk extensions and trailers by which a chunked body may exceed what its content excuses.

They are octets that no application asks for; one that never ends, or one in each of many chunks, would keep a worker
busy for as long as the client likes. Go refuses more than 16 KiB of them as well (CVE-2023-39326), hyper too.
"""

FRAMING_PER_CHUNK = 16
"""Octets of framing that each chunk excuses, besides twice as many as it has content; the smallest needs five."""

MOST_OCTETS = 1 << 63
"""A length or a chunk size from here on is refused: whoever counts with 64 bits and a sign reads less than nothing."""

MAX_EMPTY_LINES = 4
"""Empty lines ignored before a request line (RFC 9112 section 2.2 asks for "at least one")."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one request may weigh; each breach has a status of its own.

    Args:
        request_line: octets of the request line, without its CRLF (414).
        fields: header fields, and as many trailer fields (431).
        field_size: octets of one field line, without its CRLF (431).
        body: octets of content (413); None for no limit.
    """

    request_line: int = 8190
    fields: int = 100
    field_size: int = 8190
    body: int | None = None
