"""Writes down every request whose body came to its end, and answers with the number of the connection and the target."""

import json
import os

LOG = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "body": body.decode("latin-1"),
        "connection": environ["REMOTE_PORT"],
    }
    os.write(LOG, json.dumps(seen).encode() + b"\n")
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
