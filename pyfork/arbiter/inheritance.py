"""Sockets that were open before this process began: who passed them in, and which bind each of them serves.

Three kinds come in. *Foreign* ones belong to what started pyfork: a socket unit of systemd's, a parent that speaks its
protocol (sd_listen_fds(3)). *Stored* ones were given to systemd for safe-keeping by a pyfork that is dead. *Handed-on*
ones are shared with the old arbiter during an upgrade, and are foreign or not as they were to that one.

A socket serves the bind whose address it has, by getsockname(2): neither order nor name counts, since systemd promises
no order over restarts. Rules:

- A bind that a socket matches is served by it; a bind without one is opened. A socket serves one bind at most.
- Foreign sockets are there because somebody wants them served. If ``server.bind`` was not set, or none of them matches
  it, they replace it (with a warning where it was set). If some match, one more of the same address is served too
  (SO_REUSEPORT spreads connections over all of them); another address is not, with a warning.
- Stored and handed-on sockets that are not foreign serve a bind or nobody: what no bind wants any more is closed.

What "the same address" means, the best match first: the bind's own text, told by the old arbiter (so a port 0 or a
name that has moved on keeps its socket); the number, for ``fd://N``; the exact address, any of those that a host name
has; ``0.0.0.0`` and a dual-stack ``[::]`` of the same port (systemd's ``ListenStream=8000``); for port 0, any port.

What does not work: to take ``[::]`` for served by a socket of ``0.0.0.0`` (IPv6 clients would be lost), and a stored
unix socket whose path is gone or somebody else's (no client finds it): that is bound anew.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from pyfork.arbiter.listeners import BoundListener, adopt, resolve
from pyfork.arbiter.notices import STORE_PREFIX
from pyfork.config.binds import Bind, parse_bind
from pyfork.errors import ConfigurationError

FOREIGN = "LISTEN_FDS"
"""The bind of a socket that replaces ``server.bind`` begins so."""

_FIRST = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START

_log = logging.getLogger("pyfork.error")


class Passed(Struct, frozen=True):
    """A socket that was passed in.

    Attributes:
        listener: open; its bind is what it had where it came from.
        is_foreign: it belongs to what started pyfork.
        number: the descriptor's number as it was passed, which ``fd://N`` means; -1 when that is of no use.
        name: what systemd calls it, "" when it did not come from there.
    """

    listener: BoundListener
    is_foreign: bool
    number: int = -1
    name: str = ""


class Claimed(Struct, frozen=True):
    """What becomes of the sockets that were passed in.

    Attributes:
        listeners: those that serve, each with the bind that it serves; what is missing has to be opened.
        has_replaced: they replace ``server.bind``: nothing is to be opened.
        unwanted: those that nobody wants; close them.
    """

    listeners: tuple[BoundListener, ...]
    has_replaced: bool
    unwanted: tuple[Passed, ...]

    @property
    def stale_names(self) -> tuple[str, ...]:
        """The names of stored descriptors that nobody wants, for `systemd.Notifier.forget`."""
        return tuple(one.name for one in self.unwanted if one.name.startswith(STORE_PREFIX))


def receive(environ: Mapping[str, str]) -> list[Passed]:
    """Return the sockets that systemd, or a parent speaking its protocol, passed in; sd_listen_fds(3).

    Raises:
        ConfigurationError: LISTEN_FDS is no number, or a descriptor is no listening socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "")
    if not count.isdecimal():
        raise ConfigurationError(f"LISTEN_FDS={count!r} is not a number: what started pyfork passed no sockets")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if len(names) != int(count):
        names = [""] * int(count)
    return [_receive(fd, name) for fd, name in enumerate(names, _FIRST)] if int(count) else []


def _receive(fd: int, name: str) -> Passed:
    listener = adopt(fd, f"{FOREIGN}:{fd}")
    if not name.startswith(STORE_PREFIX):
        return Passed(listener, is_foreign=True, number=fd, name=name)
    os.close(fd)  # `adopt` has made a copy; the store's own keeps the address in use
    listener.is_inherited = False
    listener.inode = _path_inode(listener)
    return Passed(listener, is_foreign=False, name=name)


def _path_inode(listener: BoundListener) -> tuple[int, int] | None:
    """Return device and inode of the path of a unix socket, or None when it has none that leads to it."""
    address = listener.socket.getsockname()
    if listener.socket.family != socket.AF_UNIX or not isinstance(address, str):
        return None
    with suppress(OSError):  # the path is gone
        found = os.stat(address)
        return found.st_dev, found.st_ino
    return None


