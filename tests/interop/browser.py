"""A browser for the interop tests: the standard library's client, with cookies, that follows no redirect by itself."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8")

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


class Browser:
    """Visits one server on the loopback address, and keeps its cookies."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.cookies = CookieJar()
        handlers = [urllib.request.HTTPCookieProcessor(self.cookies), _StayHere, urllib.request.ProxyHandler({})]
        self._opener = urllib.request.build_opener(*handlers)

    def visit(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Page:
        """Send a request; ``content_type="..."`` is a header."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.origin + path, body, fields, method=method)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return Page(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:  # to urllib, every status but 2xx
            with error:
                return Page(error.code, error.headers, error.read())

    def submit(self, path: str, /, **fields: str) -> Page:
        """Post a form."""
        return self.visit(path, "POST", urllib.parse.urlencode(fields).encode())

    def send_json(self, path: str, value: Any) -> Page:
        """Post JSON."""
        return self.visit(path, "POST", json.dumps(value).encode(), content_type="application/json")

    def csrf_token(self, page: Page) -> str:
        """Return the hidden token of Django's forms."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert found, page.text
        return found[1]
