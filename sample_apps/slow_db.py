"""The classic page of a load test: it waits 0.3 s for a "database" that is a sleep.

Run it from the directory sample_apps, with a thread for each query at once, or a worker (sync, async)::

    pyfork -k threadpool --threads 20 slow_db:app
    pyfork -w 4 slow_db:app

and try::

    curl http://127.0.0.1:8000/
    curl 'http://127.0.0.1:8000/?seconds=3'
    hey -n 200 -c 20 http://127.0.0.1:8000/

With sync and async, N workers answer N / 0.3 requests a second and no more, however idle the CPU is. N threads of a
threadpool do so too, and cost less; with gevent (``-k gevent``) each of 1 000 connections waits by itself.
"""

import json
import time
from urllib.parse import parse_qs

QUERY_SECONDS = 0.3
MOST_SECONDS = 3600.0


def run_query(seconds):
    """Wait as for a database, and return its rows."""
    time.sleep(seconds)
    return [{"id": number, "name": name} for number, name in enumerate(("Ada", "Grace", "Margaret"), start=1)]


def application(environ, start_response):
    """Answer the rows as JSON; ``?seconds=`` sets how long the query takes."""
    try:
        seconds = float(parse_qs(environ.get("QUERY_STRING", "")).get("seconds", [QUERY_SECONDS])[0])
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= MOST_SECONDS:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"seconds must be a number from 0 to 3600\n"]
    body = json.dumps({"seconds": seconds, "rows": run_query(seconds)}).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = application
