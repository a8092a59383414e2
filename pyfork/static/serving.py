"""Answers a request with a file: the thin part, which asks the file system and leaves the decisions to the rest.

What it returns is called as a WSGI application is, so a response of ours takes the way that every response takes:
framing, HEAD, slow clients, logs. It runs where the application would, so a slow disk holds up what a slow application
would hold up. Nothing is kept between requests: what is on disk is what is served.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from pyfork.errors import ApplicationError
from pyfork.gateway.environ import Environ
from pyfork.gateway.file_wrapper import FileParts
from pyfork.http1.request import Request
from pyfork.static.codings import ENDINGS, choose_coding
from pyfork.static.media_types import media_type_of
from pyfork.static.opening import ABSENT, Walk
from pyfork.static.paths import Mount, Mounts, Place
from pyfork.static.planning import Plan, Representation, plan, refusal

MOST_READ = 32 * 1024
"""Octets of a file that are read and sent with the head in one piece; more is the kernel's to send (sendfile)."""
SILENCE = 10.0
"""Seconds in which the log is told once of each reason why files cannot be opened."""

_ALLOW = ("Allow", "GET, HEAD, OPTIONS")
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_DENIED = frozenset((errno.EACCES, errno.EPERM))
_BOUNDARY_OCTETS = 16
_QUERY = "!$&'()*+,;=:@/?-._~%"
"""What RFC 3986 allows in a query, and the percent sign of what is encoded already."""

_log = logging.getLogger("pyfork.error")


