"""Answers every request with what it has seen of it, as JSON: `app` by WSGI, `asgi` for who speaks only that."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

RAW_TARGETS = ("RAW_URI", "REQUEST_URI")
"""Where WSGI servers put the target as it came, if they do."""


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the body to its end, then answer."""
    body = environ["wsgi.input"].read()
    names = {"CONTENT_LENGTH", "CONTENT_TYPE", *(name for name in environ if name.startswith("HTTP_"))}
    raw = next((environ[name] for name in RAW_TARGETS if name in environ), None)
    seen = {
        "method": environ["REQUEST_METHOD"],
        "raw_target": raw,
        "path": environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        "query": environ.get("QUERY_STRING", ""),
        "fields": {name: environ[name] for name in sorted(names) if environ.get(name)},
        "body": body.decode("latin-1"),
    }
    answer = json.dumps(seen).encode()
    status = "405 Method Not Allowed" if seen["method"] == "CONNECT" else "200 OK"  # a 200 would open a tunnel
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Do the same; a client that goes away before its body has come gets no answer."""
    if scope["type"] != "http":
        return
    body = b""
    has_more = True
    while has_more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = name.decode("latin-1").upper().replace("-", "_")
        variable = text if text in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{text}"
        fields[variable] = ",".join(filter(None, (fields.get(variable), value.decode("latin-1"))))
    seen = {
        "method": scope["method"],
        "raw_target": None,
        "path": scope["path"].encode().decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "fields": fields,
        "body": body.decode("latin-1"),
    }
    answer = json.dumps(seen).encode()
    length = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    status = 405 if seen["method"] == "CONNECT" else 200
    await send({"type": "http.response.start", "status": status, "headers": length})
    await send({"type": "http.response.body", "body": answer})
