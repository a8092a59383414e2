"""What a proxy in front says of the client, and whether it may.

Any client can send these fields, so they count only from a peer that ``proxy.trusted`` lists, and of them only those
that ``proxy.headers`` lists: a proxy that does not set a field passes on what the client sent. The rules:

- ``X-Forwarded-For`` is read from the right. Addresses that are trusted are passed over, the first that is not is the
  client; when all are trusted, the leftmost is. What is no address (``unknown``, ``_hidden``, garbage) ends it: the
  client stays the one who said so. ``*`` trusts whoever connects, but passes over no address.
- The scheme (``X-Forwarded-Proto: https``, and gunicorn's ``X-Forwarded-Protocol: ssl`` and ``X-Forwarded-Ssl: on``)
  is ``https`` when all that is said says so, and else ``http``.
- Of ``X-Forwarded-Host``, ``-Port`` and ``-Prefix`` the last element counts: it is the word of the peer itself.
- Elements of ``Forwarded`` are passed over as addresses are; ``proto`` and ``host`` are those of the element that the
  reading ended with.

Afterwards, unless ``proxy.untrusted_headers`` says ``keep``, the environ has nothing of all this that nobody trusted
has said: not the fields of other peers, not the family that is not read, not what stands left of what was believed.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from pyfork.config.proxies import FORWARDED, X_FORWARDED_PROTO
from pyfork.gateway.peers import Peers, name_of
from pyfork.http1.hops import (
    Node,
    elements_from_right,
    forwarded_from_right,
    last_element,
    read_host,
    read_node,
    read_port,
    read_prefix,
    split_port,
)

MOST_HOPS = 100
"""Trusted addresses that are passed over; nobody has more proxies, and the reading ends there."""

_SECURE = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_PROTOCOL": "ssl", "HTTP_X_FORWARDED_SSL": "on"}
_FOR = "HTTP_X_FORWARDED_FOR"
_HOST = "HTTP_X_FORWARDED_HOST"
_PORT = "HTTP_X_FORWARDED_PORT"
_PREFIX = "HTTP_X_FORWARDED_PREFIX"
_FORWARDED = "HTTP_FORWARDED"
_X_FAMILY = frozenset({*_SECURE, _FOR, _HOST, _PORT, _PREFIX})
_ALL = _X_FAMILY | {_FORWARDED}
USUAL_PORTS = {"http": "80", "https": "443"}

_STRANGER = (
    "fields by which proxies tell of clients, such as %s, came from %s, which proxy.trusted does not list: they are "
    "removed (each worker says this once)"
)
_CONTRADICTION = (
    "the proxy at %s contradicts itself: by %s the client came by TLS, by %s it did not; wsgi.url_scheme is http (each "
    "worker says this once)"
)
_UNREADABLE = "%s of the proxy at %s cannot be read, and is ignored (each worker says this once)"

_log = logging.getLogger("pyfork.error")


def tells_of_client(variables: dict[str, str]) -> bool:
    """Say whether a request has one of the fields; written out, as a set would take three times as long."""
    return (
        "HTTP_X_FORWARDED_FOR" in variables
        or "HTTP_X_FORWARDED_PROTO" in variables
        or "HTTP_X_FORWARDED_PROTOCOL" in variables
        or "HTTP_X_FORWARDED_SSL" in variables
        or "HTTP_X_FORWARDED_HOST" in variables
        or "HTTP_X_FORWARDED_PORT" in variables
        or "HTTP_X_FORWARDED_PREFIX" in variables
        or "HTTP_FORWARDED" in variables
    )


class TrustedProxies:
    """The peers whose word counts, and what of it; a worker makes one, and its listeners share it.

    Args:
        trusted: as ``proxy.trusted`` has it, canonical.
        headers: as ``proxy.headers`` has it.
        keeps_untrusted: what ``proxy.untrusted_headers`` says.
    """

    __slots__ = ("_has_more", "_has_noted", "_headers", "_keeps", "_others", "_peers")

    def __init__(
        self, trusted: Iterable[str], headers: Iterable[str] = (X_FORWARDED_PROTO,), *, keeps_untrusted: bool = False
    ) -> None:
        self._peers = Peers(trusted)
        self._headers = frozenset(headers)
        self._keeps = keeps_untrusted
        self._has_noted: set[str] = set()
        self._has_more = not self._headers.isdisjoint({"x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"})
        self._others = set(_ALL)
        if FORWARDED in self._headers:
            self._others.discard(_FORWARDED)
        if self._headers - {FORWARDED}:
            self._others -= _X_FAMILY

    def of_strangers(self) -> "TrustedProxies":
        """Return what treats the fields as this does, and trusts nobody; it is silent, for that is nobody's mistake."""
        strangers = TrustedProxies((), self._headers, keeps_untrusted=self._keeps)
        strangers._has_noted.add(_STRANGER)
        return strangers

    def apply(self, environ: dict[str, Any], peer: Any) -> None:
        """Change the environ of a request that has at least one of the fields.

        Args:
            environ: complete but for the server's name, if that is to come from Host.
            peer: the client's address as ``accept`` told it: a tuple that begins with the host, anything else for a
                unix socket.
        """
        if not self._peers.has_peer(peer):
            if not self._keeps:
                field = _field(min(_ALL & environ.keys()))
                self._note(_STRANGER, logging.INFO, _STRANGER, field, name_of(peer))
                _remove(environ, _ALL)
            return
        if not self._keeps:
            _remove(environ, self._others)
        if FORWARDED in self._headers:
            self._apply_forwarded(environ, peer)
            return
        if "x-forwarded-for" in self._headers and _FOR in environ:
            self._apply_for(environ)
        if X_FORWARDED_PROTO in self._headers:
            self._apply_proto(environ, peer)
        if not self._has_more:
            return
        host = self._take_last("x-forwarded-host", environ, peer, read_host)
        port = self._take_last("x-forwarded-port", environ, peer, read_port)
        _set_authority(environ, host, port)
        environ["SCRIPT_NAME"] = (self._take_last("x-forwarded-prefix", environ, peer, read_prefix) or "") + environ[
            "SCRIPT_NAME"
        ]

    def _apply_for(self, environ: dict[str, Any]) -> None:
        client: Node | None = None
        begin: int | None = None
        for hops, element in enumerate(elements_from_right(environ[_FOR])):
            node = read_node(element.text)
            if node is None:
                break
            client, begin = node, element.begin
            if self._is_last(node, hops):
                break
        _set_client(environ, client)
        self._cut(environ, _FOR, begin)

    def _apply_proto(self, environ: dict[str, Any], peer: Any) -> None:
        word = environ.get("HTTP_X_FORWARDED_PROTO", "")
        if (
            word
            and "," not in word
            and "HTTP_X_FORWARDED_SSL" not in environ
            and "HTTP_X_FORWARDED_PROTOCOL" not in environ
        ):
            environ["wsgi.url_scheme"] = "https" if word.lower() == "https" else "http"  # nearly always
            return
        said = [
            (variable, element.text.lower() == secure)
            for variable, secure in _SECURE.items()
            if variable in environ
            for element in elements_from_right(environ[variable])
        ]
        words = {word for _, word in said}
        if words:
            environ["wsgi.url_scheme"] = "https" if words == {True} else "http"
        for variable in {variable for variable, _ in said}:
            last = last_element(environ[variable]) if len(words) == 1 else None
            self._cut(environ, variable, last and last.begin)
        if len(words) > 1:
            secure, plain = (
                " and ".join(sorted({_field(variable) for variable, word in said if word is wanted}))
                for wanted in (True, False)
            )
            self._note(_CONTRADICTION, logging.WARNING, _CONTRADICTION, name_of(peer), secure, plain)

    def _take_last(
        self, name: str, environ: dict[str, Any], peer: Any, read: Callable[[str], str | None]
    ) -> str | None:
        """Return what the last element of a field says, None for nothing, and cut the variable."""
        variable = f"HTTP_{name.upper().replace('-', '_')}"
        if name not in self._headers or variable not in environ:
            return None
        element = last_element(environ[variable])
        value = None if element is None else read(element.text)
        self._cut(environ, variable, None if element is None or value is None else element.begin)
        if element is not None and value is None:
            self._note(variable, logging.WARNING, _UNREADABLE, _field(variable), name_of(peer))
        return value

    def _apply_forwarded(self, environ: dict[str, Any], peer: Any) -> None:
        if _FORWARDED not in environ:
            return
        client: Node | None = None
        believed: dict[str, str] = {}
        begin: int | None = None
        for hops, (start, parameters) in enumerate(forwarded_from_right(environ[_FORWARDED])):
            believed, begin = parameters, start
            node = read_node(parameters.get("for", ""))
            if node is None:
                break
            client = node
            if self._is_last(node, hops):
                break
        if begin is None:
            self._note(_FORWARDED, logging.WARNING, _UNREADABLE, _field(_FORWARDED), name_of(peer))
        _set_client(environ, client)
        if "proto" in believed:
            environ["wsgi.url_scheme"] = "https" if believed["proto"].lower() == "https" else "http"
        _set_authority(environ, read_host(believed.get("host", "")), None)
        self._cut(environ, _FORWARDED, begin)

    def _is_last(self, node: Node, hops: int) -> bool:
        return hops >= MOST_HOPS or not self._peers.has_address(node.address)

    def _cut(self, environ: dict[str, Any], variable: str, begin: int | None) -> None:
        """Have a variable begin with what was believed; None if nothing was."""
        if self._keeps:
            return
        if begin is None:
            environ.pop(variable, None)
        elif begin:
            environ[variable] = environ[variable][begin:].lstrip(" \t")

    def _note(self, key: str, level: int, message: str, *details: str) -> None:
        if key not in self._has_noted:
            self._has_noted.add(key)
            _log.log(level, message, *details)


def _remove(environ: dict[str, Any], variables: Iterable[str]) -> None:
    for variable in variables:
        environ.pop(variable, None)


def _field(variable: str) -> str:
    return variable.removeprefix("HTTP_").replace("_", "-").title()


def _set_client(environ: dict[str, Any], client: Node | None) -> None:
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client


def _set_authority(environ: dict[str, Any], host: str | None, port: str | None) -> None:
    """Name the server as the client does; without a port of its own a host has the scheme's."""
    if host is None and port is None:
        return
    name, its_port = split_port(environ.get("HTTP_HOST", "") if host is None else host)
    usual = USUAL_PORTS[environ["wsgi.url_scheme"]]
    environ["SERVER_PORT"] = port or its_port or usual
    if host is not None:
        environ["SERVER_NAME"] = name
        environ["HTTP_HOST"] = host
    if port is not None and name:
        environ["HTTP_HOST"] = name if port == usual else f"{name}:{port}"


NOBODY = TrustedProxies((), (), keeps_untrusted=True)
"""Trusts no peer, and changes nothing."""
