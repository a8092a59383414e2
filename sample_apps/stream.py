"""A response that comes piece by piece from a generator, and notices when the client leaves.

Run it from the directory sample_apps::

    pyfork stream:app

and try::

    curl -N http://127.0.0.1:8000/                              # ten lines, one every 0.2 s
    curl -N 'http://127.0.0.1:8000/?count=1000000&pause=0'      # as fast as the client takes them
    curl -N 'http://127.0.0.1:8000/?count=1000' & sleep 1; kill %1      # the error log tells of the close

No length is given, so HTTP/1.1 gets chunks and HTTP/1.0 a body that ends with the connection.
"""

import time
from urllib.parse import parse_qs


def count_lines(count, pause, errors):
    """Yield ``count`` lines, ``pause`` seconds apart; say how it ended."""
    sent = 0
    try:
        for number in range(1, count + 1):
            if number > 1:
                time.sleep(pause)
            yield f"line {number} of {count}\n".encode()
            sent = number
    finally:  # the server calls close() on the generator, whether the client stayed or not
        if sent < count:
            errors.write(f"stream: the client left after {sent} of {count} lines\n")


def application(environ, start_response):
    """Stream lines; ``?count=`` and ``?pause=`` set how many and how far apart."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    try:
        count, pause = int(query.get("count", ["10"])[0]), float(query.get("pause", ["0.2"])[0])
    except ValueError:
        count, pause = -1, 0
    if count < 0 or not 0 <= pause <= 3600:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"count must be a whole number, pause a number of seconds up to 3600\n"]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return count_lines(count, pause, environ["wsgi.errors"])


app = application
