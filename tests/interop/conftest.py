"""Real frameworks behind a real server, for each worker type."""

import pytest

from tests.interop.browser import Browser


@pytest.fixture
def browse(start, worker_type):
    """Start a sample application with two workers and return a browser for it; ``browser.server`` is the server."""

    def open_browser(app, count=2, **keywords):
        settings = {"workers": {"type": worker_type, "count": count}, "log": {"access": "-"}}
        server = start(app, settings=settings, **keywords)
        browser = Browser(server.port)
        browser.server = server
        return browser

    return open_browser
