"""The access log's atoms: what each reads of a record. Pure.

**No line can be forged.** Whatever a client (or the application) chose passes through `escape`: a line never ends
early, a quoted field never closes early, and every line can be unescaped without ambiguity. The user's name, which
by custom stands without quotes, has its spaces escaped too.
"""

import os
import re
import time
from base64 import b64decode
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from pyfork.log.record import AccessRecord, RequestLine

Getter = Callable[[AccessRecord], str | int]

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_UNSAFE_OR_SPACE = re.compile(r"[^!#-\[\]-~]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def escape(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    r"""Return ``text`` with each octet that ``unsafe`` matches as ``\xHH`` (above U+00FF: as UTF-8)."""
    if unsafe.search(text) is None:
        return text
    return unsafe.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    character = match[0]
    octets = character.encode("latin-1" if character <= "\xff" else "utf-8", "surrogatepass")
    return "".join(f"\\x{octet:02x}" for octet in octets)


# What the atoms read. Getters that return a client's or the application's choice escape it.


def dash(_record: AccessRecord) -> str:
    """Return what stands for a value that there is not."""
    return "-"


def _remote(record: AccessRecord) -> str:
    return escape(record.remote, _UNSAFE_OR_SPACE) or "-"


def find_user(record: AccessRecord) -> str:
    """Return the user: what a middleware says, else HTTP basic authentication (RFC 7617), else ""."""
    remote_user = record.environ.get("REMOTE_USER") if record.environ else None
    if remote_user:
        return str(remote_user)
    scheme, _, credentials = (find_header(record, b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials).partition(b":")[0].decode("latin-1")
    except ValueError:  # not base64: then it names nobody
        return ""


def _user(record: AccessRecord) -> str:
    return escape(find_user(record), _UNSAFE_OR_SPACE) or "-"


def _request_line(record: AccessRecord) -> str:
    request = record.request
    if request is None:
        return "-"
    return escape(f"{request.method} {request.target.decode('latin-1')} HTTP/{request.http_version}")


def _method(record: AccessRecord) -> str:
    return escape(record.request.method) if record.request else "-"


def find_path(request: RequestLine) -> str:
    """Return the path percent-decoded, an octet a character, as PATH_INFO has it."""
    return unquote_to_bytes(request.path).decode("latin-1")


def _path(record: AccessRecord) -> str:
    return escape(find_path(record.request)) if record.request else "-"


def _query(record: AccessRecord) -> str:
    return escape(record.request.query.decode("latin-1")) if record.request else "-"


def _protocol(record: AccessRecord) -> str:
    return f"HTTP/{record.request.http_version}" if record.request else "-"


def _status(record: AccessRecord) -> str:
    return escape(record.status[:3])


def _octets_or_dash(record: AccessRecord) -> str:
    return str(record.octets) if record.octets else "-"


def _octets(record: AccessRecord) -> int:
    return record.octets


def _seconds(record: AccessRecord) -> int:
    return int(record.duration)


def _milliseconds(record: AccessRecord) -> int:
    return int(record.duration * 1000)


def _microseconds(record: AccessRecord) -> int:
    return int(record.duration * 1_000_000)


def _decimal_seconds(record: AccessRecord) -> str:
    return f"{record.duration:.6f}"


def _pid(_record: AccessRecord) -> str:
    return f"<{os.getpid()}>"


def find_header(record: AccessRecord, name: bytes) -> str | None:
    """Return the request's header ``name`` (lower case), several of them joined by a comma, or None."""
    if record.request is None:
        return None
    size = len(name)
    values = [value for key, value in record.request.headers if len(key) == size and key.lower() == name]
    if not values:
        return None
    return b", ".join(values).decode("latin-1")


def _request_header(name: str) -> Getter:
    key = name.lower().encode("latin-1", "replace")

    def get(record: AccessRecord) -> str:
        value = find_header(record, key)
        return "-" if value is None else escape(value)

    return get


def _response_header(name: str) -> Getter:
    key = name.lower()

    def get(record: AccessRecord) -> str:
        values = [value for header, value in record.response_headers if header.lower() == key]
        return escape(", ".join(values)) if values else "-"

    return get


def _environ_variable(name: str) -> Getter:
    candidates = dict.fromkeys((name, name.upper(), name.lower()))  # as in gunicorn, case does not matter

    def get(record: AccessRecord) -> str:
        environ = record.environ or {}
        for candidate in candidates:
            if candidate in environ:
                return escape(str(environ[candidate]))
        return "-"

    return get


def make_clock(write: Callable[[time.struct_time], str]) -> Callable[[AccessRecord], str]:
    """Return a getter of when the request began, in local time; each second's text is made once."""
    latest = (-1, "")

    def get(record: AccessRecord) -> str:
        nonlocal latest
        second, text = latest  # one read: another thread may replace it meanwhile
        started = int(record.started)
        if second != started:
            text = write(time.localtime(started))
            latest = (started, text)
        return text

    return get


def _write_apache_time(moment: time.struct_time) -> str:
    month = _MONTHS[moment.tm_mon - 1]  # strftime's %b would follow the application's locale
    return f"[{moment.tm_mday:02d}/{month}/{time.strftime('%Y:%H:%M:%S %z', moment)}]"


TEXT_ATOMS: dict[str, Getter] = {
    "h": _remote,
    "l": dash,
    "u": _user,
    "t": make_clock(_write_apache_time),
    "r": _request_line,
    "m": _method,
    "U": _path,
    "q": _query,
    "H": _protocol,
    "s": _status,
    "b": _octets_or_dash,
    "f": _request_header("referer"),
    "a": _request_header("user-agent"),
    "L": _decimal_seconds,
    "p": _pid,
}
NUMBER_ATOMS: dict[str, Getter] = {
    "B": _octets,
    "T": _seconds,
    "D": _microseconds,
    "M": _milliseconds,
}
NAMED_ATOMS: dict[str, Callable[[str], Getter]] = {
    "i": _request_header,
    "o": _response_header,
    "e": _environ_variable,
}
