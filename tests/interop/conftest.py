"""Real frameworks behind a real server, for each worker type."""

import pytest

from tests.interop.browser import Browser


@pytest.fixture
def browse(share, worker_type):
    """Visit a sample application of a shared server with a browser of one's own; ``browser.server`` is the server."""

    def open_browser(app, count=2, **keywords):
        settings = {"workers": {"type": worker_type, "count": count}, "log": {"access": "-"}}
        server = share(app, settings=settings, **keywords)
        browser = Browser(server.port)
        browser.server = server
        return browser

    return open_browser
