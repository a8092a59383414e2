"""The access log's lines written the plain way: nothing remembered, every field looked at, an atom at a time.

`pyfork.log` takes short cuts; its lines must be these, octet by octet.
"""

import base64
import json
import os
import time
from urllib.parse import unquote_to_bytes


def escape(text, *, spaces=False):
    """Return ``text`` with all but the harmless characters as octets in hexadecimal."""
    harmless = set(map(chr, range(0x21 if spaces else 0x20, 0x7F))) - {'"', "\\"}
    return "".join(character if character in harmless else escape_character(character) for character in text)


def escape_character(character):
    """Return each of its octets: Latin-1 if that has it, else UTF-8."""
    octets = character.encode("latin-1" if ord(character) < 0x100 else "utf-8", "surrogatepass")
    return "".join(f"\\x{octet:02x}" for octet in octets)


def header(record, name):
    """Return the request's header, several joined, or None."""
    fields = record.request.headers if record.request else []
    values = [value.decode("latin-1") for key, value in fields if key.lower() == name.encode()]
    return ", ".join(values) if values else None


def user(record):
    """Return who it was, or ""."""
    if record.environ and record.environ.get("REMOTE_USER"):
        return record.environ["REMOTE_USER"]
    scheme, _, credentials = (header(record, "authorization") or "").partition(" ")
    try:
        return base64.b64decode(credentials).split(b":")[0].decode("latin-1") if scheme.lower() == "basic" else ""
    except ValueError:
        return ""


def atom(record, name):
    """Return what an atom stands for."""
    if name.endswith("}i"):
        value = header(record, name[1:-2])
        return "-" if value is None else escape(value)
    request = record.request
    moment = time.localtime(int(record.started))
    values = {
        "h": escape(record.remote, spaces=True) or "-",
        "l": "-",
        "u": escape(user(record), spaces=True) or "-",
        "t": time.strftime("[%d/%b/%Y:%H:%M:%S %z]", moment),
        "s": escape(record.status[:3]),
        "b": str(record.octets) if record.octets else "-",
        "p": f"<{os.getpid()}>",
    }
    if name in values:
        return values[name]
    if request is None:
        return "-"
    line = f"{request.method} {request.target.decode('latin-1')} HTTP/{request.http_version}"
    path = unquote_to_bytes(request.path).decode("latin-1")
    return escape({"r": line, "m": request.method, "U": path, "q": request.query.decode("latin-1")}[name])


def common(record):
    """Return the line in Apache's common format."""
    return '{h} {l} {u} {t} "{r}" {s} {b}'.format_map({name: atom(record, name) for name in "hlutrsb"})


def combined(record):
    """Return the line in Apache's combined format."""
    return f'{common(record)} "{atom(record, "{referer}i")}" "{atom(record, "{user-agent}i")}"'


def utf_8(text):
    """Return the octets of ``text`` as UTF-8 if they are, else as they are; None as None."""
    try:
        return text.encode("latin-1").decode() if text else text
    except UnicodeError:
        return text


def json_line(record):
    """Return the object."""
    request = record.request
    moment = time.localtime(int(record.started))
    value = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", moment)
        + f".{int(record.started % 1 * 1000):03d}{time.strftime('%z', moment)}",
        "remote": utf_8(record.remote or None),
        "user": utf_8(user(record) or None),
        "method": request.method if request else None,
        "target": utf_8(request.target.decode("latin-1")) if request else None,
        "path": utf_8(unquote_to_bytes(request.path).decode("latin-1")) if request else None,
        "query": utf_8(request.query.decode("latin-1")) if request else None,
        "protocol": f"HTTP/{request.http_version}" if request else None,
        "host": utf_8(header(record, "host")),
        "status": int(record.status[:3]),
        "octets": record.octets,
        "duration": round(record.duration, 6),
        "referer": utf_8(header(record, "referer")),
        "user_agent": utf_8(header(record, "user-agent")),
        "pid": os.getpid(),
    }
    return json.dumps(value).replace("\x7f", "\\u007f")
