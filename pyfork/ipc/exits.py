"""Exit statuses: a promise to users and their supervisors (docs/settings.md repeats the table)."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What pyfork, and each of its processes, ends with."""

    OK = 0
    """Stopped as asked."""
    FAILURE = 1
    """Anything that has no status of its own."""
    CONFIGURATION = 2
    """Bad configuration or command line; nothing was started."""
    BOOT = 3
    """A worker could not boot at the first start."""
    APPLICATION = 4
    """The application, or a worker class of the user's own, could not be imported at the first start."""
