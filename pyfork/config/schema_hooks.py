"""The settings of hooks and of development, declared as those of `schema` are. Pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pyfork.config.declarations import LONGEST, RESTART, Form, Option


class HookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Functions of the application's that pyfork calls, as `module:function` (docs/hooks.md)."""

    on_starting: Annotated[
        str | None,
        Meta(
            description="Run in a process of its own before the first worker starts, which waits for it; an "
            "exception ends the start."
        ),
        Option(("--on-starting",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:on_starting"),
    ] = None
    when_ready: Annotated[
        str | None,
        Meta(description="Run in a process of its own when the first worker serves."),
        Option(("--when-ready",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:when_ready"),
    ] = None
    on_reload: Annotated[
        str | None,
        Meta(description="Run in a process of its own when a reload begins (HUP)."),
        Option(("--on-reload",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:on_reload"),
    ] = None
    pre_fork: Annotated[
        str | None,
        Meta(
            description="Run in a process of its own when a worker is about to be started, which does not wait for it."
        ),
        Option(("--pre-fork",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:pre_fork"),
    ] = None
    post_fork: Annotated[
        str | None,
        Meta(
            description="Run in each worker at its birth, before the application is imported (with `preload`:"
            " after the fork from the mold, so it is the place to open connections anew); an "
            "exception fails the boot."
        ),
        Option(("--post-fork",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:post_fork"),
    ] = None
    before_mold_freeze: Annotated[
        str | None,
        Meta(
            description="Run in a mold before workers are forked from it (the place to close connections); an"
            " exception fails the mold."
        ),
        Option(
            ("--before-mold-freeze",),
            "FUNCTION",
            Form.HOOK,
            default_text="none",
            example="myproject.hooks:before_mold_freeze",
        ),
    ] = None
    worker_ready: Annotated[
        str | None,
        Meta(description="Run in each worker just before it accepts connections; an exception fails the boot."),
        Option(("--worker-ready",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:worker_ready"),
    ] = None
    pre_request: Annotated[
        str | None,
        Meta(
            description="Run in the worker before each request, with its environ; an exception answers that "
            "request with 500."
        ),
        Option(("--pre-request",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:pre_request"),
    ] = None
    post_request: Annotated[
        str | None,
        Meta(
            description="Run in the worker after each response, with its environ and status, the octets of its body "
            "and the seconds that it took."
        ),
        Option(("--post-request",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:post_request"),
    ] = None
    worker_stuck: Annotated[
        str | None,
        Meta(description="Run in a process of its own when a worker has missed its deadline."),
        Option(("--worker-stuck",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:worker_stuck"),
    ] = None
    worker_exit: Annotated[
        str | None,
        Meta(description="Run in each worker as it ends, after its last request."),
        Option(("--worker-exit",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:worker_exit"),
    ] = None
    child_exit: Annotated[
        str | None,
        Meta(description="Run in a process of its own when a worker has ended."),
        Option(("--child-exit",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:child_exit"),
    ] = None
    on_exit: Annotated[
        str | None,
        Meta(description="Run in a process of its own when all workers have ended; pyfork waits for it."),
        Option(("--on-exit",), "FUNCTION", Form.HOOK, default_text="none", example="myproject.hooks:on_exit"),
    ] = None
    timeout: Annotated[
        float,
        Meta(
            ge=0.1,
            le=LONGEST,
            description="Seconds that a hook may take that runs in a process of its own; then it is killed, with all "
            "that it has started.",
        ),
        Option(("--hook-timeout",), "SECONDS"),
    ] = 10


class DevelopmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """While you write the application; nothing for production."""

    reload: Annotated[
        bool,
        Meta(
            description="Watch the application's files and reload when one changes. What does not import leaves the "
            "last good version serving and shows the error. Needs `pip install watchfiles`."
        ),
        Option(("--reload",), "", on_reload=RESTART),
    ] = False
    watch: Annotated[
        tuple[str, ...],
        Meta(
            description="Files and directories to watch besides the Python files in the working directory and in "
            "`server.pythonpath`; in these every file counts."
        ),
        Option(("--reload-extra-file", "--watch"), "PATH,...", Form.PATH, example=["templates"]),
    ] = ()
