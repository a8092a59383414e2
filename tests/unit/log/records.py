"""Access records for the tests of the log room."""

import re
from dataclasses import dataclass, field

from pyfork.http1.variables import variables_of
from pyfork.log.record import AccessRecord


@dataclass
class Request:
    """What a format reads of `pyfork.http1.request.Request`."""

    method: str = "GET"
    target: bytes = b"/quote?by=hopper"
    path: bytes = b"/quote"
    query: bytes = b"by=hopper"
    http_version: str = "1.1"
    logged: object = None
    headers: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [
            (b"Host", b"example.org"),
            (b"Referer", b"http://example.org/"),
            (b"User-Agent", b"curl/8.5"),
        ]
    )

    def __post_init__(self):
        self.headers = [(name, value.strip(b" \t")) for name, value in self.headers]

    @property
    def variables(self):
        return variables_of(self.headers)


ORDINARY = object()


def make_record(request=ORDINARY, **changes):
    """Return a record of one ordinary GET, with the fields of ``changes``."""
    fields = {
        "request": request,
        "environ": {"SERVER_NAME": "example.org", "wsgi.url_scheme": "http"},
        "remote": "192.0.2.7",
        "status": "200 OK",
        "response_headers": [("Content-Type", "application/json"), ("X-Id", "1"), ("x-id", "2")],
        "octets": 123,
        "started": 1795200900.25,
        "duration": 1.234567,
    }
    if request is ORDINARY:
        fields["request"] = Request()
    return AccessRecord(**{**fields, **changes})


def unescape(text):
    r"""Return what `pyfork.log.atoms.escape` was given: its inverse, for values up to U+00FF."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)
