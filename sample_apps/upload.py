"""Uploads of any size, hashed piece by piece: the memory stays the same for 1 KB and 10 GB.

With sync and gevent the pieces stream in from the client. With threadpool and async the body is there as a whole when
the application is called: in memory up to 512 KiB, beyond that in a temporary file in the directory that TMPDIR names.

Run it from the directory sample_apps::

    pyfork upload:app

and try::

    curl -T /usr/bin/python3 http://127.0.0.1:8000/
    head -c 100M /dev/zero | curl -T - http://127.0.0.1:8000/       # chunked: the length is not known beforehand
    curl http://127.0.0.1:8000/                                     # says what to do
"""

import hashlib
import json

PIECE_OCTETS = 64 * 1024
HELP = b"Send a body with PUT or POST: curl -T FILE http://127.0.0.1:8000/\n"


def application(environ, start_response):
    """Answer the body's length and SHA-256 as JSON."""
    if environ["REQUEST_METHOD"] not in {"PUT", "POST"}:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELP)))])
        return [HELP]
    digest, octets = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(PIECE_OCTETS):  # the input ends with the body, chunked or not
        digest.update(piece)
        octets += len(piece)
    body = json.dumps({"octets": octets, "sha256": digest.hexdigest()}).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = application
