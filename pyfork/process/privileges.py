"""Users and groups: looked up in the arbiter, dropped in the worker before any of the application's code runs."""

import grp
import os
import pwd

from pyfork.errors import BootError, ConfigurationError


def find_user(user: str) -> pwd.struct_passwd:
    """Return the entry of ``user``, a name or a number.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError) as error:
        raise ConfigurationError(
            f"server.user: there is no user {user!r} on this system (see `getent passwd`)"
        ) from error


def find_group(group: str) -> int:
    """Return the number of ``group``, a name or a number.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_gid
    except (KeyError, OverflowError) as error:
        raise ConfigurationError(
            f"server.group: there is no group {group!r} on this system (see `getent group`)"
        ) from error


def find_owner(user: str | None, group: str | None) -> tuple[int, int]:
    """Return the uid and gid that files and sockets made for the workers should have; -1 is "as it is".

    Raises:
        ConfigurationError: the user or the group does not exist.
    """
    uid = find_user(user).pw_uid if user else -1
    if group:
        return uid, find_group(group)
    return uid, find_user(user).pw_gid if user else -1


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
        if user:
            os.initgroups(find_user(user).pw_name, gid)
        else:
            os.setgroups([gid])
    if gid != -1:
        os.setresgid(gid, gid, gid)
