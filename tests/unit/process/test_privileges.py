"""Users and groups. (That workers really become them is tested with a real arbiter.)"""

import grp
import os
import pwd
from pathlib import Path

import pytest

from pyfork.config.schema import ServerSettings
from pyfork.errors import BootError, ConfigurationError
from pyfork.process import privileges

ROOT = pwd.getpwuid(0)


def test_names_and_numbers() -> None:
    """Both lead to the same entry; the user's own group is the default."""
    assert privileges.find_user("root") == privileges.find_user("0") == privileges.User(0, ROOT.pw_gid, "root")
    assert privileges.find_group(grp.getgrgid(0).gr_name) == privileges.find_group("0") == 0
    assert privileges.find_owner(None, None) == (-1, -1)
    assert privileges.find_owner("root", None) == (0, ROOT.pw_gid)
    assert privileges.find_owner(None, "0") == (-1, 0)


@pytest.mark.parametrize("name", ["nobody-of-that-name", "4294967295", "9" * 30])
def test_who_does_not_exist_is_named(name: str) -> None:
    """Unknown users and groups are configuration errors that name the setting and the value."""
    with pytest.raises(ConfigurationError, match=rf"server\.user: there is no user '{name}'"):
        privileges.find_user(name)
    with pytest.raises(ConfigurationError, match=rf"server\.group: there is no group '{name}'"):
        privileges.find_group(name)