class Response(Struct, frozen=True):
    """A response, to be called as a WSGI application is: once.

    Attributes:
        status: as PEP 3333 has it.
        fields: the head's.
        body: what the application returns.
    """

    status: str
    fields: list[tuple[str, str]]
    body: Iterable[bytes]

    def __call__(self, _environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Give the response (PEP 3333, "The Application/Framework Side")."""
        start_response(self.status, self.fields)
        return self.body


class StaticFiles:
    """The files of all mounts; made in the worker.

    Args:
        mounts: what is served.
        seconds: returns seconds since the epoch.

    Attributes:
        find: returns where a request's path leads; see `Mounts.find`.
    """

    def __init__(self, mounts: Iterable[Mount], seconds: Callable[[], float]) -> None:
        self._mounts = tuple(mounts)
        self._seconds = seconds
        self._quiet_until: dict[int | None, float] = {}
        self.find = Mounts(self._mounts).find

    def check(self) -> None:
        """Warn of directories that cannot be opened, by whoever this process is; they may come yet."""
        for mount in self._mounts:
            try:
                with Walk(mount.directory) as walk:
                    walk.try_to_enter()
            except OSError as error:
                self._warn(mount.directory, error)

    def answer(self, place: Place, request: Request) -> Response | None:
        """Return what answers the request; None if it is the application's after all."""
        falls_through = place.mount.falls_through
        if request.method not in {"GET", "HEAD"}:
            return None if falls_through else _other_method(request.method)
        if place.names is not None:
            try:
                with Walk(place.mount.directory) as walk:
                    return self._serve(walk, place, request)
            except OSError as error:
                if error.errno not in ABSENT:
                    return self._explain(place, error)
                if error.filename == place.mount.directory:  # none of its files is there, and somebody should know
                    self._warn(place.mount.directory, error)
        return None if falls_through else _respond(refusal("404 Not Found", "There is no such file"))

    def _serve(self, walk: Walk, place: Place, request: Request) -> Response:
        """Return the file, or where it is.

        Raises:
            OSError: there is none.
        """
        found = walk.follow(place.names or ())
        name = place.names[-1] if place.names else b""
        if found is None:
            name = place.mount.index or b""
            found = walk.follow((name,))
            if found is None:
                raise IsADirectoryError(errno.EISDIR, "it has no index")
            if not place.has_slash:
                return _respond(_redirect(request))
        elif place.has_slash:
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        fd, representation = _select(walk, found, place.mount, request, media_type_of(name))
        return self._send(fd, representation, request)

    def _send(self, fd: int, representation: Representation, request: Request) -> Response:
        """Return what the client gets of an open file, which is closed, or will be by whoever has sent it."""
        is_kept = False
        try:
            fields = request.variables
            boundary = os.urandom(_BOUNDARY_OCTETS).hex() if "HTTP_RANGE" in fields else ""
            planned = plan(request.method, fields, representation, self._seconds(), boundary)
            spans = planned.spans
            if not spans:
                return _respond(planned)
            if request.method == "HEAD":
                return Response(planned.status, [*planned.fields, ("Content-Length", str(spans[0][1]))], ())
            if len(spans) == 1 and spans[0][1] <= MOST_READ:
                return Response(planned.status, planned.fields, [_read(fd, *spans[0])])
            is_kept = True
            return Response(planned.status, planned.fields, FileParts(fd, spans, planned.heads, planned.tail))
        finally:
            if not is_kept:
                os.close(fd)

    def _explain(self, place: Place, error: OSError) -> Response:
        """Return what to say of a file that is there and cannot be had; the log has the reason."""
        self._warn(os.path.join(place.mount.directory.encode(), *(place.names or ())), error)
        if error.errno in _DENIED:
            return _respond(refusal("403 Forbidden", "The server may not read this file"))
        if error.errno in _SCARCE:
            return _respond(
                refusal("503 Service Unavailable", "The server has no descriptor left", ("Retry-After", "1"))
            )
        return _respond(refusal("500 Internal Server Error", "The server cannot read this file"))

    def _warn(self, path: str | bytes, error: OSError) -> None:
        now = monotonic()
        if self._quiet_until.get(error.errno, 0.0) <= now:
            self._quiet_until[error.errno] = now + SILENCE
            reason = (error.strerror or str(error)).lower()
            _log.warning("the static %s cannot be opened: %s", ascii(os.fsdecode(path)), reason)


def _select(
    walk: Walk, found: tuple[bytes, os.stat_result], mount: Mount, request: Request, media_type: str
) -> tuple[int, Representation]:
    """Open the file, or the precompressed form of it that the client likes better.

    One that is older than the file is of an older state of it, and is not there.
    """
    name, status = found
    available: list[str] = []
    coding = None
    if mount.is_precompressed:
        changed = int(status.st_mtime)
        for each, ending in ENDINGS.items():
            beside = walk.look(name + ending)
            if beside is not None and int(beside.st_mtime) >= changed:
                available.append(each)
        if available:
            coding = choose_coding(request.variables.get("HTTP_ACCEPT_ENCODING"), available)
    fd, status = walk.open(name if coding is None else name + ENDINGS[coding])
    size, changed_ns, varies = status.st_size, status.st_mtime_ns, bool(available)
    return fd, Representation(size, changed_ns, media_type, coding or "", varies, mount.cache_control)


def _read(fd: int, offset: int, count: int) -> bytes:
    """Return octets of a file.

    Raises:
        ApplicationError: it became shorter meanwhile.
        OSError: it cannot be read.
    """
    data = os.pread(fd, count, offset)
    while 0 < len(data) < count and (more := os.pread(fd, count - len(data), offset + len(data))):
        data += more
    if len(data) < count:
        raise ApplicationError(f"a file became {count - len(data)} octets shorter while it was read")
    return data


def _respond(planned: Plan) -> Response:
    return Response(planned.status, planned.fields, [planned.content])


def _other_method(method: str) -> Response:
    """RFC 9110, sections 9.3.7 and 15.5.6."""
    if method == "OPTIONS":
        return Response("204 No Content", [_ALLOW], [])
    return _respond(refusal("405 Method Not Allowed", "A file can be read, and nothing else", _ALLOW))


def _redirect(request: Request) -> Plan:
    """Lead to the same with a slash; relatively (RFC 9110, section 10.2.2), as a proxy may have cut the path."""
    last = request.path.rpartition(b"/")[2].decode("latin-1")
    location = f"./{quote(last, safe='%', encoding='latin-1')}/"
    if request.query:
        location += "?" + quote(request.query.decode("latin-1"), safe=_QUERY, encoding="latin-1")
    return refusal("301 Moved Permanently", "It is a directory", ("Location", location))
