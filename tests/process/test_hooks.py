"""Hooks of a real server: each in its process, once, in order, with its values; what they raise, and how long they take.

The hooks are those of sample_apps/hooks.py, which write a line each to a file, or of a module of the test's own.
"""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pyfork.hooks.catalogue import KINDS
from tests import procfs
from tests.harness import Server, processes_of_session, title_of, wait_until
from tests.process.plants import plant_at

SAMPLED = {name: f"hooks:{name}" for name in KINDS}

MODULE = """
import os, time

def tell(*values):
    with open(os.environ["HOOKS_LOG"], "a") as log:
        log.write(" ".join(map(str, (os.getpid(), *values))) + "\\n")

def told(*values):
    tell(*values[:3])

def fail(*_):
    raise ValueError("the reason")

def leave(*_):
    raise SystemExit(5)

def vanish(*_):
    os._exit(9)

def crash(*_):
    os.kill(os.getpid(), 11)

def hang(*_):
    import subprocess
    child = subprocess.Popen(["sleep", "300"])
    tell("hangs", child.pid)
    time.sleep(300)

def spin(*_):
    import subprocess
    tell("hangs", subprocess.Popen(["sleep", "300"]).pid)
    while True:
        pass

def leave_behind(*_):
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd not in "012"
             and os.path.exists(f"/proc/self/fd/{fd}")]
    if os.fork() == 0:
        tell("left", *[link for link in links if link.startswith("pipe:")])
        while not os.path.exists("go"):
            time.sleep(0.01)
        tell("lives-on")
        os._exit(0)

def slow(*_):
    tell("slow")
    time.sleep(0.1)

def who(*_):
    tell("who", *os.getresuid(), *os.getresgid(), os.umask(0), os.getcwd(), os.environ["SHOP"])

def speak(*_):
    print("printed by a hook")

def app(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        time.sleep(300)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


class Hooked:
    """A server with hooks, and what they have told."""

    def __init__(self, server: Server, told: Path) -> None:
        self.server = server
        self.told = told

    def lines(self) -> list[list[str]]:
        """Return what has been told: the pid that tells, and its words."""
        return [line.split() for line in self.told.read_text().splitlines()] if self.told.exists() else []

    def of(self, name: str) -> list[list[str]]:
        """Return the lines of one hook."""
        return [line for line in self.lines() if line[1] == name]

    def wait_for(self, name: str, count: int = 1) -> list[list[str]]:
        """Wait until one hook has told ``count`` lines, and return them."""
        wait_until(lambda: len(self.of(name)) >= count, f"{count} lines of {name}: {self.lines()}")
        return self.of(name)


@pytest.fixture
def serve(start: Callable[..., Server], tmp_path: Path) -> Callable[..., Hooked]:
    """Start a server with hooks of the module above: `shop_hooks:NAME`, written as NAME."""

    def begin(hooks: Mapping[str, object], **keywords: object) -> Hooked:
        (tmp_path / "shop_hooks.py").write_text(MODULE)
        told = tmp_path / "told.txt"
        settings: dict[str, dict[str, object]] = {**keywords.pop("settings", {})}  # type: ignore[dict-item]
        settings["hooks"] = {
            name: f"shop_hooks:{value}" if isinstance(value, str) and ":" not in value else value
            for name, value in hooks.items()
        }
        environ = {"HOOKS_LOG": str(told), **keywords.pop("environ", {})}  # type: ignore[dict-item]
        server = start("shop_hooks:app", cwd=tmp_path, settings=settings, environ=environ, **keywords)
        return Hooked(server, told)

    return begin


@pytest.fixture
def sampled(start: Callable[..., Server], tmp_path: Path) -> Callable[..., Hooked]:
    """Start a server with all hooks of the sample."""

    def begin(**workers: object) -> Hooked:
        told = tmp_path / "told.txt"
        settings = {"hooks": SAMPLED, "workers": workers}
        return Hooked(start("hooks:app", settings=settings, environ={"HOOKS_LOG": str(told)}), told)

    return begin


def test_a_mold_has_its_hook_and_its_workers_have_theirs(sampled: Callable[..., Hooked]) -> None:
    """before_mold_freeze once in the mold, the others in each worker that is forked from it, and nothing in the mold."""
    hooked = sampled(preload=True, count=2)
    workers = {str(pid) for pid in hooked.server.wait_workers(2, 1)}
    hooked.server.stop()
    [[mold, _, *values]] = hooked.of("before_mold_freeze")
    assert values == ["1", "1", mold]
    assert mold not in workers
    for name in ("post_fork", "worker_ready", "worker_exit"):
        assert {line[0] for line in hooked.of(name)} == workers


def test_a_mold_whose_hook_fails_does_not_boot(serve: Callable[..., Hooked]) -> None:
    """At the first start that is its end, with the hook's traceback."""
    hooked = serve({"before_mold_freeze": "fail"}, settings={"workers": {"preload": True}})
    hooked.server.expect_errors(r"\[(ERROR|CRITICAL)\]")
    assert hooked.server.wait() == 3
    hooked.server.wait_log(
        r"mold 1 gen 1 .*the hook before_mold_freeze \(shop_hooks:fail\) raised ValueError: the reason"
    )
    assert "Traceback" in hooked.server.log


