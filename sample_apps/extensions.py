r"""What pyfork offers beyond PEP 3333: early hints, and the trailers of a chunked body.

Run it from the directory sample_apps::

    pyfork extensions:app

and try::

    curl -i http://127.0.0.1:8000/              103 with the style sheet, then the page
    printf 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
5\r\nhello\r\n0\r\nContent-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n\r\n' |
        nc -N 127.0.0.1 8000                    the digest (RFC 9530), which comes behind the body, is checked

Both keys are looked for first: another server may not have them.
"""

import base64
import hashlib
import json

TEXT = [("Content-Type", "text/plain; charset=utf-8")]
STYLE = ("Link", "</style.css>; rel=preload; as=style")
PAGE = b"<!doctype html><link rel=stylesheet href=/style.css><p>The style sheet was on its way first.\n"


def check_digest(environ, start_response):
    """Read the body to its end, and only then look at the trailers."""
    body = environ["wsgi.input"].read()
    trailers = environ.get("wsgi.trailers")  # None: the body was not chunked, or the server has no trailers
    digests = [value for name, value in trailers or () if name == "content-digest"]
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    is_right = digests == [expected]
    found = {"octets": len(body), "digest": expected, "is_right": is_right, "trailers": trailers}
    start_response("200 OK" if is_right else "400 Bad Request", [("Content-Type", "application/json")])
    return [json.dumps(found).encode() + b"\n"]


def application(environ, start_response):
    """Answer a page with early hints; of a POST, check the digest behind its body."""
    if environ["REQUEST_METHOD"] == "POST":
        return check_digest(environ, start_response)
    send_early_hints = environ.get("wsgi.early_hints")
    if send_early_hints is not None:
        send_early_hints([STYLE])  # now, while the page is still to be made
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), STYLE])
    return [PAGE]


app = application
