"""The access log's atoms: what each reads of a record, escaped (`pyfork.log.escaping`).

Headers are read from the variables that the application's environ gets, which are there already. Only those do not show
how many fields a value came in, which the log tells by ``, ``: where a value might be several, and where a name has no
variable, the fields themselves are looked at.
"""

import os
import re
import time
from base64 import b64decode
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from pyfork.log.escaping import ESCAPED, ESCAPED_WITH_SPACES, Remembered, escape
from pyfork.log.record import AccessRecord, RequestLine

Getter = Callable[[AccessRecord], str | int]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


_MAY_BE_JOINED = re.compile(r",(?![ \t])")
"""Where two values may have been joined: no value begins with a space (RFC 9110, section 5.5)."""


# What the atoms read. Getters that return a client's or the application's choice escape it.


def dash(_record: AccessRecord) -> str:
    """Return what stands for a value that there is not."""
    return "-"


def _remote(record: AccessRecord) -> str:
    return ESCAPED_WITH_SPACES[record.remote]


def find_user(record: AccessRecord) -> str:
    """Return the user: what a middleware says, else HTTP basic authentication (RFC 7617), else ""."""
    remote_user = record.environ.get("REMOTE_USER") if record.environ else None
    if remote_user:
        return str(remote_user)
    if record.request is None or "HTTP_AUTHORIZATION" not in record.request.variables:
        return ""
    scheme, _, credentials = (_find_authorization(record.request) or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials).partition(b":")[0].decode("latin-1")
    except ValueError:  # not base64: then it names nobody
        return ""


def _user(record: AccessRecord) -> str:
    user = find_user(record)
    return ESCAPED_WITH_SPACES[user] if user else "-"


def _request_line(record: AccessRecord) -> str:
    request = record.request
    if request is None:
        return "-"
    return ESCAPED[f"{request.method} {request.target.decode('latin-1')} HTTP/{request.http_version}"]


def _method(record: AccessRecord) -> str:
    return ESCAPED[record.request.method] if record.request else "-"


def find_path(request: RequestLine) -> str:
    """Return the path percent-decoded, an octet a character, as PATH_INFO has it."""
    path = request.path
    return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")


def _path(record: AccessRecord) -> str:
    return ESCAPED[find_path(record.request)] if record.request else "-"


def _query(record: AccessRecord) -> str:
    return ESCAPED[record.request.query.decode("latin-1")] if record.request else "-"


def _protocol(record: AccessRecord) -> str:
    return f"HTTP/{record.request.http_version}" if record.request else "-"


def _status(record: AccessRecord) -> str:
    return ESCAPED[record.status[:3]]


def _octets_or_dash(record: AccessRecord) -> str | int:
    return record.octets or "-"


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


_own_pid = os.getpid()  # asked for once: a system call for each line would cost a tenth of it


def _note_pid() -> None:
    global _own_pid  # noqa: PLW0603 (a process has one)
    _own_pid = os.getpid()


os.register_at_fork(after_in_child=_note_pid)


def find_pid() -> int:
    """Return this process's id."""
    return _own_pid


def _pid(_record: AccessRecord) -> str:
    return f"<{_own_pid}>"


def header_finder(name: str) -> Callable[[RequestLine], str | None]:
    """Return what finds the request's header ``name``, several of them joined by a comma, or None."""
    key = name.lower().encode("latin-1", "replace")

    def look_at_all(request: RequestLine) -> str | None:
        values = [value for field, value in request.headers if field.lower() == key]
        return b", ".join(values).decode("latin-1") if values else None

    variable = _variable_of(name)
    if variable is None:
        return look_at_all

    def find(request: RequestLine) -> str | None:
        value = request.variables.get(variable)
        if value is None or "," not in value or _MAY_BE_JOINED.search(value) is None:
            return value
        return look_at_all(request)

    return find


def _variable_of(name: str) -> str | None:
    """Return the variable (RFC 3875, section 4.1.18) that has the header ``name``; None if none shows all of it."""
    if not name.isascii() or "_" in name or name.lower() == "cookie":  # several cookies are joined by another mark
        return None
    variable = name.upper().replace("-", "_")
    return variable if variable in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{variable}"


_find_authorization = header_finder("authorization")


def _request_header(name: str) -> Getter:
    find = header_finder(name)
    variable = _variable_of(name)

    def look(record: AccessRecord) -> str:
        value = find(record.request) if record.request else None
        return "-" if value is None else escape(value)

    if variable is None:
        return look

    def get(record: AccessRecord) -> str:
        value = record.request.variables.get(variable) if record.request else None
        return "-" if value is None else _ESCAPED_IF_ONE[value] or look(record)

    return get


_ESCAPED_IF_ONE = Remembered(lambda value: "" if _MAY_BE_JOINED.search(value) else escape(value))
"""Values of headers, but "" for those that may have been joined."""


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
