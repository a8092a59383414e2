"""The arbiter's sockets: bound once, inherited by every worker, removed by the process that made them.

A reload keeps the socket of every address that stays, opens the new ones before it closes the old ones, and closes
nothing when one of them cannot be opened. `BoundListener` lives in the arbiter; workers see `ipc.messages.Listener`.
"""

import contextlib
import ctypes
import errno
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from pyfork.arbiter.conflicts import Held, explain_own
from pyfork.config.binds import Bind, parse_bind
from pyfork.config.schema import ServerSettings
from pyfork.errors import ConfigurationError
from pyfork.ipc.messages import Listener
from pyfork.process.privileges import find_owner
from pyfork.process.queues import count_queued

RETRIES = 5
RETRY_PAUSE = 1.0
"""Seconds. Five attempts a second apart, as gunicorn: a predecessor that is still stopping gets out of the way."""

_log = logging.getLogger("pyfork.error")

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h; the socket module has no names for them
MOST_NOT_SENT = 128 * 1024
"""Octets of a response that the kernel takes beyond what is on its way to the client (TCP_NOTSENT_LOWAT, tcp(7)).

Otherwise it takes megabytes, whatever the client reads: copying them is the better part of serving a large response to
a slow reader, so that a few hundred of those each second keep a worker from its other clients, and two thousand fill
the kernel's memory for TCP. A client that reads keeps its rate: what is in flight does not count.
"""
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_LONGEST_QUEUE = 65535  # the kernel caps it (somaxconn), as it does systemd's default
_TCP_INFO_SACKED = slice(28, 32)  # tcpi_sacked of struct tcp_info: for a listening socket, its backlog (linux/tcp.h)
_RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, k = 0: drop every segment


class BoundListener(Struct, eq=False):
    """A listening socket in the arbiter.

    While two arbiters hold it during an upgrade, one of them owns it: the other neither removes its path nor stops it.

    Attributes:
        bind: the address as configured, canonical; the identity across reloads.
        socket: bound, listening, non-blocking.
        is_inherited: passed in by systemd or a parent, so never unlinked.
        inode: device and inode of the unix socket that we made, else None.
        maker: the pid of the process that owns it: who bound it, or took over from who did.
    """

    bind: str
    socket: socket.socket
    is_inherited: bool
    inode: tuple[int, int] | None
    maker: int

    @property
    def is_ours_alone(self) -> bool:
        """Whether its address is in use as long as any process of ours holds the socket: not a path, not passed in."""
        return not self.is_inherited and self.inode is None

    @property
    def is_owned(self) -> bool:
        """Whether this process may stop it and remove its path."""
        return self.maker == os.getpid()

    def take_over(self) -> None:
        """Own it from now on."""
        self.maker = os.getpid()

    def hand_over(self, pid: int) -> None:
        """Leave it to process ``pid``."""
        self.maker = pid

    def describe(self, *, is_tls: bool = False) -> Listener:
        """Return what a worker has to know of it."""
        if self.socket.family == socket.AF_UNIX:
            name = self.socket.getsockname()
            path = "@" + name[1:].decode() if isinstance(name, bytes) else name
            return Listener(self.socket.fileno(), "unix", path, 0, f"unix:{path}" + " (TLS)" * is_tls, is_tls)
        host, port = self.socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if is_tls else "http"
        return Listener(self.socket.fileno(), "tcp", host, port, f"{scheme}://{shown}:{port}", is_tls)

    def unlink(self) -> None:
        """Remove the unix socket's file if this process made it and it is still ours."""
        if self.inode is None or not self.is_owned:
            return
        path = self.socket.getsockname()
        try:
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == self.inode:
                os.unlink(path)
        except FileNotFoundError:
            pass  # removed by somebody else: then there is nothing to do
        except OSError as error:
            _log.warning("cannot remove the socket %s: %s", path, error.strerror)

    def close(self) -> None:
        """Remove what we made and close; called in the arbiter."""
        self.unlink()
        self.socket.close()

    def refuse(self) -> None:
        """Let nothing new into the queue, and leave what is in it to the workers.

        TCP: a socket filter drops every segment, so a new client's SYN meets silence and, once the socket is closed, a
        refusal; closing at once would reset those that are queued. Where a filter takes privileges (CAP_NET_ADMIN,
        since Linux 6.18), the queue is given no length: as long as it is not empty a SYN meets silence as well, so one
        client at most gets in and is reset. Unix: the path goes, so nobody new finds it.
        """
        if not self.is_owned:
            return
        if self.socket.family == socket.AF_UNIX:
            self.unlink()
        elif sys.platform == "linux":
            program = ctypes.create_string_buffer(_RETURN_NOTHING)
            program_of_one = struct.pack("HP", 1, ctypes.addressof(program))
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program_of_one)
            except PermissionError:
                self.socket.listen(0)

    def accept_again(self) -> None:
        """Undo `refuse` for a socket that outlives us (a stored or passed one belongs to systemd)."""
        if self.socket.family == socket.AF_UNIX or sys.platform != "linux":
            return
        with contextlib.suppress(OSError):  # ENOENT: no filter is attached, which is what we want
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        if _queue_length(self.socket) == 0:
            self.socket.listen(_LONGEST_QUEUE)