def test_a_servers_life_as_its_hooks_tell_it(sampled: Callable[..., Hooked]) -> None:
    """Each once for each event, with its values, in its process; none in the arbiter."""
    hooked = sampled()
    server = hooked.server
    arbiter = str(server.pid)
    [first] = map(str, server.wait_workers(1, 1))
    assert server.get("/shop").body == b"Hello from pre_request\n"
    hooked.wait_for("when_ready")
    server.signal("HUP")
    [second] = map(str, server.wait_workers(1, 2))
    hooked.wait_for("child_exit")
    server.stop()

    def told(name: str) -> list[list[str]]:
        return [line[2:] for line in hooked.of(name)]

    assert told("on_starting") == [[arbiter, "None"]]
    assert told("pre_fork") == [["None", "None"]] * 2
    assert told("post_fork") == told("worker_ready") == [["0", "1", first], ["0", "2", second]]
    assert told("worker_exit") == [["0", "1", first], ["0", "2", second]]
    assert told("when_ready") == [[first, "None"]]
    assert told("pre_request") == [["/shop"]]
    assert told("post_request") == [["/shop", "200", "23"]]
    assert told("on_reload") == [[arbiter, "None"]]
    assert told("child_exit") == [[first, "0"], [second, "0"]]
    assert told("on_exit") == [[arbiter, "0"]]
    order = [line[1] for line in hooked.lines()]
    assert order[:2] == ["imported", "on_starting"]
    assert order[-1] == "on_exit"
    assert arbiter not in {line[0] for line in hooked.lines()}
    own = [line[0] for line in hooked.lines() if len(line) > 1 and line[1] in {"on_starting", "child_exit", "on_exit"}]
    assert len(set(own)) == len(own), "a process of its own for each call"
    assert {line[0] for line in hooked.of("pre_request")} == {first}


def test_the_hooks_of_a_request_in_each_type(sampled: Callable[..., Hooked], worker_type: str) -> None:
    """Once each, in the worker, for requests one after another and at once."""
    threads = {"threads": 4} if worker_type == "threadpool" else {}
    hooked = sampled(type=worker_type, **threads)
    [worker] = hooked.server.wait_workers(1)
    for number in range(5):
        assert hooked.server.get(f"/{number}").body == b"Hello from pre_request\n"
    before, after = hooked.wait_for("pre_request", 5), hooked.wait_for("post_request", 5)
    assert before == [[str(worker), "pre_request", f"/{number}"] for number in range(5)]
    assert after == [[str(worker), "post_request", f"/{number}", "200", "23"] for number in range(5)]


def test_a_hook_that_fails_before_a_request(serve: Callable[..., Hooked], worker_type: str) -> None:
    """500 for that request, a line in the log; the worker goes on. Behind it, nobody but the log notices."""
    hooked = serve({"pre_request": "fail", "post_request": "fail"}, settings={"workers": {"type": worker_type}})
    hooked.server.expect_errors(r"\[ERROR\]")
    for _ in range(2):
        assert hooked.server.get("/x").status == 500
    hooked.server.wait_log(
        r"the hook pre_request \(shop_hooks:fail\) raised ValueError: the reason; the request is answered with 500: "
        r"GET /x from 127",
        count=2,
    )
    hooked.server.wait_log(
        r"the hook post_request \(shop_hooks:fail\) raised ValueError: the reason; nothing is stopped by that: GET /x",
        count=2,
    )
    assert len(hooked.server.wait_workers(1)) == 1


