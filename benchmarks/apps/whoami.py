"""Tells which process answers: / at once, /sleep after a second."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

SLEEP_SECONDS = 1.0


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the worker's pid."""
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(SLEEP_SECONDS)
    body = b"%d" % os.getpid()
    fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Worker", body.decode())]
    start_response("200 OK", fields)
    return [body]
