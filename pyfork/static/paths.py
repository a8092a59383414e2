"""From a request's path to the names that lead to a file: which mount, and what may be asked for at all. Pure.

A path is decoded once (RFC 3986, section 2.4), then cut at its slashes, and each name must be one that a plain file may
have. Whatever could mean something else to somebody is not there: no ``.`` and ``..``, nothing that begins with a dot,
no empty name, no backslash, no control character, no slash that came encoded. Nobody normalises anything: a path that
needs it was made by a tool, not by a browser.

The prefix is compared with the path as the client sent it, from its beginning: ``SCRIPT_NAME`` plays no part.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from msgspec import UNSET, Struct

if TYPE_CHECKING:
    from pyfork.config.schema_static import StaticSettings

LONGEST_NAME = 255
"""Octets of a name (NAME_MAX of every file system that matters): a longer one is not looked for."""
MOST_KNOWN = 1024
"""Paths of which it is remembered where they lead; then all are forgotten, or clients could fill the memory."""
LONGEST_KNOWN = 256
"""Octets of a path that is remembered."""

_FORBIDDEN = re.compile(rb"[\x00-\x1f\x7f\\/]")


class Mount(Struct, frozen=True):
    """One directory that is served.

    Attributes:
        prefix: of the paths, decoded, without a slash at its end: b"" is everything.
        directory: absolute.
        index: the file that stands for a directory, None for none.
        cache_control: the field's value, "" for no such field.
        is_precompressed: whether ``.br`` and ``.gz`` beside a file are sent in its place.
        falls_through: whether what is not there is the application's.
    """

    prefix: bytes
    directory: str
    index: bytes | None
    cache_control: str
    is_precompressed: bool
    falls_through: bool


class Place(Struct, frozen=True):
    """Where a path leads.

    Attributes:
        mount: the one it belongs to.
        names: from the mount's directory on, decoded; None if no file may have such a path.
        has_slash: whether it names a directory, by a slash at its end.
    """

    mount: Mount
    names: tuple[bytes, ...] | None
    has_slash: bool


class Mounts:
    """All mounts; the one with the longest prefix has a path."""

    __slots__ = ("_beginnings", "_known", "_mounts")

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._mounts = sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)
        self._beginnings = tuple(mount.prefix for mount in self._mounts)
        self._known: dict[bytes, Place | None] = {}

    def find(self, path: bytes) -> Place | None:
        """Return where ``path`` leads, None if it is the application's.

        Args:
            path: of a request's target, still percent-encoded.
        """
        if not path.startswith(self._beginnings) and b"%" not in path:  # most of the application's paths end here
            return None
        try:
            return self._known[path]
        except KeyError:
            place = self._look_up(path)
        if len(path) <= LONGEST_KNOWN:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[path] = place
        return place

    def _look_up(self, path: bytes) -> Place | None:
        decoded = unquote_to_bytes(path) if b"%" in path else path
        for mount in self._mounts:
            rest = decoded.removeprefix(mount.prefix)
            if len(rest) + len(mount.prefix) == len(decoded) and rest[:1] in {b"", b"/"}:
                return _locate(mount, rest, has_odd_slash=b"%2f" in path.lower())
        return None


def _locate(mount: Mount, rest: bytes, *, has_odd_slash: bool) -> Place:
    """Cut what follows the prefix into names, and look at each."""
    names = rest.split(b"/")[1:]
    has_slash = bool(names) and not names[-1]
    if has_slash:
        del names[-1]
    is_possible = not has_odd_slash and all(map(_is_servable, names))
    return Place(mount, tuple(names) if is_possible else None, has_slash)


def _is_servable(name: bytes) -> bool:
    """Whether a file that a client may ask for can be called so."""
    return 0 < len(name) <= LONGEST_NAME and name[:1] != b"." and not _FORBIDDEN.search(name)


def mounts_of(settings: "StaticSettings") -> tuple[Mount, ...]:
    """Return what ``[static]`` mounts; an option of a mount's own goes before the table's."""
    mounts = []
    for prefix, options in settings.mounts.items():
        index = settings.index if options.index is UNSET else options.index
        max_age = settings.max_age if options.max_age is UNSET else options.max_age
        immutable = settings.immutable if options.immutable is UNSET else options.immutable
        precompressed = settings.precompressed if options.precompressed is UNSET else options.precompressed
        falls_through = settings.fall_through if options.fall_through is UNSET else options.fall_through
        mounts.append(
            Mount(
                prefix=prefix.rstrip("/").encode(),
                directory=options.dir,
                index=index.encode() if index else None,
                cache_control=_cache_control(max_age, is_immutable=immutable),
                is_precompressed=precompressed,
                falls_through=falls_through,
            )
        )
    return tuple(mounts)


def _cache_control(max_age: int | None, *, is_immutable: bool) -> str:
    """RFC 9111, section 5.2.2; RFC 8246 has ``immutable``, which says nothing without an age."""
    if max_age is None:
        return ""
    return f"public, max-age={max_age}{', immutable' * is_immutable}"
