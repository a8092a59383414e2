"""Temporary files for what is too large to be kept in memory: bodies of requests, and responses that nobody takes yet.

The standard library's `tempfile` brings 0.5 MB of archivers along (`shutil`). An arbiter loads the modules of its
worker type before it forks, and never needs that; so it is imported where the first file is made, in the worker.
"""

from typing import IO


def temporary_file(*, is_buffered: bool = True) -> IO[bytes]:
    """Return a new file without a name, open for reading and writing; it is gone when it is closed.

    Raises:
        OSError: there is no room, or no directory to write to.
    """
    import tempfile  # noqa: PLC0415 (see the head of the module)

    return tempfile.TemporaryFile() if is_buffered else tempfile.TemporaryFile(buffering=0)


def temporary_directory() -> str:
    """Return where the files are made, for a message.

    Raises:
        OSError: there is no directory to write to.
    """
    import tempfile  # noqa: PLC0415 (see the head of the module)

    return tempfile.gettempdir()
