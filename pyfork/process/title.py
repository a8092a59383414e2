"""Process titles, as ``ps`` and ``top`` show them."""

import setproctitle

_latest = ""


def set_title(title: str) -> None:
    """Show ``title`` for this process; control characters are escaped, so that no client can write to a terminal.

    The same title again costs next to nothing, another one a microsecond.
    """
    global _latest  # noqa: PLW0603 (a process has one title)
    if title == _latest:
        return
    _latest = title
    if not title.isprintable():
        title = title.encode("unicode_escape").decode("ascii")
    setproctitle.setproctitle(title)
