"""The composition root: settings in, exit status out. Here, and only here, the arbiter meets the workers."""

import importlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pyfork import __version__
from pyfork.arbiter.core import Core
from pyfork.arbiter.events import Verb
from pyfork.arbiter.generations import Generation
from pyfork.arbiter.inheritance import FOREIGN, claim, receive
from pyfork.arbiter.launch import LISTEN_VARIABLES, Launch
from pyfork.arbiter.listeners import BoundListener, open_listeners
from pyfork.arbiter.loop import ArbiterLoop, Provisions
from pyfork.arbiter.pidfile import Pidfile
from pyfork.arbiter.predecessor import Predecessor
from pyfork.arbiter.spawn import BecameChild
from pyfork.arbiter.succession import PreviousCount, Succession
from pyfork.arbiter.systemd import Notifier
from pyfork.arbiter.upgrade import UpgradeCallbacks, Upgrades
from pyfork.arbiter.verbs import VERBS
from pyfork.cli.encryption import load_certificates, warn_of_tls
from pyfork.config.load import DEFAULT, Loaded
from pyfork.config.schema import Settings
from pyfork.development.watcher import watch_main
from pyfork.errors import ConfigurationError, QuitNow
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import AnyHandoff, Handoff, HookHandoff, MoldHandoff, WatchHandoff
from pyfork.log import error as error_log
from pyfork.process import title
from pyfork.process.fds import raise_descriptor_limit
from pyfork.process.memory import give_back
from pyfork.process.privileges import find_owner
from pyfork.process.signals import (
    block_all,
    disregard,
    ignore,
    none_blocked,
    raise_in_main_thread,
    unblock_all,
)
from pyfork.workers.boot import worker_main
from pyfork.workers.hook_process import hook_main
from pyfork.workers.lingering import MOST_OF_MANY, MOST_SOCKETS
from pyfork.workers.mold import mold_main
from pyfork.workers.registry import can_refork, find_class, is_ours, modules_before_fork, resolve_type

if TYPE_CHECKING:
    from pyfork.connection.certificates import Certificates

DESCRIPTORS_OF_A_CONNECTION = 3
"""At most, but for odd applications: the socket, a file that the application sends, and our own descriptor of it; or
the socket and a long body that waits on disk. `workers.connections` of them may be open, and lingering sockets."""
SPARE_DESCRIPTORS = 100
"""What the arbiter or a worker has open beside connections: listeners, pipes, logs, the application's files."""
PIPES_OF_A_PLACE = 6
"""The arbiter's ends of heartbeat, lifeline and control socket, for a worker and the one that replaces it."""

_log = logging.getLogger("pyfork.error")


def serve(
    loaded: Loaded,
    reload_configuration: Callable[[], Loaded],
    launch: Launch,
    predecessor: Predecessor | None = None,
) -> int:
    """Run pyfork until it has stopped; in a child, live its life.

    Args:
        loaded: the checked configuration.
        reload_configuration: reads and checks it anew, for HUP; raises ConfigurationError.
        launch: how this process was started, for USR2.
        predecessor: the old arbiter, when an upgrade has started this process.

    Returns:
        The exit status of this process, arbiter or child.

    Raises:
        ConfigurationError: an address, the pidfile or a log file cannot be had; nothing was started.
    """
    _heed_orders_while_starting()
    notifier = Notifier.from_environment(os.environ)
    if predecessor is not None:
        notifier.wait_for_turn()
    settings = loaded.settings
    try:
        unblock_all()  # an upgrade leaves all blocked until there are handlers
        _configure_logs(settings)
        for warning in (*loaded.warnings, *warn_of_tls(settings)):
            _log.warning("%s", warning)
        worker_class = _provide_class(settings)
        block_all()  # an order that came between two lines would leave behind what the first of them made
        first, pidfile = _open(loaded, worker_class, predecessor, notifier.forget)
    except QuitNow:
        disregard(VERBS)
        return ExitStatus.OK
    except ConfigurationError as error:
        notifier.refused(error.problems[0])
        raise
    try:
        _show_title(settings, "arbiter" if predecessor is None else "arbiter (new, starting)")
        _announce(first, predecessor)
        callbacks = UpgradeCallbacks(notifier.environment, notifier.hand_over, partial(_show_title, settings))
        upgrades = Upgrades(launch, pidfile, predecessor, callbacks)
        loop = ArbiterLoop(
            Core(first.plan(), random=random.Random(), succession=_succession(predecessor)),  # noqa: S311 - jitter, not a secret
            first,
            Provisions(partial(_load_generation, reload_configuration, pidfile), error_log.reopen, _restore),
            upgrades,
            notifier,
        )
    except BaseException:  # no descriptors are left for it, say
        _release(first.listeners, pidfile)
        raise
    status = _supervise(loop, pidfile)
    if not isinstance(status, ExitStatus):  # this process is a child now
        return _become(status)
    disregard(VERBS)
    if status is ExitStatus.FAILURE:
        notifier.refused("the arbiter has failed, its log says how")  # the next one finds what systemd keeps
        upgrades.leave_behind()
    else:
        notifier.keep(())
    loop.close()
    _release((), pidfile)
    _log.info("stopped (exit status %d)", status)
    return status


