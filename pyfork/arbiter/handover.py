"""What an old arbiter tells the new one that it starts: one environment variable with one JSON object. Pure.

The two may be of different versions of pyfork, in both directions (an upgrade may go back), so the object has a version
of its own. A reader ignores keys that it does not know; what it needs and cannot find, or a version that it does not
know, is an error that ends the new arbiter, and the old one goes on.
"""

import json
from typing import Annotated

import msgspec

from pyfork.errors import ConfigurationError

VARIABLE = "PYFORK_UPGRADE"
VERSION = 1

Fd = Annotated[int, msgspec.Meta(ge=0)]


class PassedListener(msgspec.Struct, frozen=True):
    """A listening socket of the old arbiter.

    Attributes:
        fd: the same number in both processes.
        bind: what it serves there, canonical.
        owns_path: device and inode of the unix socket's path that its owner removes, or None.
        passed: it belongs to what started pyfork first (LISTEN_FDS, ``fd://N``).
    """

    fd: Fd
    bind: str
    owns_path: tuple[int, int] | None
    passed: bool


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """All that a new arbiter gets from the old one beside its command line.

    Attributes:
        version: of this object.
        ready_fd: a socket between the two, on which the words of `arbiter.upgrade` travel.
        pidfile_fd: the locked pidfile, None when there is none.
        pidfile: its path, absolute.
        listeners: the sockets that the old arbiter serves.
        wanted: the number of workers wanted there.
        count: its ``workers.count``.
        bounds: its ``workers.min`` and ``workers.max``, None without.
        steps: how far TTIN and TTOU have moved the count, or the bounds.
        predecessor: its pid.
    """

    version: int
    ready_fd: Fd
    pidfile_fd: Fd | None
    pidfile: str | None
    listeners: tuple[PassedListener, ...]
    wanted: Annotated[int, msgspec.Meta(ge=1)]
    count: Annotated[int, msgspec.Meta(ge=1)]
    predecessor: int
    bounds: tuple[int, int] | None = None
    steps: int = 0


class _Head(msgspec.Struct):
    version: int


def encode(handover: Handover) -> str:
    """Return the variable's value."""
    return json.dumps(msgspec.to_builtins(handover))  # not msgspec's own: a path need not be UTF-8


def decode(text: str) -> Handover:
    """Return what the variable's value says.

    Raises:
        ConfigurationError: it is garbled, or of a version that this pyfork does not know.
    """
    try:
        known = json.loads(text)
        version = msgspec.convert(known, _Head).version
        if version != VERSION:
            raise ConfigurationError(
                f"environment {VARIABLE}: version {version} is not known here (this pyfork knows {VERSION}); restart "
                "pyfork instead of upgrading it in place"
            )
        return msgspec.convert(known, Handover)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"environment {VARIABLE}: {error}; pyfork sets it itself at an upgrade: do not set it"
        ) from error
