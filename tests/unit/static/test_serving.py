"""Answers with files: what the file system is asked, and what is said of it."""

import errno
import os
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.errors import ApplicationError
from pyfork.gateway.file_wrapper import FileParts
from pyfork.http1.request import Request
from pyfork.static import serving
from pyfork.static.paths import Mount
from pyfork.static.serving import MOST_READ, Response, StaticFiles

NOW = 2_000_000_000.0
LARGE = bytes(range(256)) * (MOST_READ // 256 + 1)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "odd" / "index.html").mkdir(parents=True)
    (root / "app.css").write_text("body {}")
    (root / "none").write_text("")
    (root / "large.bin").write_bytes(LARGE)
    (root / "docs" / "index.html").write_text("<p>")
    return root


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    """A site beside a secret, with links to it."""
    base = tmp_path_factory.mktemp("walled")
    (base / "secret").write_text("secret")
    (base / "root" / "docs").mkdir(parents=True)
    (base / "root" / "app.css").write_text("body {}")
    (base / "root" / "docs" / "index.html").write_text("<p>")
    (base / "root" / "out").symlink_to("..")
    (base / "root" / "docs" / "out").symlink_to("../../secret")
    (base / "root" / "docs" / "deep").symlink_to("../docs")
    return Site(base / "root", index=b"index.html")


class Site:
    """Asks for files, and runs what comes back as a WSGI application."""

    def __init__(self, root, **options):
        given = {"index": None, "cache_control": "", "is_precompressed": True, "falls_through": False, **options}
        self.files = StaticFiles([Mount(b"/a", str(root), **given)], lambda: NOW)

    def ask(self, path="/app.css", method="GET", **fields):
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        request = Request(method, f"/a{path}".encode(), "1.1", headers)
        request.path, _, request.query = request.target.partition(b"?")
        return self.files.answer(self.files.find(request.path), request)

    def get(self, *args, **fields):
        """Return status, fields and content."""
        before = descriptors()
        response = self.ask(*args, **fields)
        head = []
        body = response({}, lambda *given: head.extend(given))
        assert response.status == head[0]
        if isinstance(body, FileParts):
            content = b"".join(
                part if isinstance(part, bytes) else part.head + os.pread(part.fd, part.count, part.offset)
                for part in body.regions(b"")
            )
            assert len(content) == body.length
            body.close()
        else:
            content = b"".join(body)
        assert descriptors() == before
        return head[0], dict(head[1]), content


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def site(root):
    return Site(root)


def test_small_files_are_read_and_large_ones_are_not(site):
    """One piece goes out with the head; the kernel sends the rest."""
    assert isinstance(site.ask().body, list)
    large = site.ask("/large.bin")
    assert isinstance(large.body, FileParts)
    large.body.close()
    assert site.get("/large.bin")[2] == LARGE
    assert site.get("/none")[2] == b""
    status, fields, content = site.get()
    assert (status, content) == ("200 OK", b"body {}")
    assert fields["Content-Type"] == "text/css; charset=utf-8"


def test_head_is_told_the_length_and_nothing_is_read(site, monkeypatch):
    """As much as GET would get."""
    monkeypatch.setattr(os, "pread", None)
    for path, length in (("/app.css", "7"), ("/large.bin", str(len(LARGE))), ("/none", "0")):
        status, fields, content = site.get(path, method="HEAD")
        assert (status, fields["Content-Length"], content) == ("200 OK", length, b"")


def test_ranges(site):
    """One, several, none."""
    assert site.get(Range="bytes=1-2")[::2] == ("206 Partial Content", b"od")
    status, fields, content = site.get(Range="bytes=0-0,6-")
    assert status == "206 Partial Content"
    boundary = fields["Content-Type"].rpartition("=")[2].encode()
    assert content.count(b"--" + boundary) == 3
    assert site.get(Range="bytes=7-")[0] == "416 Range Not Satisfiable"
    assert site.get(If_None_Match="*")[::2] == ("304 Not Modified", b"")


def test_a_boundary_is_never_the_same(site):
    """Nobody can put it into a file beforehand."""
    first, second = (site.get(Range="bytes=0-0,6-")[1]["Content-Type"] for _ in range(2))
    assert first != second


def test_what_is_not_there_is_404(site, root):
    """Whatever the reason."""
    os.mkfifo(root / "fifo")
    for path in ("/x", "/docs", "/docs/", "", "/", "/app.css/", "/app.css/x", "/../root/app.css", "/.env", "/fifo"):
        assert site.get(path)[0] == "404 Not Found", path


@given(
    st.lists(
        st.sampled_from(
            [
                b"docs",
                b"app.css",
                b"..",
                b".",
                b"",
                b"%2e%2e",
                b"%2f",
                b"/",
                b"secret",
                b"out",
                b"deep",
                b"%00",
                b"\\",
                b"x",
            ]
        )
    )
)
def test_no_path_leads_outside(walled, parts):
    """Nor to an error: it is a file of the directory's, or not there."""
    status, _, content = walled.get("/" + b"/".join(parts).decode())
    assert status in {"200 OK", "404 Not Found", "301 Moved Permanently"}
    assert b"secret" not in content


def test_what_is_not_there_may_be_the_applications(root):
    """And so is what is no GET or HEAD; a file is never asked for twice."""
    site = Site(root, falls_through=True)
    assert site.ask("/x") is None
    assert site.ask("/.env") is None
    assert site.ask("/docs/") is None
    assert site.ask(method="POST") is None
    assert site.get()[0] == "200 OK"


def test_other_methods_are_refused(site):
    """With what there is instead."""
    for method in ("POST", "PUT", "DELETE", "get", "BREW"):
        status, fields, _ = site.get(method=method)
        assert (status, fields["Allow"]) == ("405 Method Not Allowed", "GET, HEAD, OPTIONS")
    status, fields, content = site.get(method="OPTIONS")
    assert (status, fields["Allow"], content) == ("204 No Content", "GET, HEAD, OPTIONS", b"")


def test_an_index_stands_for_its_directory(root):
    """At its path with the slash; without, that is where it is; a directory without one is not there."""
    site = Site(root, index=b"index.html")
    status, fields, content = site.get("/docs/")
    assert (status, fields["Content-Type"], content) == ("200 OK", "text/html; charset=utf-8", b"<p>")
    assert site.get("/docs/index.html")[2] == b"<p>"
    assert site.get("/docs/index.html/")[0] == "404 Not Found"
    for path in ("/empty/", "/empty", "/odd/", "", "/"):
        assert site.get(path)[0] == "404 Not Found", path


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/docs", "./docs/"),
        ("/docs?a=1&b=/%20", "./docs/?a=1&b=/%20"),
        ("/d%6Fcs", "./d%6Fcs/"),
        ('/docs?"<\xe9>', "./docs/?%22%3C%E9%3E"),
        ("", "./a/"),
    ],
)
def test_a_directory_is_redirected_relatively(root, path, location):
    """So it is right behind a proxy that cuts the path; what is odd in it is encoded."""
    (root / "index.html").write_text("")
    site = Site(root, index=b"index.html")
    request = Request("GET", b"/a" + path.encode("latin-1"), "1.1", [])
    request.path, _, request.query = request.target.partition(b"?")
    response = site.files.answer(site.files.find(request.path), request)
    assert response.status == "301 Moved Permanently"
    assert dict(response.fields)["Location"] == location