# What ends the start.

STARTING = {
    "fail": (3, r"the hook on_starting \(shop_hooks:fail\) raised ValueError: the reason; pyfork does not start"),
    "leave": (3, r"the hook on_starting \(shop_hooks:leave\) called sys.exit\(5\); pyfork does not start"),
    "vanish": (3, r"the hook on_starting \(shop_hooks:vanish\) ended its process with status 9"),
    "crash": (3, r"the hook on_starting \(shop_hooks:crash\) was ended by SIGSEGV"),
    "nothing": (4, r"hooks.on_starting: the module 'shop_hooks' has no attribute 'nothing'; pyfork does not start"),
    "nowhere:to_be": (4, r"hooks.on_starting: the module 'nowhere' of hook 'nowhere:to_be' cannot be found"),
}


@pytest.mark.parametrize("hook", STARTING)
def test_a_hook_that_fails_before_the_start(serve: Callable[..., Hooked], hook: str) -> None:
    """Nothing is started, nothing is left; the log has the reason, and its traceback begins in the hook."""
    hooked = serve({"on_starting": hook, "on_exit": "told", "post_fork": "told"})
    hooked.server.expect_errors(r"\[(ERROR|CRITICAL)\]")
    status, message = STARTING[hook]
    assert hooked.server.wait() == status
    hooked.server.wait_log(message)
    hooked.server.wait_log("no worker is started, pyfork ends")
    assert hooked.lines() == []
    assert "pyfork/workers" not in hooked.server.log
    assert hooked.server.log.count("Traceback") == (hook in {"fail", "leave"})


WORKERS = {
    ("post_fork", "fail"): (3, r"the hook post_fork \(shop_hooks:fail\) raised ValueError: the reason"),
    ("worker_ready", "fail"): (3, r"the hook worker_ready \(shop_hooks:fail\) raised ValueError: the reason"),
    ("worker_ready", "leave"): (3, r"the hook worker_ready \(shop_hooks:leave\) called sys.exit\(5\)"),
    ("post_fork", "nothing"): (4, r"hooks.post_fork: the module 'shop_hooks' has no attribute 'nothing'"),
    ("pre_request", "nothing"): (4, r"hooks.pre_request: the module 'shop_hooks' has no attribute 'nothing'"),
    ("worker_exit", "nowhere:to_be"): (4, r"hooks.worker_exit: the module 'nowhere' of hook"),
}


@pytest.mark.parametrize(("name", "hook"), WORKERS)
def test_a_hook_that_fails_in_a_worker_that_boots(serve: Callable[..., Hooked], name: str, hook: str) -> None:
    """As an application that does; no worker has served, so there is no worker_exit; on_exit is told the status."""
    hooked = serve({"on_exit": "told", "worker_exit": "told", name: hook})
    hooked.server.expect_errors(r"\[CRITICAL\]")
    status, message = WORKERS[name, hook]
    assert hooked.server.wait() == status
    hooked.server.wait_log(message)
    assert [line[1:] for line in hooked.lines()] == [["on_exit", str(hooked.server.pid), str(status)]]
    assert hooked.server.log.count("Traceback") == (hook in {"fail", "leave"})
    assert "pyfork/workers" not in hooked.server.log


def test_a_hook_that_fails_in_a_reload(serve: Callable[..., Hooked]) -> None:
    """The old workers go on, with the old hooks."""
    hooked = serve({"on_reload": "told"})
    hooked.server.expect_errors(r"\[ERROR\]")
    workers = hooked.server.wait_workers(1, 1)
    hooked.server.configure({"hooks": {"post_fork": "shop_hooks:fail"}})
    hooked.server.signal("HUP")
    hooked.server.wait_log("reload failed: generation 2 is ended, 1 goes on")
    assert hooked.server.get("/").status == 200
    assert hooked.server.wait_workers(1, 1) == workers
    assert len(hooked.wait_for("on_reload")) == 1


def test_hooks_of_the_new_configuration(serve: Callable[..., Hooked]) -> None:
    """After a reload they are called in place of the old ones."""
    hooked = serve({})
    hooked.server.wait_workers(1, 1)
    hooked.server.configure({"hooks": dict.fromkeys(("pre_fork", "child_exit", "on_exit"), "shop_hooks:told")})
    hooked.server.signal("HUP")
    hooked.server.wait_workers(1, 2)
    hooked.wait_for("pre_fork")
    hooked.server.stop()
    assert len(hooked.of("on_exit")) == 1


