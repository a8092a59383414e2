"""A hook that has been imported, and what becomes of what it raises. Runs where the hook does: not in the arbiter."""

import logging
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pyfork.errors import HookError, QuitNow
from pyfork.hooks.catalogue import KINDS, describe_failure

_log = logging.getLogger("pyfork.error")


class Hook(Struct, frozen=True):
    """One hook of the user's.

    Attributes:
        name: of its setting, "post_fork" for one.
        specification: the dotted path.
        function: what that names.
    """

    name: str
    specification: str
    function: Callable[..., Any]

    def call(self, *arguments: object) -> None:
        """Call it where its exception stops something.

        Raises:
            HookError: it raised; its ``__cause__`` is the exception.
            QuitNow: the process is to end at once.
        """
        try:
            self.function(*arguments)
        except QuitNow:
            raise
        except BaseException as error:  # the user's code may raise anything, SystemExit included
            failure = describe_failure(self.name, self.specification, error)
            raise HookError(failure, KINDS[self.name].consequence) from error

    def call_safely(self, *arguments: object) -> None:
        """Call it where its exception stops nothing: the log has it.

        Raises:
            QuitNow: the process is to end at once.
        """
        try:
            self.call(*arguments)
        except HookError as error:
            log_failure(error)


def log_failure(error: HookError) -> None:
    """Log what a hook raised, what that stops, and the traceback from the user's first frame on."""
    _log.error("%s; %s", error, error.consequence, exc_info=error.exc_info())
