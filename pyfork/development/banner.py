"""Shows on every page of the last good version why the newest one does not serve.

It is a layer of WSGI middleware that a worker has only with `development.reload`:

- every response gets a header with the first line of the error;
- a response that a browser shows as a page (text/html, of 2xx to 5xx, neither encoded nor a part nor a download) gets
  the error as an element too: before the ``</body>`` that comes first in a block, or else at its end. Its
  Content-Length grows by that, or it has none and is chunked as ever. A browser must not keep such a page, nor have the
  validators of the page without it.

What is answered to HEAD, 204, 205 and 304 has no body to put it into. An application that breaks PEP 3333 goes through
as it is, so that the server's own message about it stays right.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyfork.development.error_page import make_banner, make_header
from pyfork.development.stand_in import StandIn
from pyfork.gateway.file_wrapper import FileWrapper
from pyfork.ipc.fault import ReloadFault

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Any]
Headers = list[tuple[str, str]]

_END: Any = object()
_BODY_END = re.compile(rb"</body\s*>", re.IGNORECASE)
_NO_BODY = frozenset({"204", "205", "206", "304"})
"""206 has one, but a part of a page takes no addition."""
_LEFT_OUT = frozenset({"content-length", "etag", "last-modified", "cache-control", "expires", "content-md5"})


def with_faults_shown(application: Application, fault: ReloadFault | None, generation: int) -> Application:
    """Return ``application`` with the layer around it where there is something that could be shown.

    Args:
        application: a WSGI application.
        fault: the worker's; None without `development.reload`.
        generation: the worker's.
    """
    if fault is None or isinstance(application, StandIn):
        return application
    return FaultsShown(application, fault, generation)


class FaultsShown:
    """The layer; see the head of the module."""

    def __init__(self, application: Application, fault: ReloadFault, generation: int) -> None:
        self._application = application
        self._fault = fault
        self._generation = generation

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        """Answer one request (PEP 3333)."""
        error = self._fault.since(self._generation)
        if error is None:
            return self._application(environ, start_response)
        response = _Response(error, start_response, is_head=environ["REQUEST_METHOD"] == "HEAD")
        return response.wrap(self._application(environ, response.start))


class _Response:
    """One response, on its way through the layer."""

    def __init__(self, error: str, start_response: Callable[..., Any], *, is_head: bool) -> None:
        self._error = error
        self._start_response = start_response
        self._may_have_banner = not is_head
        self._banner = b""
        self._room: int | None = None
        self._has_started = False
        self._is_file = False

    def start(self, status: str, headers: Headers, *exc_info: Any) -> Callable[[bytes], Any]:
        """Be the ``start_response`` of the application."""
        self._has_started = True
        self._banner, self._room = b"", None
        if not _is_well_formed(status, headers):
            return self._give_write(self._start_response(status, headers, *exc_info))
        if self._may_have_banner and _is_page(status, headers):
            self._banner = make_banner(self._error)
            headers = self._amend(headers)
        return self._give_write(self._start_response(status, [*headers, make_header(self._error)], *exc_info))

    def wrap(self, iterable: Any) -> Any:
        """Return what the application returned, with the banner in it where one is due."""
        if self._has_started and not self._banner:
            self._may_have_banner = False  # it goes to the server as it is, a file to be sent for one
            return iterable
        if type(iterable) in {list, tuple} and all(type(block) is bytes for block in iterable):
            return [b"".join([*map(self.pass_on, iterable), self.end()])] if self._has_started else iterable
        kind = type(iterable)
        if isinstance(iterable, (bytes, str)) or not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")):
            return iterable  # the server says what is wrong with it
        self._is_file = kind is FileWrapper
        return _Blocks(iterable, self)

    def pass_on(self, block: Any) -> Any:
        """Return ``block`` of the body, with the banner in it if this is the place; what is none, as it is."""
        if not isinstance(block, bytes):
            return block
        end = len(block)
        if self._room is not None:  # what exceeds the Content-Length is cut by the server, and the banner is not
            end = min(end, self._room)
            self._room -= end
            if self._is_file:  # PEP 3333: it is sent to its end or to the Content-Length, so that is no mistake
                block = block[:end]
        if not self._banner:
            return block
        place = _BODY_END.search(block, 0, end)
        if place is None and self._room != 0:
            return block
        at = end if place is None else place.start()
        return block[:at] + self.end() + block[at:]

    @property
    def is_file_complete(self) -> bool:
        """Whether as much of a file has come as its Content-Length says."""
        return self._is_file and self._room == 0 and not self._banner

    def end(self) -> bytes:
        """Return what is still to follow the body."""
        banner, self._banner = self._banner, b""
        return banner

    def _amend(self, headers: Headers) -> Headers:
        """Return the headers of a page that is to have the banner."""
        kept = [(name, value) for name, value in headers if name.lower() not in _LEFT_OUT]
        kept.append(("Cache-Control", "no-store"))
        length = _find(headers, "content-length")
        self._room = int(length) if length else None
        if self._room is not None:
            kept.append(("Content-Length", str(self._room + len(self._banner))))
        return kept

    def _give_write(self, write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        return lambda block: write(self.pass_on(block))


class _Blocks:
    """The blocks of a body that comes bit by bit."""

    def __init__(self, iterable: Iterable[bytes], response: _Response) -> None:
        self._iterable = iterable
        self._response = response
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> "_Blocks":
        self._iterator = iter(self._iterable)
        return self

    def __next__(self) -> bytes:
        if self._response.is_file_complete:
            raise StopIteration
        block = _END if self._iterator is None else next(self._iterator, _END)
        if block is not _END:
            passed: bytes = self._response.pass_on(block)
            return passed
        self._iterator = None
        rest = self._response.end()
        if not rest:
            raise StopIteration
        return rest

    def close(self) -> None:
        """Close what the application returned, as it may wait for that."""
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()


def _is_well_formed(status: object, headers: object) -> bool:
    """Whether the layer may look at them; the server judges those that are not."""
    return (
        isinstance(status, str)
        and isinstance(headers, list)
        and all(
            isinstance(field, tuple) and len(field) == 2 and all(isinstance(part, str) for part in field)
            for field in headers
        )
        and sum(name.lower() == "content-length" for name, _ in headers) <= 1
        and (_find(headers, "content-length") or "0").isdecimal()
    )


def _is_page(status: str, headers: Headers) -> bool:
    """Whether a browser shows the response as a page, and takes an addition to it."""
    media_type, _, parameters = (_find(headers, "content-type") or "").lower().partition(";")
    return (
        status[:3] not in _NO_BODY
        and status[:1] in {"2", "3", "4", "5"}
        and media_type.strip() == "text/html"
        and "utf-16" not in parameters  # the banner is ASCII
        and "utf-32" not in parameters
        and (_find(headers, "content-encoding") or "identity").strip().lower() == "identity"
        and not (_find(headers, "content-disposition") or "").strip().lower().startswith("attachment")
    )


def _find(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)
