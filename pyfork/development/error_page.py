"""How an error looks in a browser, and in a header for whoever has none. Values in, octets out."""

import re

HEADER = "X-Pyfork-Reload-Error"
LONGEST_HEADER = 200
"""Characters of the header's value."""

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\0": "&#65533;"})

_BANNER = (
    '<div id="pyfork-reload-error" role="alert" style="all:initial;display:block;position:fixed;left:0;right:0;'
    "bottom:0;max-height:50vh;overflow:auto;z-index:2147483647;box-sizing:border-box;padding:12px 16px;"
    "background:#2b0b0e;color:#ffe9e9;border-top:4px solid #e5484d;font:13px/1.45 ui-monospace,monospace;"
    'text-align:left;direction:ltr">'
    '<b style="font-weight:bold">pyfork: the newest version does not serve; this page is of the last good one</b>'
    '<pre style="margin:8px 0 0;white-space:pre-wrap;font:inherit;color:inherit">{error}</pre></div>'
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>pyfork: no version serves</title>
<style>
body {{ margin: 2em; background: #2b0b0e; color: #ffe9e9; font: 14px/1.5 ui-monospace, monospace; }}
h1 {{ font-size: 1.2em; border-bottom: 4px solid #e5484d; padding-bottom: .5em; }}
pre {{ white-space: pre-wrap; font: inherit; }}
</style>
</head>
<body>
<h1>There is no version of the application that serves</h1>
<pre>{error}</pre>
<p>Save a file that mends it, and load this page again.</p>
</body>
</html>
"""


def make_header(error: str) -> tuple[str, str]:
    """Return the header that tells the first line of ``error``: printable ASCII, bounded."""
    first = error.lstrip().partition("\n")[0].rstrip()
    return HEADER, _NOT_PLAIN.sub("?", first)[:LONGEST_HEADER]


def make_banner(error: str) -> bytes:
    """Return ``error`` as an element to be put into a page.

    It is ASCII, what is not being character references: right in every encoding that begins like ASCII.
    """
    return _BANNER.format(error=_escape(error)).encode("ascii", "xmlcharrefreplace")


def make_page(error: str) -> bytes:
    """Return ``error`` as a page of its own, in ASCII as well."""
    return _PAGE.format(error=_escape(error)).encode("ascii", "xmlcharrefreplace")


def _escape(text: str) -> str:
    return text.strip().translate(_ENTITIES)
