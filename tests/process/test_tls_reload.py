"""Certificates in the arbiter's hands: at the start, at a reload, and when workers have other rights than it."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.authority import Authority, ask, connect, get, read_response
from tests.harness import SAMPLES, Server, parse_response, read_all

IS_ROOT = os.geteuid() == 0
APP = """
import json, os
def app(environ, start_response):
    body = json.dumps({
        "pid": os.getpid(), "resumed": environ["SSL_SESSION_RESUMED"], "can_read": os.access(environ["QUERY_STRING"], os.R_OK),
    }).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def site() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own, with an application."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "told.py").write_text(APP)
        yield directory


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has issued all certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


def serial_of(server: Server, trust: ssl.SSLContext) -> object:
    """Return the number of the certificate that is served now."""
    with connect(server, trust) as client:
        certificate = client.getpeercert()
        assert certificate is not None
        ask(client, fields="Connection: close\r\n")
        assert parse_response(read_all(client))[0].status == 200
        return certificate["serialNumber"]


@pytest.mark.parametrize("worker_type", ["threadpool", "gevent"])
def test_a_reload_takes_new_certificates_and_refuses_bad_ones(
    start: Callable[..., Server], site: Path, authority: Authority, tmp_path: Path, worker_type: str
) -> None:
    """Under load, nobody notices; a kept connection stays with the worker that it has until its next response."""
    trust = authority.trust()
    served = [
        shutil.copy(file, tmp_path / name) for file, name in zip(authority.issue("old", "localhost"), "ck", strict=True)
    ]
    new = authority.issue("new", "localhost")
    workers = {"type": worker_type, "count": 2, "threads": 2 if worker_type == "threadpool" else 1}
    settings = {
        "workers": workers | {"graceful_timeout": 120},
        "http": {"keep_alive": 60},  # the kept connection is silent for as long as all else takes
        "tls": {"certfile": str(served[0]), "keyfile": str(served[1])},
    }
    server = start("told:app", cwd=site, settings=settings)
    server.wait_workers(2)
    old_serial = serial_of(server, trust)
    stop, failures, answered = threading.Event(), [], [0]

    def load() -> None:
        while not stop.is_set():
            try:
                assert get(server, trust).status == 200
                answered[0] += 1
            except (OSError, AssertionError) as error:
                failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        with connect(server, trust) as kept:
            ask(kept)
            assert read_response(kept).status == 200
            shutil.copy(new[0], served[0])
            server.expect_errors("reload refused", "is not the key of the certificate")
            server.signal("HUP")
            server.wait_log(r"tls.keyfile: \S+ is not the key of the certificate in \S+")
            assert serial_of(server, trust) == old_serial
            ask(kept)
            assert read_response(kept).status == 200
            shutil.copy(new[1], served[1])
            server.signal("HUP")
            ask(kept)
            assert read_response(kept).status == 200
        server.wait_workers(2, generation=3)
        assert serial_of(server, trust) != old_serial
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert answered[0] > 0


@pytest.mark.parametrize("workers", [{"count": 2}, {"count": 2, "preload": True, "refork_after": [5]}])
def test_the_key_is_nothing_for_the_workers(
    start: Callable[..., Server], site: Path, authority: Authority, workers: dict[str, object]
) -> None:
    """As root: they serve with it and cannot read it; also those that a mold has forked, or a worker become one."""
    certfile, keyfile = authority.issue("root", "localhost")
    Path(keyfile).chmod(0o600)
    settings = {
        "server": {"user": "nobody"} if IS_ROOT else {},
        "workers": {"type": "sync", **workers},
        "tls": {"certfile": certfile, "keyfile": keyfile},
    }
    server = start("told:app", cwd=site, settings=settings)
    first_pids = server.wait_workers(2)
    trust = authority.trust()
    with connect(server, trust) as client:
        ask(client, f"/?{keyfile}")
        first = json.loads(read_response(client).body)
        session = client.session
    assert first["can_read"] is not IS_ROOT
    for _ in range(20):
        told = json.loads(get(server, trust, f"/?{keyfile}", session=session).body)
        assert told["resumed"] == "Resumed", "the keys of tickets stay those of the generation"
    if "preload" in workers:
        server.wait_log("mold 2 gen 1")
        server.wait_log(r"worker \d gen 1 \(pid \d+\) has ended", count=2)
        told = json.loads(get(server, trust, f"/?{keyfile}", session=session).body)
        assert told["resumed"] == "Resumed"
        assert told["pid"] not in first_pids


def run_pyfork(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what a pyfork that is not to start has said."""
    command = [sys.executable, "-m", "pyfork", "-b", "127.0.0.1:0", *arguments, "hello:app"]
    return subprocess.run(command, cwd=SAMPLES, capture_output=True, text=True, timeout=30)


def test_what_is_wrong_ends_the_start(authority: Authority) -> None:
    """Exit status 2, and a sentence for each problem, with gunicorn's flags as with ours."""
    certfile, keyfile = authority.issue("flags", "localhost")
    other = authority.issue("other", "localhost")[1]
    for arguments, problem in (
        (
            ("--certfile", certfile, "--keyfile", other),
            f"tls.keyfile: {other} is not the key of the certificate in {certfile}",
        ),
        (("-b", "https://127.0.0.1:0"), "there is no certificate; set tls.certfile"),
    ):
        ended = run_pyfork(*arguments)
        assert ended.returncode == 2
        assert problem in ended.stderr, ended.stderr
    assert run_pyfork("--check-config", "--certfile", certfile, "--keyfile", keyfile).stdout == "ok\n"


def test_an_arbiter_without_tls_has_no_ssl(start: Callable[..., Server], authority: Authority) -> None:
    """It stays small; with TLS it has it."""
    server = start("hello:app", settings={"workers": {"type": "async"}})
    server.wait_workers(1)
    assert "libssl" not in Path(f"/proc/{server.pid}/maps").read_text()
    certfile, keyfile = authority.issue("small", "localhost")
    server.configure({"tls": {"certfile": certfile, "keyfile": keyfile}})
    server.signal("HUP")
    server.wait_workers(1, generation=2)
    assert get(server, authority.trust()).status == 200
    assert "_ssl" in Path(f"/proc/{server.pid}/maps").read_text()
