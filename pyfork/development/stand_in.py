"""What a worker serves when there is no version that could be imported: the error, as a page."""

from collections.abc import Callable, Iterable
from typing import Any

from pyfork.development.error_page import make_header, make_page
from pyfork.ipc.fault import ReloadFault


class StandIn:
    """A WSGI application that answers everything with 500 and the error.

    Args:
        error: why the application could not be imported.
        fault: newer versions that fail too say why here.
        generation: the worker's.
    """

    def __init__(self, error: str, fault: ReloadFault, generation: int) -> None:
        self._error = error
        self._fault = fault
        self._generation = generation

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        error = self._fault.since(self._generation) or self._error
        page = make_page(error)
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
            ("Cache-Control", "no-store"),
            make_header(error),
        ]
        start_response("500 Internal Server Error", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else page]


def make_stand_in(error: str, fault: ReloadFault | None, generation: int) -> StandIn | None:
    """Return what serves in place of an application that cannot be imported, or None if it must fail the boot.

    There is one with `development.reload`, in the first generation, and in a later one that is known to be followed by
    one that failed: the broken files are then all that a worker of it can find when it has to be replaced.

    Args:
        error: message and traceback.
        fault: the worker's; None without `development.reload`.
        generation: the worker's.
    """
    if fault is None or (generation > 1 and fault.since(generation) is None):
        return None
    return StandIn(error, fault, generation)