# What stops nothing.


@pytest.mark.parametrize("hook", ["fail", "vanish", "nothing"])
def test_a_hook_that_fails_otherwise_stops_nothing(serve: Callable[..., Hooked], hook: str) -> None:
    """The log names each, and says so."""
    names = ("when_ready", "on_reload", "pre_fork", "child_exit", "on_exit")
    hooked = serve({**dict.fromkeys(names, hook), "worker_exit": "fail"})
    hooked.server.expect_errors(r"\[ERROR\]")
    hooked.server.wait_workers(1, 1)
    hooked.server.signal("HUP")
    hooked.server.wait_workers(1, 2)
    hooked.server.stop()
    for name in names:
        hooked.server.wait_log(
            rf"hook[. ]{name}.* nothing is stopped by that|hooks.{name}: .* nothing is stopped by that"
        )
    hooked.server.wait_log(
        r"the hook worker_exit \(shop_hooks:fail\) raised ValueError: the reason; nothing is stopped"
    )


def test_a_stuck_worker_and_how_it_ended(serve: Callable[..., Hooked]) -> None:
    """The pid of the worker, and the name of the signal that ended it."""
    hooked = serve({"worker_stuck": "told", "child_exit": "told"}, settings={"workers": {"timeout": 1}})
    hooked.server.expect_errors(r"\[ERROR\]", "SIGKILL")
    [worker] = hooked.server.wait_workers(1)
    with hooked.server.connect() as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        assert hooked.wait_for("worker_stuck")[0][2:] == [str(worker), "None"]
        assert hooked.wait_for("child_exit")[0][2:] == [str(worker), "SIGKILL"]
    assert [line[2] for line in hooked.of("worker_stuck")].count(str(worker)) == 1


def test_what_a_hook_prints_can_be_read(serve: Callable[..., Hooked]) -> None:
    """Where what the application prints can be; its buffers are written at its end."""
    hooked = serve({"on_starting": "speak"})
    hooked.server.wait_workers(1)
    assert hooked.server.output.count("printed by a hook") == 1


# Deadlines, and who is left.


def hangs(hooked: Hooked) -> tuple[int, int]:
    """Wait for the hook that hangs; return its pid and that of what it has started."""
    [line, *_] = hooked.wait_for("hangs")
    return int(line[0]), int(line[2])


def have_gone(*pids: int) -> bool:
    """Return whether none of ``pids`` lives (a zombie that its new parent has not reaped does not)."""
    return all(procfs.state(pid) in {"", "Z"} for pid in pids)


@pytest.mark.parametrize("name", ["on_starting", "when_ready", "child_exit", "on_exit"])
def test_a_hook_that_hangs_is_killed(serve: Callable[..., Hooked], name: str) -> None:
    """With what it has started, when hooks.timeout has passed; the log says what that stops."""
    hooked = serve({name: "hang", "timeout": 3})  # until then it has told that it hangs, on a slow machine too
    hooked.server.expect_errors(r"\[(ERROR|CRITICAL)\]")
    if name in {"child_exit", "on_exit"}:
        hooked.server.wait_workers(1)
        hooked.server.signal("TERM")
    pids = hangs(hooked)
    stops = "pyfork does not start" if name == "on_starting" else "nothing is stopped by that"
    hooked.server.wait_log(
        rf"the hook {name} \(shop_hooks:hang\) has not ended within 3 s \(hooks.timeout\): its process "
        rf"\(pid {pids[0]}\) is killed; {stops}"
    )
    wait_until(lambda: have_gone(*pids), f"{pids} have gone")
    if name == "on_starting":
        assert hooked.server.wait() == 3
    else:
        hooked.server.stop()


@pytest.mark.parametrize("order", ["TERM", "INT"])
@pytest.mark.parametrize("name", ["on_starting", "on_exit"])
def test_an_order_to_stop_ends_the_hook_that_is_waited_for(serve: Callable[..., Hooked], name: str, order: str) -> None:
    """At once, however long it may take: nobody has to kill pyfork."""
    hooked = serve({name: "hang", "timeout": 300})
    if name == "on_exit":
        hooked.server.wait_workers(1)
        hooked.server.signal("TERM")
    pids = hangs(hooked)
    assert title_of(pids[0]) == f"pyfork: hook {name} [shop_hooks:app]"
    hooked.server.signal(order)
    assert hooked.server.wait() == 0
    hooked.server.wait_log(rf"signal SIG{order}: the hook {name} \(shop_hooks:hang\) is killed")
    assert have_gone(*pids)


