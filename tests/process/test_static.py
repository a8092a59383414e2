"""Static files of real servers, in every worker type: over real sockets, from a real directory."""

import gzip
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import time

import pytest

from tests.harness import SAMPLES, Server, parse_response, read_all
from tests.process.test_listeners import run_pyfork

LARGE = os.urandom(2_000_000)
GET = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served, beside what is not."""
    base = tmp_path_factory.mktemp("static")
    (base / "secret.txt").write_text("secret")
    release = base / "releases" / "5"
    (release / "docs").mkdir(parents=True)
    (release / "app.css").write_text("body { color: black }\n" * 100)
    (release / "app.css.gz").write_bytes(gzip.compress((release / "app.css").read_bytes()))
    (release / "large.bin").write_bytes(LARGE)
    (release / "docs" / "index.html").write_text("<p>docs</p>")
    (release / ".env").write_text("secret")
    (release / "inside").symlink_to("docs/index.html")
    (release / "outside").symlink_to("../../secret.txt")
    (release / "absolute").symlink_to(base / "secret.txt")
    os.mkfifo(release / "fifo")
    (base / "current").symlink_to("releases/5")
    for path in release.rglob("*"):  # they were not changed just now
        if path.is_file() and not path.is_symlink():
            os.utime(path, (1_700_000_000, 1_700_000_000))
    return base


@pytest.fixture
def server(share: Callable[..., Server], root: Path, worker_type: str) -> Server:
    """A server of each type, with hello as the application."""
    return share(
        settings={
            "workers": {"type": worker_type},
            "static": {
                "index": "index.html",
                "/assets": {"dir": str(root / "current"), "max_age": 3600, "immutable": True},
                "/site": {"dir": str(root / "current"), "fall_through": True},
            },
        }
    )


def test_files_are_served_and_the_rest_is_the_applications(server: Server, root: Path) -> None:
    """By a link to the directory, with all that a cache wants to know."""
    small = server.get("/assets/app.css")
    assert (small.status, small.body) == (200, (root / "current" / "app.css").read_bytes())
    assert small.header("Content-Type") == "text/css; charset=utf-8"
    assert small.header("Cache-Control") == "public, max-age=3600, immutable"
    assert small.header("Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert small.header("Vary") == "Accept-Encoding"
    assert server.get("/assets/large.bin").body == LARGE
    coded = server.get("/assets/app.css", headers="Accept-Encoding: gzip, deflate, br\r\n")
    assert coded.header("Content-Encoding") == "gzip"
    assert gzip.decompress(coded.body) == small.body
    for path in ("/", "/assetsx", "/x/assets/app.css"):
        assert server.get(path).body == b"Hello, world!\n"
    head = server.get("/assets/large.bin", method="HEAD")
    assert (head.status, head.header("Content-Length"), head.body) == (200, "2000000", b"")


def test_conditions_and_ranges(server: Server) -> None:
    """304, 412, 206 with one part and with several, 416; slowhttptest's Range is ignored."""
    whole = server.get("/assets/large.bin")
    tag = whole.header("ETag")
    assert tag
    assert not tag.startswith("W/")
    assert server.get("/assets/large.bin", headers=f"If-None-Match: W/{tag}\r\n").status == 304
    assert server.get("/assets/large.bin", headers=f"If-Match: W/{tag}\r\n").status == 412
    assert server.get("/assets/large.bin", headers=f"Range: bytes=-7\r\nIf-Range: {tag}\r\n").body == LARGE[-7:]
    part = server.get("/assets/large.bin", headers="Range: bytes=1000-1999\r\n")
    assert (part.status, part.body) == (206, LARGE[1000:2000])
    assert part.header("Content-Range") == "bytes 1000-1999/2000000"
    several = server.get("/assets/large.bin", headers="Range: bytes=0-9, 1000000-1999999\r\n")
    boundary = (several.header("Content-Type") or "").partition("boundary=")[2].encode()
    _, first, rest = several.body.split(b"--" + boundary + b"\r\n")
    assert first.partition(b"\r\n\r\n")[2] == LARGE[:10] + b"\r\n"
    assert rest.partition(b"\r\n\r\n")[2] == LARGE[1_000_000:] + b"\r\n--" + boundary + b"--\r\n"
    none = server.get("/assets/large.bin", headers="Range: bytes=2000000-\r\n")
    assert (none.status, none.header("Content-Range")) == (416, "bytes */2000000")
    attack = "bytes=0-," + ",".join(f"5-{number}" for number in range(1000))
    assert server.get("/assets/large.bin", headers=f"Range: {attack}\r\n").status == 200


def test_nothing_outside_is_reached(server: Server) -> None:
    """By any encoding or link; what is inside is reached by a link as well."""
    assert server.get("/assets/inside").body == b"<p>docs</p>"
    for path in (
        "/assets/outside", "/assets/absolute", "/assets/../secret.txt", "/assets/docs/../../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/assets/%252e%252e/secret.txt",
        "/assets/..%5c..%5csecret.txt", "/assets/.env", "/assets/%2eenv", "/assets//app.css", "/assets/app.css%00",
        "/assets/fifo", "/assets/app.css/", "/assets/docs/x", "/assets/" + "x" * 300, "/assets/%c0%ae%c0%ae/secret.txt",
    ):  # fmt: skip
        answer = server.get(path)
        assert answer.status == 404, path
        assert b"secret" not in answer.body


