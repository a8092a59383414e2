"""Users and groups: looked up in the arbiter, dropped in the worker before any of the application's code runs.

For good: real, effective and saved numbers change together, and the kernel takes a root's capabilities away with the
last of them (capabilities(7)). Whoever started pyfork may have told it not to (securebits), so the worker looks: it
does not serve when it could become root again, or still holds a capability.
"""

import ctypes
import grp
import os
import pwd
import sys
from contextlib import suppress

from msgspec import Struct

from pyfork.config.schema import ServerSettings
from pyfork.errors import BootError, ConfigurationError

_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h

LARGEST_ID = 2**32 - 2
"""The largest user or group number; -1 means "unchanged" in chown(2) and setresuid(2)."""


class User(Struct, frozen=True):
    """A user. ``name`` and ``gid`` are None for a number without an entry, as containers have them."""

    uid: int
    gid: int | None
    name: str | None


def find_user(user: str) -> User:
    """Return ``user``, given by name or by number.

    Raises:
        ConfigurationError: there is none of that name, or the number is none.
    """
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError) as error:
        if user.isdecimal() and int(user) <= LARGEST_ID:
            return User(int(user), None, None)
        raise ConfigurationError(
            f"server.user: there is no user {user!r} on this system (see `getent passwd`)"
        ) from error
    return User(entry.pw_uid, entry.pw_gid, entry.pw_name)


def find_group(group: str) -> int:
    """Return the number of ``group``, given by name or by number.

    Raises:
        ConfigurationError: there is none of that name, or the number is none.
    """
    if group.isdecimal() and int(group) <= LARGEST_ID:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigurationError(
            f"server.group: there is no group {group!r} on this system (see `getent group`)"
        ) from error


def find_owner(user: str | None, group: str | None) -> tuple[int, int]:
    """Return the uid and gid that files and sockets made for the workers should have; -1 is "as it is".

    Raises:
        ConfigurationError: the user or the group does not exist.
    """
    found = find_user(user) if user else User(-1, None, None)
    if group:
        return found.uid, find_group(group)
    return found.uid, -1 if found.gid is None else found.gid


def check_privileges(user: str | None, group: str | None) -> None:
    """Check in the arbiter that the workers will be able to become ``user`` and ``group``.

    Raises:
        ConfigurationError: one does not exist, or only root could become it, or no group can be found for the user.
    """
    uid, gid = find_owner(user, group)
    if os.geteuid() == 0:
        if uid not in {-1, 0} and gid == -1:
            raise ConfigurationError(
                f"server.user = {user!r} has no entry on this system that would name its group, and the workers would "
                f"keep root's: set server.group, as in group = {user!r}"
            )
        return
    if uid not in {-1, os.geteuid()}:
        raise ConfigurationError(
            f"server.user = {user!r}: only root can become another user; start pyfork as root, or as that user"
        )
    if gid not in {-1, *os.getresgid()}:
        raise ConfigurationError(
            f"server.group = {group!r}: only root can take another group than its own, supplementary groups do not "
            "count; start pyfork as root, or with that group (Group= of systemd, sg, newgrp)"
        )


def find_closed(path: str) -> str | None:
    """Return what keeps this process from reading the directory ``path``: itself, or one on the way to it.

    Returns:
        The first that its user may not enter, or not list; None when there is none, or no such directory.
    """
    way = os.sep
    for name in os.path.abspath(path).split(os.sep):
        way = os.path.join(way, name)
        if not os.path.isdir(way):
            return None
        if not os.access(way, os.X_OK):
            return way
    return None if os.access(way, os.R_OK) else way


def name_user() -> str:
    """Return how a message calls the user of this process."""
    with suppress(KeyError):  # a number without an entry, as containers have them
        return f"user {pwd.getpwuid(os.geteuid()).pw_name!r}"
    return f"user {os.geteuid()}"


def confine(server: ServerSettings) -> None:
    """Give up what the application is not to have: privileges, new ones, file modes; in a worker, before its import.

    Raises:
        BootError: the system refused.
    """
    drop_privileges(server.user, server.group)
    if server.no_new_privileges:
        forbid_new_privileges()
    if server.umask is not None:
        os.umask(server.umask)


def drop_privileges(user: str | None, group: str | None) -> None:
    """Become ``user`` with its supplementary groups, and ``group``, for good; called in the worker.

    Groups first: after the user has changed they no longer can be.

    Raises:
        BootError: the system refused.
    """
    if not user and not group:
        return
    was_root = os.geteuid() == 0
    try:
        uid, gid = find_owner(user, group)
        if gid not in {-1, os.getegid()} or os.geteuid() == 0:
            _drop_groups(user, gid)
        if uid not in {-1, os.geteuid()}:
            os.setresuid(uid, uid, uid)
    except (ConfigurationError, OSError) as error:
        raise BootError(f"cannot become user {user!r}, group {group!r}: {error}") from error
    # Who was not root has dropped nothing: a capability that a service manager gave to this very user stays.
    kept = find_kept_privileges(uid, gid) if was_root else ""
    if kept:
        raise BootError(f"became user {user!r}, group {group!r}, but not for good: {kept}")


def find_kept_privileges(uid: int, gid: int) -> str:
    """Return what this process could still do that it should not after a drop, "" when there is nothing.

    Args:
        uid: what it was to become; -1 is "as it was", and 0 is root, who keeps everything.
        gid: the same of the group; who has become another user is not to have kept root's.
    """
    if gid != -1 and (groups := {*os.getresgid(), gid}) != {gid}:
        return f"its groups are {sorted(groups)}"
    if uid not in {-1, 0} and gid == -1 and 0 in (groups := {*os.getresgid()}):
        return f"its groups are {sorted(groups)}"
    if uid in {-1, 0}:
        return ""
    if (users := {*os.getresuid(), uid}) != {uid}:
        return f"its users are {sorted(users)}"
    with suppress(PermissionError):  # as it has to be
        os.setresuid(0, 0, 0)
        return "it could become root again"
    return _find_capabilities()


def _find_capabilities() -> str:
    """Return the capabilities that are in force or could be, as proc(5) shows them; Linux only."""
    # In octets: a codec is a module, which this user may not be able to read.
    with suppress(OSError), open("/proc/self/status", "rb") as status:  # no /proc: setresuid has told the most of it
        for line in status:
            name, _, value = line.partition(b":")
            if name in {b"CapEff", b"CapPrm"} and int(value, 16):
                return f"it has kept capabilities ({name.decode()} {int(value, 16):x})"
    return ""


def forbid_new_privileges() -> None:
    """Let neither this process nor what it starts gain privileges by ``exec``; prctl(2), PR_SET_NO_NEW_PRIVS.

    Raises:
        BootError: the system refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise BootError(f"server.no_new_privileges: prctl: {os.strerror(ctypes.get_errno())}")


def check_no_new_privileges(*, is_wanted: bool) -> None:
    """Check in the arbiter that the workers will be able to `forbid_new_privileges`.

    Raises:
        ConfigurationError: it is wanted and this system has no such thing.
    """
    if is_wanted and sys.platform != "linux":
        raise ConfigurationError(
            "server.no_new_privileges: only Linux has PR_SET_NO_NEW_PRIVS; leave it out on this system"
        )


def _drop_groups(user: str | None, gid: int) -> None:
    if os.geteuid() == 0:
        name = find_user(user).name if user else None
        if name is not None:
            os.initgroups(name, gid)
        else:
            os.setgroups([] if gid == -1 else [gid])
    if gid != -1:
        os.setresgid(gid, gid, gid)
