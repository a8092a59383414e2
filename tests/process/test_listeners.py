"""Addresses: TCP on IPv4 and IPv6, unix sockets, inherited descriptors, and what can be wrong with them."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyfork.arbiter.listeners import BoundListener, open_listeners
from pyfork.config.schema import ServerSettings
from pyfork.errors import ConfigurationError
from tests.harness import PATIENCE, SAMPLES, Server, parse_response, read_all, reserve_port, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


BUSY = """
import os, time
def app(environ, start_response):
    if environ["PATH_INFO"] == "/busy":
        open("busy", "w").close()
        while not os.path.exists("free"):
            time.sleep(0.01)
    start_response("200 OK", [])
    return [b"fine"]
"""


def ask(address: object, family: socket.AddressFamily) -> bytes:
    """Send one request and return the body of the answer."""
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)  # it may have to boot yet
        client.connect(address)
        client.sendall(REQUEST)
        return parse_response(read_all(client))[0].body


def run_pyfork(*arguments: str, cwd: Path = SAMPLES) -> subprocess.CompletedProcess[str]:
    """Run pyfork to its end."""
    environ = {name: value for name, value in os.environ.items() if name not in {"PORT", "WEB_CONCURRENCY"}}
    return subprocess.run(
        [sys.executable, "-m", "pyfork", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_tcp(start: Callable[..., Server], host: str) -> None:
    """IPv4, IPv6 and host names can be bound."""
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    port = reserve_port(family)
    server = start(bind=[f"{host}:{port}"])
    server.wait_workers(1)
    assert ask((host.strip("[]"), port), family)


def test_wildcards_of_both_families_share_a_port(start: Callable[..., Server]) -> None:
    """0.0.0.0 and [::] with one port are two sockets, whatever the order."""
    port = reserve_port()
    server = start(bind=[f"[::]:{port}", f"0.0.0.0:{port}"])
    server.wait_workers(1)
    assert ask(("127.0.0.1", port), socket.AF_INET)
    assert ask(("::1", port), socket.AF_INET6)


def test_unix_socket(start: Callable[..., Server], tmp_path: Path) -> None:
    """A unix socket has the mode that umask leaves, replaces a stale one, and is removed at the end."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = start(bind=[f"unix:{path}"], settings={"server": {"umask": "0o027"}})
    server.wait_workers(1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert ask(str(path), socket.AF_UNIX)
    server.stop()
    assert not path.exists()


def refusals(*binds: str, current: tuple[BoundListener, ...]) -> tuple[str, ...]:
    """Return what a reload to ``binds`` says, one problem for each address that it cannot have."""
    with pytest.raises(ConfigurationError) as caught:
        open_listeners(ServerSettings(bind=binds), current)
    return caught.value.problems


def test_a_reload_says_what_is_in_the_way_of_an_address() -> None:
    """Somebody else, or pyfork itself, for which there is another way out; other problems have neither."""
    current = open_listeners(ServerSettings(bind=("127.0.0.1:0",)))
    port = current[0].socket.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        other = f"127.0.0.1:{foreign.getsockname()[1]}"
        found = refusals(
            other, f"127.0.0.1:{port}", f"0.0.0.0:{port}", "no-such-host.invalid:80", "192.0.2.1:80", current=current
        )
    assert len(found) == 5
    assert found[0].startswith(f"server.bind: {other}: the address is in use; stop who uses it (see `ss -ltnp`)")
    assert found[1].endswith(
        "pyfork itself listens there, as 127.0.0.1:0; leave that in server.bind, or restart pyfork instead"
    )
    assert "perhaps by pyfork itself" in found[2]
    assert "cannot be resolved" in found[3]
    assert "this machine does not have that address" in found[4]
    assert not any("restart" in found[index] for index in (0, 3, 4))
    current[0].socket.close()


@pytest.mark.parametrize("step", ["chown", "listen"])
def test_a_unix_socket_that_cannot_be_finished_leaves_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A reload that fails changes nothing: clients would find a path that nobody listens at."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if step == "chown":
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "chown", refuse)
    else:
        monkeypatch.setattr(socket.socket, "listen", refuse)
    path = tmp_path / "a.sock"
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigurationError, match="Operation not permitted"):
        open_listeners(ServerSettings(bind=(f"unix:{path}",)))
    assert not path.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_unix_socket_of_nobodys_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is to be is known before there is anything to leave behind."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigurationError, match="there is no user"):
        open_listeners(ServerSettings(bind=(f"unix:{tmp_path}/a.sock",), user="nobody-of-that-name"))
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_has_taken_a_new_sockets_place_is_not_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of the workers', a link to a file of root's may be there between two system calls."""
    given: list[tuple[object, bool]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        os, "chown", lambda path, uid, gid, *, follow_symlinks=True: given.append((path, follow_symlinks))
    )
    (tmp_path / "secret").touch()
    bind = socket.socket.bind

    def bind_and_lose(listener: socket.socket, address: str) -> None:
        bind(listener, address)
        os.rename(address, f"{address}.1")
        os.symlink(tmp_path / "secret", address)

    monkeypatch.setattr(socket.socket, "bind", bind_and_lose)
    [listener] = open_listeners(ServerSettings(bind=(f"unix:{tmp_path}/a.sock",), user="nobody"))
    assert given == [(f"{tmp_path}/a.sock", False)]
    listener.socket.close()


def test_a_workers_end_does_not_remove_the_unix_socket(start: Callable[..., Server], tmp_path: Path) -> None:
    """Only the process that made the socket removes it."""
    path = tmp_path / "a.sock"
    server = start(bind=[f"unix:{path}"])
    [worker] = server.wait_workers(1)
    os.kill(worker, 15)
    wait_until(lambda: worker not in server.workers(), "the worker has gone")
    server.wait_workers(1)
    assert ask(str(path), socket.AF_UNIX)


def test_a_unix_socket_that_another_has_made_anew_stays(start: Callable[..., Server], tmp_path: Path) -> None:
    """At the end the path is removed only while it leads to our own socket."""
    path = tmp_path / "a.sock"
    server = start(bind=[f"unix:{path}"])
    server.wait_workers(1)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        server.stop()
        assert path.exists()


def test_abstract_socket(start: Callable[..., Server], tmp_path: Path) -> None:
    """unix:@name is in the abstract namespace."""
    name = f"pyfork-test-{os.getpid()}-{tmp_path.name}"
    server = start(bind=[f"unix:@{name}"])
    server.wait_workers(1)
    assert ask("\0" + name, socket.AF_UNIX)


def test_a_regular_file_is_never_replaced(tmp_path: Path) -> None:
    """A path that is no socket is refused with status 2, and kept."""
    path = tmp_path / "file"
    path.write_text("mine")
    result = run_pyfork("-b", f"unix:{path}", "hello:app")
    assert result.returncode == 2
    assert "is a regular file, and pyfork only replaces sockets" in result.stderr
    assert path.read_text() == "mine"


@pytest.mark.slow
def test_a_port_in_use_is_tried_five_times(tmp_path: Path) -> None:
    """The port is tried again, a second apart; then the status is 2 and the message names it."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        result = run_pyfork("-b", address, "hello:app")
    assert result.returncode == 2
    assert result.stderr.count("trying again") == 4
    assert f"{address}: the address is in use" in result.stderr


