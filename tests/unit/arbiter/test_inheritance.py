"""Which of the sockets that were passed in serves which bind. Fakes stand for the sockets: nothing is bound."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyfork.arbiter import inheritance
from pyfork.arbiter.inheritance import Passed, claim
from pyfork.arbiter.listeners import BoundListener

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


class FakeSocket:
    """As much of a listening socket as the matching looks at."""

    def __init__(self, family: int, address: Any, *, is_v6only: bool = False) -> None:
        self.family = family
        self._address = address
        self._is_v6only = is_v6only

    def getsockname(self) -> Any:
        return self._address

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return int(self._is_v6only)

    def fileno(self) -> int:
        return 7


def passed(
    family: int, address: Any, bind: str = "", *, is_foreign: bool = True, inode: Any = None, **keywords: Any
) -> Passed:
    """A socket that came in; foreign ones from LISTEN_FDS, others from the store or an old arbiter."""
    number, name = keywords.pop("number", 3), keywords.pop("name", "")
    fake: Any = FakeSocket(family, address, **keywords)
    listener = BoundListener(bind or f"LISTEN_FDS:{number}", fake, is_inherited=is_foreign, inode=inode, maker=1)
    return Passed(listener, is_foreign, number, name)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` has two addresses, `both` too, `gone` none; numbers are themselves."""

    def resolve(bind: Any) -> list[tuple[int, tuple[object, ...]]]:
        if bind.host == "gone":
            raise OSError("Name or service not known")
        if bind.host == "localhost":
            return [(V4, ("127.0.0.1", bind.port)), (V6, ("::1", bind.port, 0, 0))]
        return [(V6, (bind.host, bind.port, 0, 0)) if ":" in bind.host else (V4, (bind.host, bind.port))]

    monkeypatch.setattr(inheritance, "resolve", resolve)


@pytest.fixture
def choose() -> Callable[..., dict[str, Any]]:
    """Claim, and return the address that serves each bind; `warnings` and `unwanted` are kept beside."""

    def run(binds: list[str], *sockets: Passed, is_set: bool = True) -> dict[str, Any]:
        warnings: list[str] = []
        claimed = claim(binds, sockets, is_set=is_set, warn=warnings.append)
        served = {one.bind: one.socket.getsockname() for one in claimed.listeners}
        return {
            **served,
            "warnings": warnings,
            "unwanted": [one.listener.socket.getsockname() for one in claimed.unwanted],
            "replaced": claimed.has_replaced,
            "stale": claimed.stale_names,
        }

    return run


def result(**changes: Any) -> dict[str, Any]:
    return {"warnings": [], "unwanted": [], "replaced": False, "stale": (), **changes}


def test_the_address_decides_not_the_order(choose: Callable[..., Any]) -> None:
    """TCP of both families, a path and an abstract name, each in another place; a bind that is left is opened."""
    binds = ["127.0.0.1:1", "[::1]:1", "unix:/a", "unix:@b", "127.0.0.1:9"]
    sockets = [
        passed(UNIX, b"\0b"),
        passed(UNIX, "/a"),
        passed(V6, ("::1", 1, 0, 0)),
        passed(V4, ("127.0.0.1", 1)),
    ]
    assert choose(binds, *sockets) == result(
        **{"127.0.0.1:1": ("127.0.0.1", 1), "[::1]:1": ("::1", 1, 0, 0), "unix:/a": "/a", "unix:@b": b"\0b"}
    )


def test_a_name_takes_the_address_that_it_would_open_first(choose: Callable[..., Any]) -> None:
    """And any other that it has, if that is all there is."""
    four, six = passed(V4, ("127.0.0.1", 1)), passed(V6, ("::1", 1, 0, 0))
    assert choose(["localhost:1"], six)["localhost:1"] == ("::1", 1, 0, 0)
    chosen = choose(["localhost:1"], passed(V6, ("::1", 1, 0, 0)), four)
    assert chosen["localhost:1"] == ("127.0.0.1", 1)
    assert len(chosen["warnings"]) == 1
    assert "nobody serves http://[::1]:1" in chosen["warnings"][0]


def test_a_dual_stack_wildcard_serves_ipv4(choose: Callable[..., Any]) -> None:
    """systemd's ListenStream=8000 is [::]:8000; the other way round IPv6 clients would be lost."""
    assert choose([":80"], passed(V6, ("::", 80, 0, 0)))["0.0.0.0:80"] == ("::", 80, 0, 0)
    assert choose([":80"], passed(V6, ("::", 80, 0, 0), is_v6only=True))["replaced"]
    assert choose(["[::]:80"], passed(V4, ("0.0.0.0", 80)))["replaced"]
    both = choose([":80"], passed(V6, ("::", 80, 0, 0)), passed(V4, ("0.0.0.0", 80)))
    assert both["0.0.0.0:80"] == ("0.0.0.0", 80)