def claim(
    binds: Sequence[str], passed: Sequence[Passed], *, is_set: bool, warn: Callable[[str], object] = _log.warning
) -> Claimed:
    """Decide which of ``passed`` serves which of ``binds``.

    Args:
        binds: ``server.bind``.
        passed: from `receive` or from the old arbiter.
        is_set: ``server.bind`` is not its default.
        warn: gets a sentence for every surprise.
    """
    foreign = [one for one in passed if one.is_foreign]
    if foreign and not is_set:
        return _replace(passed)
    left = list(passed)
    served: list[Passed] = []
    for bind in sorted(dict.fromkeys(binds), key=lambda text: parse_bind(text).port == 0):  # port 0 takes what is left
        match = _find(parse_bind(bind), left)
        if match is not None:
            left.remove(match)
            match.listener.bind = parse_bind(bind).text
            served.append(match)
    if foreign and not any(one.is_foreign for one in served):
        warn("server.bind is not used: the sockets of LISTEN_FDS replace it")
        return _replace(passed)
    addresses = [_address(one) for one in served]
    twins = [one for one in left if one.is_foreign and _address(one) in addresses]
    for one in left:
        if one.is_foreign and one not in twins:
            warn(
                f"LISTEN_FDS: nobody serves {one.listener.describe().text} (descriptor {one.number}): server.bind "
                "has other sockets that were passed in, but not this one"
            )
    listeners = (*(one.listener for one in served), *map(_as_foreign, twins))
    return Claimed(listeners, has_replaced=False, unwanted=tuple(one for one in left if one not in twins))


def _replace(passed: Iterable[Passed]) -> Claimed:
    foreign = tuple(_as_foreign(one) for one in passed if one.is_foreign)
    return Claimed(foreign, has_replaced=True, unwanted=tuple(one for one in passed if not one.is_foreign))


def _as_foreign(one: Passed) -> BoundListener:
    """Return its listener under a name that no bind has, so that a reload keeps it."""
    if not one.listener.bind.startswith(FOREIGN):
        one.listener.bind = f"{FOREIGN}:{one.listener.socket.fileno()}"
    return one.listener


def _find(bind: Bind, passed: Sequence[Passed]) -> Passed | None:
    """Return the best match for ``bind``."""
    addresses = _addresses(bind)
    tests: list[Callable[[Passed], bool]] = [
        lambda one: one.listener.bind == bind.text,
        lambda one: bind.kind == "fd" and one.number == bind.fd,
        lambda one: _address(one) in addresses[:1],
        lambda one: _address(one) in addresses,
        lambda one: bind.host == "0.0.0.0" and _is_dual_stack(one, bind.port),  # noqa: S104 - compared, not bound
        lambda one: bind.kind in {"tcp4", "tcp6"} and bind.port == 0 and _has_host(one, addresses),
    ]
    usable = [one for one in passed if _is_reachable(one)]
    return next((one for test in tests for one in usable if test(one)), None)


def _addresses(bind: Bind) -> list[tuple[int, object]]:
    """Return family and address of each socket that ``bind`` can mean, the one that it would open first."""
    if bind.kind == "fd":
        return []
    if bind.kind in {"unix", "abstract"}:
        return [(socket.AF_UNIX, bind.path if bind.kind == "unix" else b"\0" + os.fsencode(bind.path))]
    with suppress(OSError):  # it cannot be resolved: opening it will say so
        return [(family, address[:2]) for family, address in resolve(bind)]
    return []


def _address(one: Passed) -> tuple[int, object]:
    found = one.listener.socket
    address = found.getsockname()
    return found.family, address if found.family == socket.AF_UNIX else address[:2]


def _is_dual_stack(one: Passed, port: int) -> bool:
    found = one.listener.socket
    is_wildcard = found.family == socket.AF_INET6 and found.getsockname()[:2] == ("::", port)
    return is_wildcard and not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _has_host(one: Passed, addresses: Iterable[tuple[int, object]]) -> bool:
    family, address = _address(one)
    hosts = {(known, where[0]) for known, where in addresses if isinstance(where, tuple)}
    return isinstance(address, tuple) and (family, address[0]) in hosts


def _is_reachable(one: Passed) -> bool:
    """Whether clients can find it: the path of a unix socket of ours may have been taken away."""
    listener = one.listener
    has_path = listener.socket.family == socket.AF_UNIX and isinstance(listener.socket.getsockname(), str)
    return one.is_foreign or not has_path or (listener.inode is not None and _path_inode(listener) == listener.inode)
