"""A guest book in Bottle: a page from a template, and a form that posts to it.

Run it from the directory sample_apps::

    pyfork bottle_page:app

and try, in a browser or with curl::

    http://127.0.0.1:8000/
    http://127.0.0.1:8000/?name=Grace
    curl -L -d 'name=Ada&text=Hello' http://127.0.0.1:8000/entries

The entries live in the worker's memory: with several workers, each has its own book.
"""

from pathlib import Path

from bottle import Bottle, redirect, request, template

TEMPLATE = (Path(__file__).parent / "bottle_page.tpl").read_text("utf-8")
entries = []

app = application = Bottle()


@app.get("/")
def show_page():
    """Render the page; the template escapes what visitors wrote."""
    return template(TEMPLATE, name=request.query.getunicode("name", "stranger"), entries=entries)


@app.post("/entries")
def add_entry():
    """Add an entry and show the page again."""
    entries.append((request.forms.getunicode("name", "?"), request.forms.getunicode("text", "")))
    redirect("/")
