"""The life of the watcher, a child of the arbiter's that says which files have changed.

Everything here runs in that child: the library that watches is imported here and in no other process. It watches with
the privileges of a worker and cannot signal an arbiter of root's, so it says a line on a pipe, which is made a reload.
"""

import importlib
import logging
import os
from typing import Any

from pyfork.development.changes import SingleFiles, WatchList, describe, make_watch_list
from pyfork.errors import BootError
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import WatchHandoff, encode_change
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.privileges import confine

LOOK_INTERVAL_MS = 100
"""Milliseconds between two looks at single files, and between a save and its reload at most (`_STEP_MS` at least)."""
_STEP_MS = 50
"""Milliseconds of quiet after a change before it is told: editors and checkouts write many files at once."""

_log = logging.getLogger("pyfork.error")


def watch_main(handoff: WatchHandoff) -> ExitStatus:
    """Say what changes until the arbiter is gone or ends this process; called on a clean stack.

    Returns:
        The exit status, when watching cannot go on.
    """
    server = handoff.settings.server
    title.set_title(f"pyfork: watcher [{handoff.settings.label}]")
    error_log.set_identity("watcher")
    try:
        library = importlib.import_module("watchfiles")  # the workers' user may not be able to read where it is
        confine(server)
        lifeline.arm(handoff.lifeline_fd, 0.0, lambda: None)  # the kernel ends it then
        os.set_blocking(handoff.words_fd, True)
        _watch(library, handoff)
    except BrokenPipeError:
        return ExitStatus.OK  # the arbiter is gone
    except (BootError, ImportError, OSError) as error:
        _log.error("cannot watch files: %s%s", error, _advice(error))
    return ExitStatus.FAILURE


def _watch(library: Any, handoff: WatchHandoff) -> None:
    listed, missing = make_watch_list(handoff.settings, handoff.file)
    for path in missing:
        _log.warning("%s is not there, so it is not watched", path)
    single = SingleFiles(listed.files)
    has_begun = False
    for changes in library.watch(
        *listed.directories,
        watch_filter=lambda _change, path: listed.has(path),
        step=_STEP_MS,
        rust_timeout=LOOK_INTERVAL_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        if not has_begun:  # only now is nothing missed any more
            has_begun = True
            _log.info("watching %s", _names(listed))
        changed = {path for _, path in changes} | single.find_changed()
        if changed:
            os.write(handoff.words_fd, encode_change(describe(changed, listed.sources[0])))


def _names(listed: WatchList) -> str:
    return ", ".join(dict.fromkeys([*listed.directories, *listed.files]))


def _advice(error: Exception) -> str:
    if "watch limit" in str(error):
        return (
            " (raise it, as in `sysctl fs.inotify.max_user_watches=524288`, or set WATCHFILES_FORCE_POLLING=1 in the "
            "environment; a working directory with less below it needs fewer)"
        )
    return ""
