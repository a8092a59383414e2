"""HTTP/1.x, sans-I/O: the only room that knows HTTP's grammar (RFC 9110, RFC 9112).

`RequestParser` turns a client's octets into events; `ResponseEncoder` turns what an application answers into octets.
"""

from pyfork.http1.limits import MAX_FEED, Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Event, Request
from pyfork.http1.response import ResponseEncoder, error_response, http_date

__all__ = [
    "MAX_FEED",
    "EndOfMessage",
    "Event",
    "Limits",
    "Request",
    "RequestParser",
    "ResponseEncoder",
    "error_response",
    "http_date",
]
