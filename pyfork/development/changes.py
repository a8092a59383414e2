"""Which changed files matter to a reload, and how they are told.

In the working directory and on `server.pythonpath` only Python files count: an application writes its uploads, caches
and databases there too, and each would be a reload. In the directories of `development.watch` every file counts.
Nothing counts in hidden directories and in those that tools fill, and never a file that pyfork itself writes: an error
log in a watched directory would otherwise cause the reload that writes the next line to it.
"""

import os
from collections.abc import Collection, Iterable

from msgspec import Struct

from pyfork.config.binds import parse_bind
from pyfork.config.schema import Settings
from pyfork.log.escaping import escape

SOURCE = ".py"
NOT_ENTERED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
"""Directories that never count, beside the hidden ones (.git, .venv, .mypy_cache)."""
NOT_COUNTED = ("~", ".pyc", ".swp", ".tmp", "4913")
"""How files end that editors and interpreters write for themselves; vim tries a directory with the last one."""
MOST_NAMED = 3


class WatchList(Struct, frozen=True):
    """What is watched.

    Attributes:
        sources: directories in which Python files count.
        everything: directories in which all files count.
        files: single files, wherever they are.
        ignored: files that never count, with all symbolic links of their paths resolved.
    """

    sources: tuple[str, ...]
    everything: tuple[str, ...]
    files: tuple[str, ...]
    ignored: frozenset[str]

    @property
    def directories(self) -> tuple[str, ...]:
        """Return all directories, each once."""
        return tuple(dict.fromkeys([*self.sources, *self.everything]))

    def has(self, path: str) -> bool:
        """Whether a change of the file ``path``, somewhere below the directories, matters."""
        if os.path.realpath(path) in self.ignored:
            return False
        if path.endswith(SOURCE) and any(_is_visible(path, directory) for directory in self.sources):
            return True
        return not path.endswith(NOT_COUNTED) and any(_is_visible(path, directory) for directory in self.everything)


def make_watch_list(settings: Settings, configuration: str | None) -> tuple[WatchList, list[str]]:
    """Return what is to be watched, and the names of `development.watch` and `server.pythonpath` that are not there.

    Args:
        settings: complete; their paths are absolute.
        configuration: the configuration file, or None.
    """
    server, watch = settings.server, settings.development.watch
    directory = server.chdir or os.getcwd()
    sources = (directory, *(path for path in server.pythonpath if os.path.isdir(path)))
    everything = tuple(path for path in watch if os.path.isdir(path))
    files = [path for path in watch if os.path.isfile(path)]
    missing = [path for path in (*server.pythonpath, *watch) if not os.path.exists(path)]
    listed = WatchList(sources, everything, (), _written_by_us(settings))
    if configuration is not None:
        files.append(configuration)
    single = tuple(dict.fromkeys(path for path in files if not listed.has(path)))
    return WatchList(sources, everything, single, listed.ignored), missing


def describe(paths: Collection[str], directory: str) -> str:
    """Return a few words on what has changed, printable ASCII: "shop/views.py and 2 more have changed".

    Args:
        paths: at least one.
        directory: what lies below it is named from there on.
    """
    names = [escape(_below(path, directory) or path) for path in sorted(paths)]
    shown, rest = names[:MOST_NAMED], len(names) - MOST_NAMED
    if rest > 0:
        shown.append(f"{rest} more")
    if len(shown) == 1:
        return f"{shown[0]} has changed"
    return f"{', '.join(shown[:-1])} and {shown[-1]} have changed"


class SingleFiles:
    """Files that are looked at by name: editors replace a file, and a watch on the old one would never end.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._known = {path: _identify(path) for path in paths}

    def find_changed(self) -> set[str]:
        """Return those that have changed since the last call; a file that is away for a moment has not."""
        changed = set()
        for path, known in self._known.items():
            found = _identify(path)
            if found is not None and found != known:
                self._known[path] = found
                changed.add(path)
        return changed


def _identify(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:  # being replaced, or gone: the reload that needs it will say so
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _below(path: str, directory: str) -> str | None:
    """Return the rest of ``path`` if it lies below ``directory``."""
    prefix = directory.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def _is_visible(path: str, directory: str) -> bool:
    rest = _below(path, directory)
    return rest is not None and not any(part.startswith(".") or part in NOT_ENTERED for part in rest.split("/"))


def _written_by_us(settings: Settings) -> frozenset[str]:
    server, log = settings.server, settings.log
    sockets = (bind.path for bind in map(parse_bind, server.bind) if bind.kind == "unix")
    paths = [log.error, log.access, server.pidfile, *sockets]
    return frozenset(os.path.realpath(path) for path in paths if path and path != "-")
