"""Flask: a page with a session, JSON both ways, a file, and an error.

Run it from the directory sample_apps::

    pyfork flask_app:app

and try::

    http://127.0.0.1:8000/                      in a browser: the visits are counted in a signed cookie
    curl http://127.0.0.1:8000/sum --json '{"numbers": [1, 2, 3]}'
    curl http://127.0.0.1:8000/source           this file, by wsgi.file_wrapper (sendfile)
    curl -i http://127.0.0.1:8000/error         500; the traceback is in the error log

The key that signs the sessions is made at import unless SECRET_KEY is set: set it for more than one worker.
"""

import os
import secrets

from flask import Flask, jsonify, render_template_string, request, send_file, session

PAGE = """<!DOCTYPE html>
<html lang="en">
<title>Flask</title>
<h1>Hello, {{ name }}!</h1>
<p>You have been here {{ visits }} time{{ "" if visits == 1 else "s" }}.</p>
</html>
"""

app = application = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_bytes(32)


@app.get("/")
def show_page():
    """Count the visits of this browser."""
    session["visits"] = session.get("visits", 0) + 1
    return render_template_string(PAGE, name=request.args.get("name", "stranger"), visits=session["visits"])


@app.post("/sum")
def add_numbers():
    """Add the numbers of a JSON object; Flask answers 400 or 415 to anything else."""
    numbers = request.get_json().get("numbers", [])
    if not isinstance(numbers, list) or not all(isinstance(number, int | float) for number in numbers):
        return jsonify(error="numbers must be a list of numbers"), 400
    return jsonify(sum=sum(numbers))


@app.get("/source")
def send_source():
    """Send this file, with ranges and conditional requests as Werkzeug does them."""
    return send_file(__file__, mimetype="text/x-python", conditional=True)


@app.get("/error")
def fail():
    """Fail as an application may: Flask logs the traceback to wsgi.errors and answers 500."""
    raise RuntimeError("this page always fails")