@pytest.mark.slow
def test_a_unix_socket_in_use_is_not_taken_over(start: Callable[..., Server], tmp_path: Path) -> None:
    """A second pyfork on the same path gives up and leaves the first one serving."""
    path = tmp_path / "a.sock"
    server = start(bind=[f"unix:{path}"])
    server.wait_workers(1)
    result = run_pyfork("-b", f"unix:{path}", "hello:app")
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert ask(str(path), socket.AF_UNIX)


def test_all_addresses_that_cannot_be_had_are_told_at_once(tmp_path: Path) -> None:
    """Two faults give two messages, and nothing stays bound."""
    good = tmp_path / "good.sock"
    result = run_pyfork("-b", f"unix:{good}", "-b", "192.0.2.1:8000", "-b", "198.51.100.1:8000", "hello:app")
    assert result.returncode == 2
    for address in ("192.0.2.1:8000", "198.51.100.1:8000"):
        assert f"{address}: this machine does not have that address" in result.stderr
    assert not good.exists()


def test_a_descriptor_by_number(tmp_path: Path) -> None:
    """fd://N serves on an inherited listening socket; one that is not listening is refused."""
    with socket.socket() as idle:
        result = subprocess.run(
            [sys.executable, "-m", "pyfork", "-b", f"fd://{idle.fileno()}", "hello:app"],
            cwd=SAMPLES, pass_fds=(idle.fileno(),), capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert result.returncode == 2
    assert "is not a listening stream socket" in result.stderr
    with socket.create_server(("127.0.0.1", 0)) as listening:
        log = tmp_path / "log"
        process = subprocess.Popen(
            [sys.executable, "-m", "pyfork", "-b", f"fd://{listening.fileno()}", "--error-logfile", str(log), "hello:app"],
            cwd=SAMPLES, pass_fds=(listening.fileno(),),
        )  # fmt: skip
        try:
            assert ask(listening.getsockname(), socket.AF_INET)
        finally:
            process.terminate()
            assert process.wait(20) == 0
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@pytest.mark.parametrize("prefix", [[], ["setpriv", "--bounding-set=-net_admin"]], ids=["may filter", "may not"])
def test_sockets_of_systemd_replace_bind(start: Callable[..., Server], prefix: list[str]) -> None:
    """LISTEN_FDS wins over bind, with a warning, and outlives pyfork without a filter on it and with its whole queue."""
    if prefix and (os.geteuid() != 0 or shutil.which("setpriv") is None):
        pytest.skip("takes a capability away from root")
    server = start(settings={"server": {"bind": ["127.0.0.1:1"]}}, prefix=prefix)
    assert server.get("/").status == 200
    server.wait_log("LISTEN_FDS")
    server.stop()
    assert server.listener is not None
    clients = [server.connect() for _ in range(3)]  # a queue of no length takes one
    for client in clients:
        accepted, _ = server.listener.accept()
        client.sendall(b"still works")
        assert accepted.recv(100) == b"still works"
        accepted.close()
        client.close()


def test_listen_variables_are_not_passed_on(start: Callable[..., Server], tmp_path: Path) -> None:
    """The application's own children must not take the sockets for theirs."""
    (tmp_path / "shows.py").write_text(
        "import os\ndef app(e, s):\n    s('200 OK', [])\n    return [repr([k for k in os.environ if 'LISTEN' in k]).encode()]\n"
    )
    server = start("shows:app", cwd=tmp_path)
    assert server.get("/").body == b"[]"


def test_pidfile(start: Callable[..., Server], tmp_path: Path) -> None:
    """The pidfile holds the arbiter's pid, is locked, and is gone after the end; a stale one is taken over."""
    pidfile = tmp_path / "pyfork.pid"
    pidfile.write_text("1\n")
    server = start(settings={"server": {"pidfile": str(pidfile)}})
    server.wait_workers(1)
    assert pidfile.read_text() == f"{server.pid}\n"
    port = reserve_port()
    result = run_pyfork("-b", f"127.0.0.1:{port}", "-p", str(pidfile), "hello:app")
    assert result.returncode == 2
    assert f"held by a running pyfork (pid {server.pid})" in result.stderr
    assert pidfile.read_text() == f"{server.pid}\n"
    server.stop()
    assert not pidfile.exists()


def test_a_reload_puts_a_removed_pidfile_back(start: Callable[..., Server], tmp_path: Path) -> None:
    """As a pidfile: another pyfork finds it held. Another's own file in its place stays, with a warning."""
    pidfile = tmp_path / "pyfork.pid"
    server = start(settings={"server": {"pidfile": str(pidfile)}})
    server.wait_workers(1)
    pidfile.unlink()
    server.signal("HUP")
    server.wait_log(rf"server\.pidfile: {pidfile} was removed; it is made anew, with pid {server.pid} in it")
    server.wait_log("has replaced the others")
    assert pidfile.read_text() == f"{server.pid}\n"
    result = run_pyfork("-b", f"127.0.0.1:{reserve_port()}", "-p", str(pidfile), "hello:app")
    assert f"held by a running pyfork (pid {server.pid})" in result.stderr
    pidfile.unlink()
    pidfile.write_text("1\n")
    server.signal("HUP")
    server.wait_log(r"\[WARNING\].*is another file than pyfork's own by now, and is left as it is")
    server.wait_log("has replaced the others", count=2)
    server.stop()
    assert pidfile.read_text() == "1\n"


def test_a_file_that_is_no_pidfile_is_kept(tmp_path: Path) -> None:
    """A path that names something else, or a link to it, is refused with status 2, and kept."""
    victim, link = tmp_path / "settings.py", tmp_path / "link"
    victim.write_text("VALUE = 1\n")
    link.symlink_to(victim)
    for path in (victim, link):
        result = run_pyfork("-b", f"127.0.0.1:{reserve_port()}", "-p", str(path), "hello:app")
        assert result.returncode == 2
        assert "server.pidfile" in result.stderr
        assert victim.read_text() == "VALUE = 1\n"


def test_pidfile_of_a_killed_arbiter_is_free(start: Callable[..., Server], tmp_path: Path) -> None:
    """The lock dies with the arbiter, even while a busy worker of it lives on."""
    pidfile = tmp_path / "pyfork.pid"
    (tmp_path / "busy.py").write_text(
        "import os, time\n"
        "def app(e, s):\n"
        "    open('busy', 'w').close()\n"
        "    while not os.path.exists('free'): time.sleep(0.01)\n"
        "    s('200 OK', [])\n"
        "    return []\n"
    )
    first = start("busy:app", cwd=tmp_path, settings={"server": {"pidfile": str(pidfile)}})
    with first.connect() as connection:
        connection.sendall(REQUEST)
        wait_until((tmp_path / "busy").exists, "the worker is busy")
        first.signal("KILL")
        first.process.wait(PATIENCE)  # it holds the lock while it is on its way out
        second = start(settings={"server": {"pidfile": str(pidfile)}})
        second.wait_workers(1)
        assert pidfile.read_text() == f"{second.pid}\n"
        (tmp_path / "free").touch()
        assert parse_response(read_all(connection))[0].status == 200


def test_a_pidfile_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    """The directory does not exist: status 2, and the path is named."""
    result = run_pyfork("-b", f"127.0.0.1:{reserve_port()}", "-p", str(tmp_path / "no" / "p.pid"), "hello:app")
    assert result.returncode == 2
    assert f"server.pidfile: there is no directory {tmp_path}/no" in result.stderr


def test_address_that_comes_back_while_an_old_worker_drains(start: Callable[..., Server], tmp_path: Path) -> None:
    """The old worker holds the socket of an address that a reload removed: the next reload can have it again."""
    (tmp_path / "busy.py").write_text(BUSY)
    stays, goes = (f"127.0.0.1:{reserve_port()}" for _ in range(2))
    address = ("127.0.0.1", int(goes.rpartition(":")[2]))
    server = start("busy:app", cwd=tmp_path, bind=[stays, goes])
    server.wait_workers(1, 1)
    assert ask(address, socket.AF_INET) == b"fine"
    with socket.create_connection(("127.0.0.1", int(stays.rpartition(":")[2]))) as busy:
        busy.sendall(REQUEST.replace(b"/ ", b"/busy ", 1))
        wait_until((tmp_path / "busy").exists, "the worker is busy")
        server.configure({"server": {"bind": [stays]}})
        server.signal("HUP")
        server.wait_log("generation 2 has replaced")
        server.configure({"server": {"bind": [stays, goes]}})
        server.signal("HUP")
        server.wait_log("generation 3 has replaced")
        assert ask(address, socket.AF_INET) == b"fine"
        server.configure({"server": {"bind": [stays]}})
        server.signal("HUP")
        server.wait_log("generation 4 has replaced")
        (tmp_path / "free").touch()
        assert parse_response(read_all(busy))[0].body == b"fine"
    server.wait_workers(1, 4)

    def is_refused() -> bool:
        with socket.socket() as client:
            return client.connect_ex(address) == errno.ECONNREFUSED

    wait_until(is_refused, "the address is closed with the last worker that had it")