def test_a_number_without_an_entry_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run as numbers that no passwd file knows: then there are no supplementary groups."""
    assert privileges.find_user("123456") == privileges.User(123456, None, None)
    assert privileges.find_owner("123456", None) == (123456, -1)
    assert privileges.find_owner("123456", "234567") == (123456, 234567)
    calls: list[object] = []
    for name in ("initgroups", "setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *arguments, name=name: calls.append((name, *arguments)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "find_kept_privileges", lambda uid, gid: "")
    privileges.drop_privileges("123456", "7")
    assert calls == [("setgroups", [7]), ("setresgid", 7, 7, 7), ("setresuid", 123456, 123456, 123456)]


def test_a_number_without_an_entry_needs_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none to be found, and the workers would keep root's; told at the start, with the way out."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigurationError, match=r"'123456' has no entry .* set server\.group, as in group = '123456'"):
        privileges.check_privileges("123456", None)
    privileges.check_privileges("123456", "123456")
    monkeypatch.setattr(privileges, "find_user", lambda user: privileges.User(int(user), None, None))
    privileges.check_privileges("0", None)  # of root's, in a container without any entries
    monkeypatch.setattr(os, "geteuid", lambda: 123456)
    privileges.check_privileges("123456", None)


def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at the start, not by each worker; root may, and everybody may stay who they are."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    privileges.check_privileges("nobody", None)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(os, "getresgid", lambda: (4321, 4321, 4323))
    monkeypatch.setattr(os, "getgroups", lambda: [4322])
    with pytest.raises(ConfigurationError, match="only root can become another user"):
        privileges.check_privileges("root", None)
    for group in ("0", "4322"):
        with pytest.raises(ConfigurationError, match=r"only root can take .* supplementary groups do not count"):
            privileges.check_privileges(None, group)
    privileges.check_privileges(None, "4321")
    privileges.check_privileges(None, "4323")
    privileges.check_privileges(None, None)


def test_order_of_the_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups go before the user, who could not change them any more."""
    calls: list[object] = []
    for name in ("initgroups", "setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *arguments, name=name: calls.append((name, *arguments)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    monkeypatch.setattr(privileges, "find_kept_privileges", lambda uid, gid: "")
    nobody = pwd.getpwnam("nobody")
    privileges.drop_privileges("nobody", None)
    uid, gid = nobody.pw_uid, nobody.pw_gid
    assert calls == [("initgroups", "nobody", gid), ("setresgid", gid, gid, gid), ("setresuid", uid, uid, uid)]
    calls.clear()
    privileges.drop_privileges(None, str(gid))
    assert calls == [("setgroups", [gid]), ("setresgid", gid, gid, gid)]
    calls.clear()
    privileges.drop_privileges(None, None)
    assert calls == []


def test_a_refusal_of_the_system_is_a_boot_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker never goes on with rights that it should not have."""

    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "initgroups", refuse)
    with pytest.raises(BootError, match="cannot become user 'nobody'"):
        privileges.drop_privileges("nobody", None)


def pretend(
    monkeypatch: pytest.MonkeyPatch, users: tuple[int, ...], groups: tuple[int, ...], *, can_return: bool
) -> None:
    """Let this process look as if it had these numbers."""

    def setresuid(*_: int) -> None:
        if not can_return:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "getresuid", lambda: users)
    monkeypatch.setattr(os, "getresgid", lambda: groups)
    monkeypatch.setattr(os, "setresuid", setresuid)


def test_a_drop_that_can_be_undone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved number, a way back to root or a capability that is left: each is told, and the worker does not serve."""
    find = privileges.find_kept_privileges
    monkeypatch.setattr(privileges, "_find_capabilities", lambda: "")
    pretend(monkeypatch, (5, 5, 5), (7, 7, 7), can_return=False)
    assert find(5, 7) == find(5, -1) == find(-1, 7) == find(-1, -1) == ""
    assert find(5, 8) == "its groups are [7, 8]"
    pretend(monkeypatch, (5, 5, 0), (7, 7, 7), can_return=False)
    assert find(5, 7) == "its users are [0, 5]"
    pretend(monkeypatch, (5, 5, 5), (7, 7, 7), can_return=True)
    assert find(5, 7) == "it could become root again"
    assert find(0, 7) == ""
    pretend(monkeypatch, (5, 5, 5), (0, 0, 0), can_return=False)
    assert find(5, -1) == "its groups are [0]"
    assert find(5, 0) == find(0, -1) == find(-1, -1) == ""
    pretend(monkeypatch, (5, 5, 5), (7, 7, 7), can_return=False)
    monkeypatch.setattr(privileges, "_find_capabilities", lambda: "it has kept capabilities (CapEff 1)")
    assert find(5, 7) == "it has kept capabilities (CapEff 1)"


def test_what_is_kept_ends_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """With status 3 at the first start, as every failed boot."""
    for name in ("initgroups", "setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "find_kept_privileges", lambda uid, gid: "it could become root again")
    with pytest.raises(BootError, match="not for good: it could become root again"):
        privileges.drop_privileges("nobody", None)
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: pwd.getpwnam("nobody").pw_gid)
    privileges.drop_privileges("nobody", None)


def test_no_new_privileges_takes_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is refused at the start, rather than silently not done."""
    monkeypatch.setattr(privileges.sys, "platform", "darwin")
    privileges.check_no_new_privileges(is_wanted=False)
    with pytest.raises(ConfigurationError, match=r"server\.no_new_privileges: only Linux"):
        privileges.check_no_new_privileges(is_wanted=True)
    monkeypatch.setattr(privileges.sys, "platform", "linux")
    privileges.check_no_new_privileges(is_wanted=True)


def test_confinement_goes_from_the_user_to_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Privileges, new privileges, modes; what is not set is left alone."""
    calls: list[object] = []
    monkeypatch.setattr(privileges, "drop_privileges", lambda user, group: calls.append((user, group)))
    monkeypatch.setattr(privileges, "forbid_new_privileges", lambda: calls.append("no new ones"))
    monkeypatch.setattr(os, "umask", calls.append)
    privileges.confine(ServerSettings(user="www", group="web", no_new_privileges=True, umask=0o27))
    privileges.confine(ServerSettings())
    assert calls == [("www", "web"), "no new ones", 0o27, (None, None)]


def test_the_first_directory_that_is_closed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the way to one, or it itself; what is not there is not closed."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    refused: set[tuple[str, int]] = set()
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) not in refused)
    assert privileges.find_closed(str(inner)) is None
    refused.add((str(inner), os.R_OK))
    assert privileges.find_closed(str(inner)) == str(inner)
    refused.add((str(inner.parent), os.R_OK))
    assert privileges.find_closed(str(inner)) == str(inner), "to enter what is on the way is enough"
    refused.add((str(inner.parent), os.X_OK))
    assert privileges.find_closed(str(inner)) == str(inner.parent)
    assert privileges.find_closed(str(tmp_path / "nowhere" / "inner")) is None


def test_the_user_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number where there is no name."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert privileges.name_user() == f"user {ROOT.pw_name!r}"
    monkeypatch.setattr(os, "geteuid", lambda: 123456)
    assert privileges.name_user() == "user 123456"
