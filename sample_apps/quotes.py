"""A small JSON service in Falcon, with a quote by Grace Hopper.

Run it from the directory sample_apps (or with ``make run``)::

    pyfork quotes:app

and try::

    curl http://127.0.0.1:8000/quote
    curl http://127.0.0.1:8000/quote --json '{"author": "Ada Lovelace", "quote": "I never am really satisfied."}'
    curl http://127.0.0.1:8000/quotes

Each worker has its own memory: with several of them, a quote that was added is known to the one that took it.
"""

import falcon

HOPPER = {"author": "Grace Hopper", "quote": "I've always been more interested in the future than in the past."}


class QuoteResource:
    """One quote to read; more can be added."""

    def __init__(self, quotes):
        self.quotes = quotes

    def on_get(self, request, response):
        """Answer Grace Hopper's quote."""
        response.media = self.quotes[0]

    def on_post(self, request, response):
        """Add a quote, a JSON object with the strings "author" and "quote"."""
        media = request.get_media()
        if not isinstance(media, dict) or not all(isinstance(media.get(key), str) for key in HOPPER):
            raise falcon.HTTPBadRequest(
                title="Not a quote", description='Send {"author": "...", "quote": "..."}, both strings.'
            )
        quote = {key: media[key] for key in HOPPER}
        self.quotes.append(quote)
        response.status = falcon.HTTP_201
        response.location = "/quotes"
        response.media = quote


class QuotesResource:
    """All the quotes that this worker knows."""

    def __init__(self, quotes):
        self.quotes = quotes

    def on_get(self, request, response):
        """Answer the list."""
        response.media = self.quotes


def create_app():
    """Return the application, with a memory of its own."""
    quotes = [HOPPER]
    falcon_app = falcon.App()
    falcon_app.add_route("/quote", QuoteResource(quotes))
    falcon_app.add_route("/quotes", QuotesResource(quotes))
    return falcon_app


app = application = create_app()