def test_precompressed_files(root, site):
    """To whom accepts them; caches are told, whoever asks, as soon as there is one."""
    assert "Vary" not in site.get(Accept_Encoding="gzip")[1]
    (root / "app.css.gz").write_bytes(b"gz")
    plain, (_, fields, content) = site.get(), site.get(Accept_Encoding="gzip, br")
    assert content == b"gz"
    assert fields["Content-Encoding"] == "gzip"
    assert fields["Content-Type"] == plain[1]["Content-Type"] == "text/css; charset=utf-8"
    assert fields["Vary"] == plain[1]["Vary"] == "Accept-Encoding"
    assert fields["ETag"] != plain[1]["ETag"]
    assert plain[2] == b"body {}"
    (root / "app.css.br").write_bytes(b"br")
    assert site.get(Accept_Encoding="gzip, br")[2] == b"br"
    assert site.get(Accept_Encoding="gzip, br;q=0.5")[2] == b"gz"
    assert site.get("/app.css.gz", Accept_Encoding="gzip")[1]["Content-Type"] == "application/gzip"
    assert Site(root, is_precompressed=False).get(Accept_Encoding="gzip, br")[2] == b"body {}"


def test_a_precompressed_file_that_is_older_is_of_another_state(root, site):
    """Within a second they are of the same: compressors set the date of what they compress, not all to the nanosecond."""
    path = root / "app.css.gz"
    path.write_bytes(b"gz")
    changed = (root / "app.css").stat().st_mtime_ns // 10**9
    os.utime(root / "app.css", (changed, changed + 0.9))
    os.utime(path, (changed, changed))
    assert site.get(Accept_Encoding="gzip")[2] == b"gz"
    os.utime(path, (changed, changed - 1))
    _, fields, content = site.get(Accept_Encoding="gzip")
    assert content == b"body {}"
    assert "Vary" not in fields