def count_lost(listeners: Iterable[BoundListener]) -> int:
    """Return how many clients still wait at sockets that end with this process; the kernel will reset them."""
    return sum(count_queued(one.socket) for one in listeners if one.is_owned and not one.is_inherited)


def _queue_length(listener: socket.socket) -> int:
    """Return how many connections may wait at a TCP listener (Linux)."""
    information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SACKED.stop)
    return int.from_bytes(information[_TCP_INFO_SACKED], sys.byteorder)


class _Trying(Struct, frozen=True):
    """How addresses are tried; `open_listeners` says what the first two are.

    Attributes:
        pause: None where there is no second try.
        warn: gets a sentence for every retry.
        held: what this pyfork listens on while it reloads.
    """

    pause: Callable[[float], None] | None
    warn: Callable[[str], object]
    held: Sequence[Held]


def open_listeners(
    settings: ServerSettings,
    current: Sequence[BoundListener] = (),
    *,
    pause: Callable[[float], None] | None = None,
    warn: Callable[[str], object] = str,
) -> tuple[BoundListener, ...]:
    """Open every address of ``settings.bind``; those that ``current`` has keep their socket.

    Args:
        settings: ``bind``, ``backlog``, ``reuse_port``, ``umask``, ``user`` and ``group`` are used.
        current: what the running server listens on (at a reload), or what was passed in (at a start).
        pause: at a start, waits the given seconds before an address in use is tried again.
        warn: gets a sentence for every retry.

    Raises:
        ConfigurationError: one or more addresses cannot be opened; what was opened here is closed again.
    """
    kept = {listener.bind: listener for listener in current}
    binds = list(dict.fromkeys(parse_bind(text).text for text in settings.bind))
    opened: list[BoundListener] = []
    try:
        held = _held(current) if pause is None else []
        problems = _open_each(
            [text for text in binds if text not in kept], settings, opened, _Trying(pause, warn, held)
        )
        if problems:
            raise ConfigurationError(*problems)  # noqa: TRY301 - one place closes what was opened
    except BaseException:  # QuitNow too, while an address is waited for
        for listener in opened:
            listener.close()
        raise
    by_bind = {**kept, **{listener.bind: listener for listener in opened}}
    for text in binds:
        if text in kept and not kept[text].is_inherited:
            kept[text].socket.listen(settings.backlog)  # a second listen() changes the backlog and nothing else
    return tuple(by_bind[text] for text in binds)


def _open_each(
    binds: Sequence[str],
    settings: ServerSettings,
    opened: list[BoundListener],
    trying: _Trying,
) -> list[str]:
    """Open each address into ``opened``; return what is wrong with the others."""
    problems: list[str] = []
    for text in binds:
        try:
            opened.append(_open_patiently(parse_bind(text), settings, trying))
        except ConfigurationError as error:
            problems += error.problems
    return problems


def _held(current: Sequence[BoundListener]) -> list[Held]:
    """Return the TCP addresses of listeners."""
    tcp = [listener for listener in current if listener.socket.family != socket.AF_UNIX]
    return [Held(listener.bind, *listener.socket.getsockname()[:2]) for listener in tcp]


def _open_patiently(bind: Bind, settings: ServerSettings, trying: _Trying) -> BoundListener:
    pause = trying.pause
    for attempt in range(1, RETRIES + 1):
        try:
            return _open(bind, settings)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and pause is not None and attempt < RETRIES:
                trying.warn(
                    f"{bind.text} is in use; trying again in {RETRY_PAUSE:g} s (attempt {attempt} of {RETRIES})"
                )
                pause(RETRY_PAUSE)
                continue
            raise ConfigurationError(f"server.bind: {bind.text}: {_explain(error, bind, trying.held)}") from error
    raise AssertionError("the last attempt returns or raises")