def _become(handoff: AnyHandoff) -> ExitStatus:
    """Live the life of the child that was born with ``handoff``; return its exit status."""
    match handoff:
        case Handoff():
            return worker_main(handoff)
        case MoldHandoff():
            return mold_main(handoff)
        case HookHandoff():
            return hook_main(handoff)
        case WatchHandoff():
            return watch_main(handoff)


def _succession(predecessor: Predecessor | None) -> Succession:
    if predecessor is None:
        return Succession()
    handover = predecessor.handover
    return Succession(PreviousCount(handover.count, handover.wanted, handover.bounds, handover.steps))


def _heed_orders_while_starting() -> None:
    """Let TERM, INT and QUIT end the start cleanly, and nothing else do anything, until the loop takes over."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        raise_in_main_thread(number, QuitNow)
    ignore(number for number, verb in VERBS.items() if verb not in {Verb.STOP, Verb.STOP_NOW})


def _supervise(loop: ArbiterLoop, pidfile: Pidfile | None) -> ExitStatus | AnyHandoff:
    """Return the arbiter's exit status in the arbiter, and in a child what it was born with."""
    try:
        return loop.run()
    except BecameChild as born:
        loop.abandon()
        if pidfile is not None:
            os.close(pidfile.fd)
        return born.handoff
    except QuitNow:  # it came before all were blocked, where Python drops what is raised
        return ExitStatus.OK
    except Exception:  # noqa: BLE001 - whatever it is, the pidfile and the sockets must not stay behind
        _log.critical("the arbiter has failed and ends; its workers finish their requests", exc_info=True)
        return ExitStatus.FAILURE


def _provide_class(settings: Settings) -> str:
    """Return the "module:Class" of the workers; import what they are to share, and what may fail.

    Nothing is open yet that would have to be closed then. What reading all that has left behind is given back.
    """
    worker_type = settings.workers.type
    worker_class = find_class(worker_type)
    if is_ours(worker_class):
        # Before any fork: an upgrade of pyfork on disk must not give old arbiters workers of the new version.
        for module in modules_before_fork(worker_type, serves_files=bool(settings.static.mounts)):
            importlib.import_module(module)
    give_back()
    return worker_class


def _open(
    loaded: Loaded, worker_class: str, predecessor: Predecessor | None, forget: Callable[[Iterable[str]], None]
) -> tuple[Generation, Pidfile | None]:
    """Take the pidfile, then the sockets; nothing stays behind when either cannot be had.

    All signals are blocked; they are accepted only while an address is waited for.
    """
    certificates = load_certificates(loaded.settings)
    path = loaded.settings.server.pidfile
    pidfile = predecessor.take_pidfile(path) if predecessor is not None else None
    if pidfile is None and path is not None:
        pidfile = Pidfile.acquire(path)
    try:
        listeners = _take_sockets(loaded, predecessor, forget)
    except BaseException:
        _release((), pidfile)
        raise
    for variable in LISTEN_VARIABLES:
        os.environ.pop(variable, None)
    return _make_generation(loaded, listeners, worker_class, certificates), pidfile


def _make_generation(
    loaded: Loaded, listeners: tuple[BoundListener, ...], worker_class: str, certificates: "Certificates | None"
) -> Generation:
    return Generation(loaded, listeners, worker_class, can_refork(loaded.settings.workers.type), certificates)


def _release(listeners: Iterable[BoundListener], pidfile: Pidfile | None) -> None:
    """Close what `_open` has opened, and remove what is ours of it; called in the arbiter."""
    for listener in listeners:
        listener.close()
    if pidfile is not None:
        pidfile.release()


def _wait(seconds: float) -> None:
    """Wait, while all signals are blocked, for an address in use; QuitNow may come."""
    with none_blocked():
        time.sleep(seconds)


def _take_sockets(
    loaded: Loaded, predecessor: Predecessor | None, forget: Callable[[Iterable[str]], None]
) -> tuple[BoundListener, ...]:
    """Return what to listen on: what was passed in, as far as it is wanted, and what has to be opened.

    The names of stored sockets that are not used are given to ``forget`` once nothing can fail any more.
    """
    server = loaded.settings.server
    passed = receive(os.environ) if predecessor is None else predecessor.passed
    is_set = loaded.origins.get("server.bind", DEFAULT) != DEFAULT
    claimed = claim(server.bind, passed, is_set=is_set, warn=_warn)
    if predecessor is not None:
        predecessor.leave_behind(claimed.unwanted)
    else:
        for one in claimed.unwanted:
            one.listener.close()
    listeners = claimed.listeners
    if not claimed.has_replaced:
        listeners = (*open_listeners(server, listeners, pause=_wait, warn=_warn), *_foreign(listeners))
    forget(claimed.stale_names)
    return listeners


