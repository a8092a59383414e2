"""103 (Early Hints), an interim response before the final one: RFC 8297; RFC 9110, section 15.2."""

from pyfork.http1.fields import MEANINGS, OURS, ResponseHeaders, blame, check_value, require_pairs


def encode_early_hints(headers: ResponseHeaders) -> bytes:
    """Return a whole 103 with these fields; nothing when there are none.

    What a final response may not have is refused here as well, and the fields of the connection and of the framing are
    left out: an interim response has no content, and no Content-Length (RFC 9110, section 8.6).

    Raises:
        ApplicationError: PEP 3333 forbids what is in it.
    """
    require_pairs(headers)
    fields: list[str] = []
    try:
        for name, value in headers:
            meaning = MEANINGS[name]
            if not value.isprintable():
                check_value(name, value)
            if meaning not in OURS:
                fields.append(name + ": " + value + "\r\n")
        octets = "".join(fields).encode("latin-1")
    except (AttributeError, TypeError, ValueError) as error:
        blame(headers, error)
    return b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % octets if octets else b""
