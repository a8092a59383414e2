"""Static files in both shells: sent, broken off, handed on to the application, and what the hooks are told."""

import errno
import os
import socket

import pytest

from pyfork.connection.answer import Answer
from pyfork.connection.context import Persistence
from pyfork.connection.hooked import RequestHooks
from pyfork.connection.static_answers import StaticRouter
from pyfork.hooks.calling import Hook
from pyfork.static.paths import Mount
from pyfork.static.serving import StaticFiles
from tests.contract.visits import LoopVisit, Visit, get, post, returning

BODY = os.urandom(3_000_000)
NOW = 2_000_000_000.0


class AtOnce(LoopVisit):
    way = "at once"


class Held(LoopVisit):
    way = "held"


class OnAThread(LoopVisit):
    way = "on a thread"


@pytest.fixture(params=[Visit, AtOnce, Held, OnAThread])
def shell(request):
    """Each shell, with the application run in each way."""
    return request.param


@pytest.fixture
def root(tmp_path):
    (tmp_path / "small.txt").write_bytes(b"small")
    (tmp_path / "large.bin").write_bytes(BODY)
    return tmp_path


class Site:
    """What makes a connection serve the files, with hooks that keep what they are told."""

    def __init__(self, root, *, falls_through=False, has_hooks=False):
        self.told = []
        hooks = None
        if has_hooks:
            hooks = RequestHooks(
                Hook("pre_request", "a:b", lambda environ: self.told.append(environ["PATH_INFO"])),
                Hook("post_request", "a:b", lambda environ, status, octets, seconds: self.told.append(status)),
            )
        files = StaticFiles([Mount(b"/a", str(root), None, "", True, falls_through)], lambda: NOW)
        router = StaticRouter(files, Answer if hooks is None else hooks.make_answer, hooks)
        self.context = {"make_answer": router.make_answer, "persistence": Persistence(is_allowed=True)}


def drain(current):
    current.take()


def fail(*_):
    raise AssertionError("the application was called")


@pytest.mark.parametrize("has_hooks", [False, True])
@pytest.mark.parametrize("falls_through", [False, True])
def test_a_file_is_sent_and_no_application_is_called(visit, root, falls_through, has_hooks, log):
    """Nor a hook; the access log has it, and the connection goes on."""
    site = Site(root, falls_through=falls_through, has_hooks=has_hooks)
    served = visit(fail, get("/a/small.txt"), drain, get("/a/large.bin"), *[drain] * 1000, **site.context)
    assert served.received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert served.received.endswith(b"\r\n\r\n" + BODY)
    assert [(record.status, record.octets) for record in served.access] == [("200 OK", 5), ("200 OK", len(BODY))]
    assert site.told == []
    assert log("ERROR") == []


def test_parts_of_a_file(visit, root):
    """In order, with what is around them; a slow client gets them all."""
    site = Site(root)
    served = visit(
        fail, get("/a/large.bin", "Range: bytes=0-999999,1500000-2499999\r\n"), *[drain] * 1000, **site.context
    )
    assert served.status == 206
    _, head, rest = served.body.split(b"--" + served.body[2:34])[0:3]
    assert head.partition(b"\r\n\r\n")[2] == BODY[:1_000_000] + b"\r\n"
    assert b"Content-Range: bytes 1500000-2499999/3000000" in rest[:200]
    assert BODY[1_500_000:2_500_000] in rest
    assert f"Content-Length: {len(served.body)}".encode() in served.head


@pytest.mark.parametrize("has_hooks", [False, True])
def test_other_paths_are_the_applications(visit, root, has_hooks):
    """With its hooks."""
    site = Site(root, has_hooks=has_hooks)
    served = visit(returning(b"app"), get("/b"), **site.context)
    assert served.body == b"app"
    assert site.told == (["/b", 200] if has_hooks else [])