def refuse(monkeypatch, number):
    """Let the next files and directories not be opened."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(serving.Walk, "open", fail)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EACCES, "403 Forbidden"),
        (errno.EPERM, "403 Forbidden"),
        (errno.EMFILE, "503 Service Unavailable"),
        (errno.ENOMEM, "503 Service Unavailable"),
        (errno.EIO, "500 Internal Server Error"),
    ],
)
def test_a_file_that_cannot_be_had(root, monkeypatch, caplog, number, status):
    """The log says which and why, once in a while; it is never the application's."""
    site = Site(root, falls_through=True)
    refuse(monkeypatch, number)
    for _ in range(3):
        assert site.get()[0] == status
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (f"the static '{root}/app.css' cannot be opened: {os.strerror(number).lower()}")


def test_the_log_is_told_again_after_a_while(site, monkeypatch, caplog):
    """And of each reason by itself."""
    clock = [monotonic()]
    monkeypatch.setattr(serving, "monotonic", lambda: clock[0])
    for number in (errno.EACCES, errno.EIO, errno.EACCES):
        refuse(monkeypatch, number)
        site.get()
    assert len(caplog.records) == 2
    clock[0] += serving.SILENCE
    site.get()
    assert len(caplog.records) == 3


def test_directories_that_cannot_be_opened_are_warned_of(root, tmp_path, caplog):
    """When a worker boots: it serves the application nevertheless."""
    Site(root).files.check()
    assert caplog.records == []
    Site(tmp_path / "gone\n").files.check()
    [record] = caplog.records
    assert record.getMessage() == f"the static '{tmp_path}/gone\\n' cannot be opened: no such file or directory"


def test_a_directory_that_has_gone_is_warned_of(root, caplog):
    """Its files are not there, or the application's; a file that is not there is nobody's fault."""
    site = Site(root)
    assert site.get("/x")[0] == "404 Not Found"
    assert caplog.records == []
    root.rename(root.parent / "gone")
    assert site.get()[0] == "404 Not Found"
    assert Site(root, falls_through=True).ask() is None
    assert [record.getMessage() for record in caplog.records] == [
        f"the static '{root}' cannot be opened: no such file or directory"
    ] * 2
    (root.parent / "gone").rename(root)
    assert site.get()[0] == "200 OK"


def test_a_file_that_shrinks_while_it_is_read(site, root, monkeypatch):
    """Reading again gives the rest, or says that there is none."""
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: read(fd, min(count, 2), offset))
    assert site.get()[2] == b"body {}"
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: read(fd, count, offset)[: 3 - offset])
    before = descriptors()
    with pytest.raises(ApplicationError, match="a file became 4 octets shorter while it was read"):
        site.ask()
    assert descriptors() == before


def test_a_response_is_an_application():
    """As PEP 3333 has it."""
    told = []
    assert Response("200 OK", [("A", "b")], [b"x"])({}, lambda *given: told.append(given)) == [b"x"]
    assert told == [("200 OK", [("A", "b")])]
