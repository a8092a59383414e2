"""Host and port as they may stand in a Host field or in a target (RFC 9110 section 7.2, RFC 3986 section 3.2).

::

    Host       = uri-host [ ":" port ]
    uri-host   = IP-literal / IPv4address / reg-name
    IP-literal = "[" ( IPv6address / IPvFuture ) "]"
    reg-name   = *( unreserved / pct-encoded / sub-delims )
    port       = *DIGIT

A reg-name may be empty, and may hold underscores: ``my_app:8000`` is what a container's neighbours call it.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

_HOST_AND_PORT = re.compile(
    rb"""
    (?: \[ (?: (?P<ipv6> [0-9A-Fa-f:.]{2,45} ) | v [0-9A-Fa-f]+ \. [A-Za-z0-9\-._~!$&'()*+,;=:]+ ) \]
      | (?: [A-Za-z0-9\-._~!$&'()*+,;=] | % [0-9A-Fa-f]{2} )*
    )
    (?: : (?P<port> [0-9]* ) )?
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=256)
def is_valid_host(value: bytes) -> bool:
    """Say whether `value` is a Host field's value (it may be empty).

    The answers are remembered, because nearly all requests of a site name one of a few hosts.
    """
    match = _HOST_AND_PORT.fullmatch(value)
    if match is None:
        return False
    port = match["port"]
    if port and (len(port) > 5 or int(port) > 65_535):
        return False
    return match["ipv6"] is None or _is_ipv6(match["ipv6"].decode("ascii"))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
