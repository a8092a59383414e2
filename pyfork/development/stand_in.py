"""What a worker serves when there is no version that could be imported: the error, as a page."""

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pyfork.development.error_page import make_header, make_page
from pyfork.errors import ApplicationLoadError
from pyfork.ipc.fault import ReloadFault

_T = TypeVar("_T")
_log = logging.getLogger("pyfork.error")


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


def load_or_stand_in(
    load: Callable[[], _T], stand_in: Callable[[StandIn], _T] | None, fault: ReloadFault | None, generation: int
) -> _T:
    """Load what is the user's, or with `development.reload` what stands in for it until a save mends it.

    That is done in the first generation, and in a later one that is known to be followed by one that failed: the broken
    files are then all that a worker of it can find when it has to be replaced. A generation that a reload tries fails,
    and the last good one serves on.

    Args:
        load: imports the application and its hooks; called in the worker or the mold.
        stand_in: makes of the page what ``load`` would have returned; None for who serves no application.
        fault: the process's; None without `development.reload`.
        generation: the process's.

    Raises:
        ApplicationLoadError: something cannot be imported.
    """
    if fault is None:
        return load()
    # The age of bytecode counts in whole seconds: of two saves in one, the second would not be seen.
    sys.dont_write_bytecode = True
    try:
        return load()
    except ApplicationLoadError as error:
        if stand_in is None or (generation > 1 and fault.since(generation) is None):
            raise
        why = f"{error}\n{error.traceback_text.rstrip()}"
        _log.error("an error page is served until a saved file mends it: %s", why)
        return stand_in(StandIn(why, fault, generation))