def test_directories_methods_and_falling_through(server: Server) -> None:
    """An index, the way to it, and what is left to the application where that is wanted."""
    assert server.get("/assets/docs/").body == b"<p>docs</p>"
    moved = server.get("/assets/docs?a=1")
    assert (moved.status, moved.header("Location")) == (301, "./docs/?a=1")
    refused = server.get("/assets/app.css", method="PUT", body=b"x")
    assert (refused.status, refused.header("Allow")) == (405, "GET, HEAD, OPTIONS")
    assert server.get("/site/docs/").body == b"<p>docs</p>"
    for path, method in (("/site/none", "GET"), ("/site/.env", "GET"), ("/site/app.css", "POST")):
        assert server.get(path, method=method).body == b"Hello, world!\n"


def test_connections_are_kept_and_pipelined(server: Server, worker_type: str) -> None:
    """Behind small files, large ones and refusals."""
    paths = ["/assets/app.css", "/assets/large.bin", "/assets/none", "/", "/assets/docs/"]
    requests = [GET.format(path, "") for path in paths[:-1]] + [GET.format(paths[-1], "Connection: close\r\n")]
    octets = server.exchange("".join(requests).encode())
    if worker_type == "sync":  # closes behind each response
        assert parse_response(octets)[0].status == 200
        return
    statuses = []
    while octets:
        answer, octets = parse_response(octets)
        statuses.append(answer.status)
    assert statuses == [200, 200, 404, 200, 200]


def test_a_slow_client_gets_it_all(server: Server) -> None:
    """What it does not take is not read into memory, and others are served meanwhile, but in sync."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(30)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(GET.format("/assets/large.bin", "Connection: close\r\n").encode())
        first = slow.recv(1000)
        assert parse_response(first + read_all(slow))[0].body == LARGE


def test_what_is_new_is_served_at_once(server: Server, root: Path) -> None:
    """Nothing is remembered: neither what was not there nor what was; the link to the directory may be switched."""
    path = root / "current" / f"new-{server.port}.txt"
    assert server.get(f"/assets/{path.name}").status == 404
    path.write_text("new")
    os.utime(path, (time() + 60, time() + 60))  # new for as long as this takes
    first = server.get(f"/assets/{path.name}")
    assert first.body == b"new"
    assert (first.header("ETag") or "").startswith("W/")
    path.write_text("newer")
    assert server.get(f"/assets/{path.name}").body == b"newer"


def test_a_reload_with_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The old workers go on; a good one is taken."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").write_text(name)
    with Server(tmp_path, settings={"static": {"/a": str(tmp_path / "one")}}) as server:
        assert server.get("/a/file.txt").body == b"one"
        server.expect_errors("reload")
        server.configure({"static": {"/a": str(tmp_path / "none")}})
        server.signal("HUP")
        server.wait_log(r'static\."/a": .*/none does not exist')
        assert server.get("/a/file.txt").body == b"one"
        server.configure({"static": {"/a": str(tmp_path / "two")}})
        server.signal("HUP")
        server.wait_workers(1, generation=3)
        assert server.get("/a/file.txt").body == b"two"


def test_a_start_with_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the key and the directory, before anything is bound."""
    result = run_pyfork("--static", f"/a={tmp_path}/none", "--static", "b=x", "hello:app")
    assert result.returncode == 2
    assert 'command line --static: static."b" must begin with a slash, as in "/assets"' in result.stderr
    result = run_pyfork("--static", f"/a={tmp_path}/none", "hello:app")
    assert result.returncode == 2
    assert f'static."/a": {tmp_path}/none does not exist' in result.stderr


def test_files_are_opened_as_the_workers_user(start: Callable[..., Server]) -> None:
    """Never as root: what that user may not read is 403, and the log says why, also of a directory, at the boot."""
    with tempfile.TemporaryDirectory() as name:  # unlike pytest's own, every user may enter it
        site = Path(name)
        site.chmod(0o755)
        for path, mode in (("closed", 0o700 if os.geteuid() == 0 else 0o000), ("www", 0o755)):
            (site / path).mkdir()
            (site / path).chmod(mode)
        (site / "www" / "file.txt").write_text("x")
        (site / "www" / "file.txt").chmod(0o200)
        (site / "app.py").write_text((SAMPLES / "hello.py").read_text())
        user = {"user": "nobody"} if os.geteuid() == 0 else {}
        server = start(
            "app:app",
            cwd=site,
            settings={"server": user, "static": {"/a": str(site / "www"), "/b": str(site / "closed")}},
        )
        assert server.get("/a/file.txt").status == 403
        assert server.get("/b/x").status == 403
        assert server.get("/a/none").status == 404
        assert server.get("/").body == b"Hello, world!\n"
        server.wait_log(r"\[WARNING\].* the static '\S+/closed' cannot be opened: permission denied")
        server.stop()