def test_signals_that_come_while_a_start_waits_are_obeyed(serve: Callable[..., Hooked]) -> None:
    """Behind the hook."""
    hooked = serve({"on_starting": "slow"})
    hooked.wait_for("slow")
    hooked.server.signal("TTIN")
    hooked.server.wait_workers(2)


@pytest.mark.parametrize("hook", ["hang", "spin"])
@pytest.mark.parametrize("name", ["on_starting", "when_ready"])
def test_an_arbiter_that_dies_leaves_no_hook(serve: Callable[..., Hooked], name: str, hook: str) -> None:
    """Nor what it has started, long before its deadline: a restarted service would run the hook beside it."""
    hooked = serve({name: hook, "timeout": 300})
    pids = hangs(hooked)
    os.kill(hooked.server.pid, signal.SIGKILL)
    wait_until(lambda: have_gone(*pids), f"{pids} have gone")
    wait_until(lambda: not hooked.server.is_running, "the arbiter is dead, whose pipes were closed before")


def test_an_arbiter_that_dies_before_its_hook_has_begun_leaves_none(
    serve: Callable[..., Hooked], tmp_path: Path
) -> None:
    """The hook looks once it is tied to its lifeline, which may have been cut before."""
    kill = "pid = os.getppid(); os.kill(pid, signal.SIGKILL); all(iter(lambda: os.getppid() == pid, False))"
    environ = plant_at(tmp_path / "plant", "process/lifeline.py:tie_group", kill)
    hooked = serve({"on_starting": "told", "timeout": 300}, environ=environ)
    wait_until(lambda: not hooked.server.is_running, "the arbiter is dead")
    wait_until(lambda: processes_of_session(hooked.server.pid) == [], "nobody is left")
    assert hooked.lines() == []


def test_what_a_hook_leaves_behind_is_left_alone(serve: Callable[..., Hooked], tmp_path: Path) -> None:
    """Also a fork of its own process, which has its descriptors, when the arbiter lets go of the lifeline."""
    hooked = serve({"when_ready": "leave_behind", "timeout": 300})
    [[pid, _, *pipes]] = hooked.wait_for("left")
    assert len(pipes) == 1, "it has no pipe but its lifeline"
    wait_until(lambda: pipes[0] not in procfs.descriptors(hooked.server.pid).values(), "the arbiter has let go of it")
    (tmp_path / "go").touch()
    assert hooked.wait_for("lives-on") == [[pid, "lives-on"]]


def test_a_storm_of_reloads_is_none_of_forks(serve: Callable[..., Hooked]) -> None:
    """No more than so many hooks run at once, and all end."""
    hooked = serve({"pre_fork": "slow", "child_exit": "slow", "on_reload": "slow"}, settings={"workers": {"count": 3}})
    hooked.server.wait_workers(3)
    most = 0
    for _ in range(15):
        hooked.server.signal("HUP")
        titles = [title for title in hooked.server.titles() if title.startswith("pyfork: hook")]
        most = max(most, len(titles))
        hooked.server.get("/")
    hooked.server.stop()
    assert most <= 16
    assert not processes_of_session(hooked.server.pid)


def test_a_crash_loop_is_none_of_forks(serve: Callable[..., Hooked]) -> None:
    """Workers that die again and again: each end is told, with the signal's name."""
    hooked = serve({"child_exit": "told"})
    hooked.server.expect_errors(r"\[ERROR\]", "SIGKILL")
    dead = []
    for _ in range(3):
        [pid] = hooked.server.wait_workers(1)
        os.kill(pid, signal.SIGKILL)
        dead.append([str(pid), "SIGKILL"])
        assert [line[2:] for line in hooked.wait_for("child_exit", len(dead))] == dead
    hooked.server.wait_workers(1)


