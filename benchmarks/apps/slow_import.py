"""An application whose import takes three seconds; it tells which process answers, after 5 ms in which that is busy."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

IMPORT_SECONDS = 3.0
BUSY_SECONDS = 0.005

time.sleep(IMPORT_SECONDS)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the worker's pid."""
    del environ
    time.sleep(BUSY_SECONDS)
    pid = str(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(pid))), ("X-Worker", pid)])
    return [pid.encode()]