def _foreign(listeners: Iterable[BoundListener]) -> list[BoundListener]:
    """Return those that were passed in and that no bind stands for: a reload keeps them too."""
    return [listener for listener in listeners if listener.bind.startswith(FOREIGN)]


def _warn(message: str) -> None:
    _log.warning("%s", message)


def _load_generation(
    reload_configuration: Callable[[], Loaded],
    pidfile: Pidfile | None,
    current: Generation,
    opened: Sequence[BoundListener],
) -> Generation:
    """Read the configuration for a reload and open what it adds to ``opened``; when it raises, nothing has changed.

    But for the pidfile, which is put back if it was removed, whatever the configuration is like.

    Raises:
        ConfigurationError: it is wrong, or an address or a log cannot be had.
        Exception: what it takes to read it, or to run its workers, cannot be imported (any more).
    """
    if pidfile is not None:
        pidfile.restore()
    loaded = reload_configuration()
    settings = loaded.settings
    worker_class = _provide_class(settings)
    certificates = load_certificates(settings)
    _configure_logs(settings)
    listeners: tuple[BoundListener, ...] = ()
    try:
        foreign = _foreign(current.listeners)
        if len(foreign) == len(current.listeners):  # they have replaced server.bind
            listeners = current.listeners
        else:
            listeners = (*open_listeners(settings.server, opened), *foreign)
        for warning in (*loaded.warnings, *warn_of_tls(settings)):
            _log.warning("%s", warning)
        _warn_of_restarts(current.loaded.settings, settings)
        _provide_descriptors(settings)
        _log.info("reloading with workers of %s", _describe(settings))
        _show_title(settings)
    except BaseException:
        _release((listener for listener in listeners if listener not in opened), None)
        _restore_logs(current)
        raise
    return _make_generation(loaded, listeners, worker_class, certificates)


def _configure_logs(settings: Settings) -> None:
    """Write to the logs that ``settings`` name from now on; their files belong to the workers' user."""
    error_log.configure(settings.log, find_owner(settings.server.user, settings.server.group))


def _restore(generation: Generation) -> None:
    """Be again what `_load_generation` has changed, as the candidate has failed."""
    _restore_logs(generation)
    _show_title(generation.loaded.settings)


def _show_title(settings: Settings, role: str = "arbiter") -> None:
    title.set_title(f"pyfork: {role} [{settings.label}]")


def _restore_logs(generation: Generation) -> None:
    """Go back to the logs of ``generation``; when that cannot be (its directory is gone), those in use stay."""
    try:
        _configure_logs(generation.loaded.settings)
    except ConfigurationError as error:
        for problem in error.problems:
            _log.error("cannot go back to the logs of the old configuration: %s", problem)


def _warn_of_restarts(old: Settings, new: Settings) -> None:
    if old.server.pidfile != new.server.pidfile:
        _log.warning("server.pidfile has changed; that takes a restart, a reload keeps the old one")
    if old.development.reload != new.development.reload:
        _log.warning("development.reload has changed; that takes a restart")


def _announce(generation: Generation, predecessor: Predecessor | None) -> None:
    settings = generation.loaded.settings
    role = "" if predecessor is None else f", to replace pid {predecessor.pid}"
    _log.info("pyfork %s starts (pid %d)%s", __version__, os.getpid(), role)
    for listener in generation.describe_listeners():
        _log.info("listening at %s", listener.text)
    _log.info("%d worker(s) of %s", settings.workers.count, _describe(settings))
    _provide_descriptors(settings)


def _describe(settings: Settings) -> str:
    """Return the workers' type and what they serve, as the log says it at a start and at a reload.

    Not their number: at a reload it is TTIN's and TTOU's as well.
    """
    workers, app = settings.workers, settings.server.app
    described = f"type {workers.type}"
    if resolve_type(workers.type) == "threadpool":
        described += f", {workers.threads} thread{'s' * (workers.threads > 1)} each" + "," * (app is not None)
    return described if app is None else f"{described} for {app}"


def _provide_descriptors(settings: Settings) -> None:
    """Raise the limit of open files, which the workers inherit, to what they and the arbiter may come to need.

    A hard limit in the way is worth a warning only if it does not allow one for each connection.
    """
    workers = settings.workers
    held, lingering = (1, MOST_SOCKETS) if resolve_type(workers.type) == "sync" else (workers.connections, MOST_OF_MANY)
    most = max(workers.count, workers.max or 0)
    pipes = PIPES_OF_A_PLACE * most
    limit = raise_descriptor_limit(max(DESCRIPTORS_OF_A_CONNECTION * held + lingering, pipes) + SPARE_DESCRIPTORS)
    needed = max(held, pipes) + SPARE_DESCRIPTORS
    if limit < needed:
        _log.warning(
            "workers.connections = %d and %d worker(s) need %d descriptors a process, and the hard limit "
            "(`ulimit -Hn`, LimitNOFILE= of systemd) allows %d: a worker that has none left accepts nothing",
            held,
            most,
            needed,
            limit,
        )