# Who it is.


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory in which every user may write, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("user", [None, "nobody"])
def test_hooks_are_who_the_workers_are(start: Callable[..., Server], open_directory: Path, user: str | None) -> None:
    """User, group, umask, directory and environment, before anything of the user's is imported."""
    if user and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    (open_directory / "shop_hooks.py").write_text(MODULE)
    told = open_directory / "told.txt"
    names = ("on_starting", "post_fork", "worker_ready", "worker_exit", "child_exit", "on_exit")
    server_settings = {"umask": "027", "env": {"SHOP": "open"}, **({"user": user} if user else {})}
    server = start(
        "shop_hooks:app",
        cwd=open_directory,
        settings={"server": server_settings, "hooks": dict.fromkeys(names, "shop_hooks:who")},
        environ={"HOOKS_LOG": str(told)},
    )
    server.wait_workers(1)
    server.stop()
    lines = Hooked(server, told).of("who")
    entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    uid, gid = str(entry.pw_uid), str(entry.pw_gid if user else os.getegid())
    assert len(lines) == len(names)
    for _, _, *who, umask, directory, shop in lines:
        assert (who, directory, shop) == ([uid] * 3 + [gid] * 3, str(open_directory), "open")
        assert umask in {str(0o027), "0"}  # the hook itself has set it to 0 in this worker


def test_a_hook_has_none_of_the_arbiters_descriptors(serve: Callable[..., Hooked], tmp_path: Path) -> None:
    """Neither listeners, whose address it would keep open, nor pipes, by which workers learn that the arbiter lives.

    But for the lifeline, whose other end is the arbiter's alone.
    """
    hooked = serve({"when_ready": "hang", "timeout": 300}, settings={"workers": {"count": 2}}, bind=["127.0.0.1:0"])
    hooked.server.wait_workers(2)
    pid, _ = hangs(hooked)
    opened = procfs.descriptors(pid)
    assert 0 in opened, "it has gone"
    links = [link for fd, link in opened.items() if fd > 2]
    [lifeline] = [link for link in links if link.startswith(("socket:", "pipe:", "anon_inode:"))]
    hooked.server.signal("TTIN")
    workers = hooked.server.wait_workers(3)  # one was forked while the hook ran
    assert lifeline in procfs.descriptors(hooked.server.pid).values()
    assert not [worker for worker in workers if lifeline in procfs.descriptors(worker).values()]
    hooked.server.signal("INT")
    assert hooked.server.wait() == 0
    hooked.server.wait_log(r"signal SIGINT: the hook when_ready \(shop_hooks:hang\) is killed")


def test_no_hook_no_process(serve: Callable[..., Hooked]) -> None:
    """Unset, they cost nothing: no fork but the workers', no module of the user's in the arbiter."""
    hooked = serve({})
    [worker] = hooked.server.wait_workers(1)
    assert processes_of_session(hooked.server.pid) == sorted([hooked.server.pid, worker])
    assert hooked.lines() == []


# --check-config.


def test_hooks_are_checked_before_a_start(tmp_path: Path) -> None:
    """All problems at once, those of the application too, in a process of their own."""
    (tmp_path / "shop_hooks.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    command = [sys.executable, "-m", "pyfork", "--check-config"]

    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PWD": str(tmp_path)}
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environ
        )

    good = check("shop_hooks:app", "--on-exit", "shop_hooks:told", "--post-fork", "shop_hooks.py:told")
    assert (good.returncode, good.stdout, good.stderr) == (0, "ok\n", "")
    bad = check(
        "broken:app", "--on-exit", "shop_hooks:tolt", "--post-fork", "nowhere:a", "--pre-request", "broken:before",
        "--child-exit", "shop_hooks:app",
    )  # fmt: skip
    assert (bad.returncode, bad.stdout) == (4, "")
    for words in (
        "pyfork: error: the application 'broken' cannot be imported: ZeroDivisionError",
        "pyfork: error: hooks.on_exit: the module 'shop_hooks' has no attribute 'tolt'; did you mean 'told'?",
        "pyfork: error: hooks.post_fork: the module 'nowhere' of hook 'nowhere:a' cannot be found",
        "pyfork: error: hooks.pre_request: the hook 'broken' cannot be imported: ZeroDivisionError",
        "pyfork: error: hooks.child_exit: 'shop_hooks:app' must take 3 positional arguments, (event, pid, status): ",
    ):
        assert words in bad.stderr
    assert "pyfork/" not in bad.stderr