def _explain(error: OSError, bind: Bind, held: Sequence[Held]) -> str:
    if error.errno == errno.EADDRINUSE and held and bind.kind in {"tcp4", "tcp6"}:
        host, port = resolve(bind)[0][1][:2]
        own = explain_own(str(host), int(str(port)), held)
        if own is not None:
            return own
    hints = {
        errno.EADDRINUSE: "the address is in use; stop who uses it (see `ss -ltnp`) or choose another port",
        errno.EACCES: "permission denied; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, and a "
        "unix socket needs a directory that can be written",
        errno.EADDRNOTAVAIL: "this machine does not have that address (see `ip address`)",
        errno.ENOENT: "the directory of the unix socket does not exist",
    }
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be resolved: {error.strerror}"
    return hints.get(error.errno or 0, error.strerror or str(error))


def _set_options(listener: socket.socket) -> None:
    """Set what accepted sockets inherit, at no cost for each of them."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _NOTSENT_LOWAT is not None:
        listener.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, MOST_NOT_SENT)


def _open(bind: Bind, settings: ServerSettings) -> BoundListener:
    if bind.kind == "fd":
        return adopt(bind.fd, bind.text)
    if bind.kind in {"unix", "abstract"}:
        return _open_unix(bind, settings)
    family, address = resolve(bind)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_options(listener)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and _has_ipv4_twin(bind, settings):
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(settings.backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return BoundListener(bind.text, listener, is_inherited=False, inode=None, maker=os.getpid())


def resolve(bind: Bind) -> list[tuple[int, tuple[object, ...]]]:
    """Return the family and address of each socket that a TCP ``bind`` can mean; the first is what is opened.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    ipv4_first = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)  # "localhost" means 127.0.0.1 to most
    return [(family, address) for family, _, _, _, address in ipv4_first]


def _has_ipv4_twin(bind: Bind, settings: ServerSettings) -> bool:
    """Whether another bind wants the same port on IPv4, which a dual-stack socket would take from it."""
    others = (parse_bind(text) for text in settings.bind)
    return any(other.kind == "tcp4" and other.port == bind.port for other in others)


def _open_unix(bind: Bind, settings: ServerSettings) -> BoundListener:
    owner = find_owner(settings.user, settings.group) if os.geteuid() == 0 else None  # before anything is made
    address = "\0" + bind.path if bind.kind == "abstract" else bind.path
    opened = BoundListener(
        bind.text, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), is_inherited=False, inode=None, maker=os.getpid()
    )
    try:
        if bind.kind == "unix":
            _remove_stale(bind.path)
        before = os.umask(settings.umask) if settings.umask is not None else None
        try:
            opened.socket.bind(address)
        finally:
            if before is not None:
                os.umask(before)
        if bind.kind == "unix":
            made = os.lstat(bind.path)
            opened.inode = (made.st_dev, made.st_ino)
            if owner is not None:
                os.chown(bind.path, *owner, follow_symlinks=False)  # whatever may have taken its place
        opened.socket.listen(settings.backlog)
        opened.socket.setblocking(False)
    except (ConfigurationError, OSError):
        opened.close()
        raise
    return opened


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        ConfigurationError: the path is something other than a socket.
        OSError: EADDRINUSE, somebody listens on it.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(
            f"server.bind: unix:{path} exists and is not a socket; remove it or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def adopt(fd: int, text: str) -> BoundListener:
    """Return a listener of the descriptor ``fd``, which somebody else opened and passed in.

    Raises:
        ConfigurationError: it is no listening stream socket.
    """
    try:
        os.set_inheritable(fd, False)  # the application's own children are not to hold it
        listener = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise ConfigurationError(f"{text}: descriptor {fd} is not an open socket: {error.strerror}") from error
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise ConfigurationError(f"{text}: descriptor {fd} is not a listening stream socket")
    listener.setblocking(False)
    if listener.family in {socket.AF_INET, socket.AF_INET6}:
        _set_options(listener)
    adopted = BoundListener(text, listener, is_inherited=True, inode=None, maker=os.getpid())
    adopted.accept_again()  # a predecessor that was killed while it stopped has left its filter
    return adopted