def test_port_0_takes_what_others_leave(choose: Callable[..., Any]) -> None:
    """On the same host; after a crash the port that clients know is kept."""
    sockets = [passed(V4, ("127.0.0.1", port), is_foreign=False) for port in (5, 6)]
    assert choose(["127.0.0.1:0", "127.0.0.1:5"], *sockets) == result(
        **{"127.0.0.1:5": ("127.0.0.1", 5), "127.0.0.1:0": ("127.0.0.1", 6)}
    )
    assert choose(["127.0.0.2:0"], sockets[0])["unwanted"] == [("127.0.0.1", 5)]


def test_what_the_old_arbiter_says_comes_first(choose: Callable[..., Any]) -> None:
    """A name that leads elsewhere by now, or nowhere, keeps its socket, as at a reload."""
    sockets = [
        passed(V4, ("10.0.0.1", 1), "localhost:1", is_foreign=False),
        passed(V4, ("10.0.0.2", 2), "gone:2", is_foreign=False),
        passed(V4, ("10.0.0.3", 3), "fd://9", is_foreign=False),
    ]
    assert choose(["localhost:1", "gone:2", "fd://9", "gone:3"], *sockets) == result(
        **{"localhost:1": ("10.0.0.1", 1), "gone:2": ("10.0.0.2", 2), "fd://9": ("10.0.0.3", 3)}
    )


def test_a_descriptor_by_number_is_the_one_that_was_passed(choose: Callable[..., Any]) -> None:
    """fd://4 with LISTEN_FDS=2 is its second."""
    sockets = [passed(V4, ("127.0.0.1", 1), number=3), passed(V4, ("127.0.0.1", 2), number=4)]
    chosen = choose(["fd://4"], *sockets)
    assert chosen["fd://4"] == ("127.0.0.1", 2)


def test_without_a_bind_foreign_sockets_replace_it(choose: Callable[..., Any]) -> None:
    """All of them, without a warning; with one, if it is set and none of them matches."""
    sockets = [passed(V4, ("127.0.0.1", port), number=port) for port in (8000, 2)]
    expected = {"LISTEN_FDS:8000": ("127.0.0.1", 8000), "LISTEN_FDS:2": ("127.0.0.1", 2)}
    assert choose(["127.0.0.1:8000"], *sockets, is_set=False) == result(**expected, replaced=True)
    chosen = choose(["127.0.0.1:1"], *sockets)
    assert chosen.pop("warnings") == ["server.bind is not used: the sockets of LISTEN_FDS replace it"]
    assert chosen | {"warnings": []} == result(**expected, replaced=True)


def test_a_handed_on_socket_that_replaces_loses_its_bind(choose: Callable[..., Any]) -> None:
    """It served a bind in the old arbiter that there is no more."""
    chosen = choose(["127.0.0.1:1"], passed(V4, ("127.0.0.1", 5), "127.0.0.1:5"))
    assert chosen["LISTEN_FDS:7"] == ("127.0.0.1", 5)


def test_twins_are_served_too(choose: Callable[..., Any]) -> None:
    """SO_REUSEPORT spreads connections over all sockets of an address; a bind named twice is one."""
    sockets = [passed(V4, ("127.0.0.1", 1), number=number) for number in (3, 4)]
    assert choose(["127.0.0.1:1", "127.0.0.1:1"], *sockets) == result(
        **{"127.0.0.1:1": ("127.0.0.1", 1), "LISTEN_FDS:4": ("127.0.0.1", 1)}
    )


def test_stored_sockets_serve_a_bind_or_nobody(choose: Callable[..., Any], tmp_path: Path) -> None:
    """They never replace a bind; their names are told, so that the store forgets them. So it is with a lost path."""
    path = tmp_path / "a.sock"
    path.touch()
    inode = (path.stat().st_dev, path.stat().st_ino)

    def stored(address: Any, name: str, inode: Any = None) -> Passed:
        return passed(UNIX, address, is_foreign=False, name=name, inode=inode)

    sockets = [stored(str(path), "pyfork-1", inode), stored("/gone", "pyfork-2"), stored("/moved", "other", (1, 2))]
    binds = [f"unix:{path}", "unix:/gone", "unix:/moved"]
    assert choose(binds, *sockets, is_set=False) == result(
        **{f"unix:{path}": str(path)}, unwanted=["/gone", "/moved"], stale=("pyfork-2",)
    )


def test_nothing_passed_is_nothing_served(choose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """LISTEN_PID names somebody else, or LISTEN_FDS is 0."""
    assert choose(["127.0.0.1:1"]) == result()
    assert inheritance.receive({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    assert inheritance.receive({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) == []
