"""The child subreaper of prctl(2): orphans below this process become its own children, and it can wait for them."""

import ctypes
import os

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt what is orphaned below this process from now on; called in the arbiter. Children do not inherit it.

    Raises:
        OSError: the system has no such thing (only Linux does).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "prctl"):
        raise OSError(0, "this system has no child subreaper")
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(error)}")