@pytest.mark.parametrize("has_hooks", [False, True])
def test_what_is_not_there_falls_through(visit, root, has_hooks):
    """To the application and its hooks, with the body of the request; otherwise it is a 404, and no hook's business."""
    site = Site(root, falls_through=True, has_hooks=has_hooks)

    def application(environ, start_response):
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]

    served = visit(application, get("/a/none"), drain, post(b"body", target="/a/small.txt"), **site.context)
    assert b"/a/none" in served.received
    assert served.received.endswith(b"/a/small.txtbody")
    assert site.told == (["/a/none", 200, "/a/small.txt", 200] if has_hooks else [])
    site = Site(root, has_hooks=has_hooks)
    assert visit(fail, get("/a/none"), **site.context).status == 404
    assert site.told == []


def test_the_body_of_a_refused_request_harms_nobody(visit, root):
    """Nobody reads it; the next request, if there can be one, is answered."""
    site = Site(root)
    served = visit(fail, post(b"x" * 1000, target="/a/small.txt"), get("/a/small.txt"), **site.context)
    assert served.status == 405
    assert b"xxx" not in served.received


def test_a_file_that_shrinks_breaks_the_connection_off(visit, root, log):
    """The client was promised more."""
    path = root / "large.bin"

    def shrink(current):
        path.write_bytes(b"")
        current.take()

    served = visit(fail, get("/a/large.bin"), shrink, *[drain] * 200, **Site(root).context)
    assert len(served.body) < len(BODY)
    assert "shorter while it was sent" in log("ERROR")[0]
    assert served.progress.told[-1][2] is True


def test_a_file_that_is_replaced_is_sent_whole(visit, root, log):
    """As it was when the response began: a deploy renames, and the old file lives as long as somebody has it open."""
    path = root / "large.bin"

    def replace(current):
        (root / "new").write_bytes(b"new")
        (root / "new").rename(path)
        current.take()

    served = visit(fail, get("/a/large.bin"), replace, *[drain] * 1000, get("/a/large.bin"), **Site(root).context)
    assert served.received.count(BODY) == 1
    assert served.received.endswith(b"\r\n\r\nnew")
    assert log("ERROR") == []


@pytest.mark.parametrize("has_hooks", [False, True])
def test_a_file_that_cannot_be_read_on_is_told(visit, root, monkeypatch, log, has_hooks):
    """The disk's fault and not the application's; the connection is broken off."""

    def break_down(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", break_down)
    visit(fail, get("/a/large.bin"), **Site(root, falls_through=True, has_hooks=has_hooks).context)
    [line] = log("ERROR")
    assert line.startswith("a static file cannot be read: Input/output error: GET /a/large.bin from ")


@pytest.mark.parametrize("has_hooks", [False, True])
def test_what_the_application_raises_is_its_own(visit, root, log, has_hooks):
    """Also where a file was looked for first."""

    def broken(environ, start_response):
        raise OSError(errno.EIO, "its own")

    site = Site(root, falls_through=True, has_hooks=has_hooks)
    assert visit(broken, get("/a/none"), **site.context).status == 500
    [line] = log("ERROR")
    assert line.startswith("the application raised OSError: GET /a/none")


def test_a_client_that_leaves_is_no_error(visit, root, log):
    """And the file is closed."""

    def leave(current):
        current.client.shutdown(socket.SHUT_RDWR)

    visit(fail, get("/a/large.bin"), drain, leave, **Site(root).context)
    assert log("ERROR") == []


@pytest.mark.parametrize("has_hooks", [False, True])
def test_an_https_target_is_refused_here_too(visit, root, has_hooks):
    """RFC 9110 section 7.4: a file is a resource like others."""
    site = Site(root, falls_through=True, has_hooks=has_hooks)
    octets = b"GET %b://a/a/small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    served = visit(fail, octets % b"https", **site.context)
    assert (served.status, site.told) == (421, [])
    assert visit(fail, octets % b"http", **site.context).body == b"small"
