"""Users and groups: looked up in the arbiter, dropped in the worker before any of the application's code runs."""

import grp
import os
import pwd
from dataclasses import dataclass

from pyfork.errors import BootError, ConfigurationError

LARGEST_ID = 2**32 - 2
"""The largest user or group number; -1 means "unchanged" in chown(2) and setresuid(2)."""


@dataclass(frozen=True, slots=True)
class User:
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
        ConfigurationError: one does not exist, or only root could become it.
    """
    uid, gid = find_owner(user, group)
    if os.geteuid() == 0:
        return
    if uid not in {-1, os.geteuid()}:
        raise ConfigurationError(
            f"server.user = {user!r}: only root can become another user; start pyfork as root, or as that user"
        )
    if gid not in {-1, os.getegid(), *os.getgroups()}:
        raise ConfigurationError(f"server.group = {group!r}: only root can take a group that this user does not have")


def drop_privileges(user: str | None, group: str | None) -> None:
    """Become ``user`` with its supplementary groups, and ``group``, for good; called in the worker.

    Groups first: after the user has changed they no longer can be.

    Raises:
        BootError: the system refused.
    """
    if not user and not group:
        return
    try:
        uid, gid = find_owner(user, group)
        if gid not in {-1, os.getegid()} or os.geteuid() == 0:
            _drop_groups(user, gid)
        if uid not in {-1, os.geteuid()}:
            os.setresuid(uid, uid, uid)
    except (ConfigurationError, OSError) as error:
        raise BootError(f"cannot become user {user!r}, group {group!r}: {error}") from error


def _drop_groups(user: str | None, gid: int) -> None:
    if os.geteuid() == 0:
        name = find_user(user).name if user else None
        if name is not None:
            os.initgroups(name, gid)
        else:
            os.setgroups([] if gid == -1 else [gid])
    if gid != -1:
        os.setresgid(gid, gid, gid)
