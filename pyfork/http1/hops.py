"""What proxies write down of the requests that they pass on: RFC 7239, and the older ``X-Forwarded-*`` fields.

Each proxy adds to the right, so a value is read from there, and no further than its writers are trusted: what stands
left of them may be anybody's, also half of a quoted string. An element of ``Forwarded`` is therefore not found by
reading from the left, but as the shortest end of the value that is one element. That is what its writer wrote:

- it has no comma outside of quotes, so it begins behind the last comma, or behind an earlier one;
- behind a comma inside of its quotes the number of quotes that end or begin a string is odd: that is no element.

Values are text an octet a character. What is none of its kind is None here; nothing raises.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from pyfork.http1.host import is_valid_host

MOST_ELEMENTS = 1000
"""Elements of a value that are looked at, empty ones included (RFC 9110, section 5.6.1.2: "a reasonable number")."""
LONGEST_ELEMENT = 2048
"""Octets of one element; longer ones cannot be read."""
MOST_COMMAS = 16
"""Commas in the quoted strings of one element; with more of them it cannot be read."""

_WORD = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]++"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_PAIR = re.compile(rf"({_WORD})=({_WORD}|{_QUOTED})")
_ELEMENT = re.compile(rf"[ \t]*+(?:{_WORD}=(?:{_WORD}|{_QUOTED}))?+(?:[ \t]*+;[ \t]*+(?:{_PAIR.pattern})?+)*+[ \t]*+")
"""RFC 7239, section 4: ``[ pair ] *( ";" [ pair ] )``; many write a space behind the semicolon."""
_NODE = re.compile(
    r"""
    (?: (?P<ipv4> [0-9]{1,3} (?: \. [0-9]{1,3} ){3} ) | \[ (?P<ipv6> [0-9A-Fa-f:.]{2,45} ) \] )
    (?: : (?: (?P<port> [0-9]{1,5} ) | _[A-Za-z0-9._\-]+ ) )?
    | (?P<bare> [0-9A-Fa-f:.]{2,45} )
    """,
    re.VERBOSE,
)
"""RFC 7239, section 6, without ``unknown`` and obfuscated names; in X-Forwarded-For an IPv6 address stands bare."""
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)*/?")
"""RFC 3986, section 3.3: ``path-absolute``; two slashes in a row would begin a host (section 4.2)."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")


class Node(NamedTuple):
    """Where a request came from; the port is "" when it is not told."""

    address: str
    port: str


class Element(NamedTuple):
    """One element of a list.

    Attributes:
        begin: where it begins in the value.
        text: without the space around it.
    """

    begin: int
    text: str


@lru_cache(maxsize=1024)
def read_node(text: str) -> Node | None:
    """Return the address, canonical (an IPv4 address in IPv6 notation as what it is), and the port; None for neither.

    ``unknown`` and obfuscated names (RFC 7239, sections 6.2 and 6.3) tell no address.
    """
    found = _NODE.fullmatch(text)
    if found is None:
        return None
    port = found["port"] or ""
    if port and int(port) > 65_535:
        return None
    try:
        address = ip_address(found["ipv4"] or found["ipv6"] or found["bare"])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return Node(str(address.ipv4_mapped or address), port)
    return None if found["ipv6"] else Node(str(address), port)


def read_host(text: str) -> str | None:
    """Return what Host may be set to: of its form (RFC 9110, section 7.2), and with a name."""
    return text if is_valid_host(text.encode("latin-1")) and split_port(text)[0] else None


def split_port(host: str) -> tuple[str, str]:
    """Return the name and the port of a valid Host; the port is "" when there is none."""
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")  # "[::1]": the colon is the address's


def read_port(text: str) -> str | None:
    """Return the port in decimal, without leading zeros."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        return None
    port = int(text)
    return str(port) if 0 < port <= 65_535 else None


def read_prefix(text: str) -> str | None:
    """Return the decoded path in front of the application as SCRIPT_NAME has it: "" is the root.

    Whatever could lead out of the path, or make a link to another host of it, is none.
    """
    if not _PATH.fullmatch(text) or not text:
        return None
    path = unquote_to_bytes(text).decode("latin-1").rstrip("/")
    segments = path.split("/")
    if _UNFIT.search(path) or "//" in path or "." in segments or ".." in segments:
        return None
    return path


def elements_from_right(value: str) -> Iterator[Element]:
    """Yield the elements of a list without quoted strings, the last one first, but no empty ones."""
    end = len(value)
    for _ in range(MOST_ELEMENTS):
        comma = value.rfind(",", 0, end)
        text = value[comma + 1 : end].strip(" \t")
        if text:
            yield Element(comma + 1, text)
        if comma < 0:
            return
        end = comma


def last_element(value: str) -> Element | None:
    """Return the last element of a list that is not empty."""
    return next(elements_from_right(value), None)


def forwarded_from_right(value: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield where each element of a ``Forwarded`` begins and its parameters, the last one first.

    It ends at the first that cannot be read: with what is none, or a parameter twice (RFC 7239, section 4).
    """
    end = len(value)
    for _ in range(MOST_ELEMENTS):
        comma = _find_begin(value, end)
        if comma is None:
            return
        pairs = _PAIR.findall(value, comma + 1, end)
        parameters = {name.lower(): _unquote(text) for name, text in pairs}
        if len(parameters) < len(pairs):
            return
        if parameters:
            yield comma + 1, parameters
        if comma < 0:
            return
        end = comma


def _find_begin(value: str, end: int) -> int | None:
    """Return where the comma in front of the element that ends at ``end`` is, -1 if there is none."""
    comma = end
    for _ in range(MOST_COMMAS + 1):
        comma = value.rfind(",", 0, comma)
        if end - comma > LONGEST_ELEMENT:
            return None
        if _ELEMENT.fullmatch(value, comma + 1, end):
            return comma
        if comma < 0:
            return None
    return None


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text
