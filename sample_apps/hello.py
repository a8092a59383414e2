"""The smallest WSGI application (PEP 3333): it shows what the server alone costs.

Run it from the directory sample_apps::

    pyfork hello:app

and try::

    curl http://127.0.0.1:8000/
"""

BODY = b"Hello, world!\n"


def application(environ, start_response):
    """Answer every request with the same fourteen octets."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(BODY)))])
    return [BODY]


app = application
