"""Process titles, as ``ps`` and ``top`` show them."""

import setproctitle


def set_title(title: str) -> None:
    """Show ``title`` for this process; control characters are escaped, so that no client can write to a terminal."""
    if not title.isprintable():
        title = title.encode("unicode_escape").decode("ascii")
    setproctitle.setproctitle(title)
