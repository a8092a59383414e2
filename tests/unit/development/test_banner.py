"""The error of the newest version on the pages of the last good one: in the right place, of the right length."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyfork.development.banner import FaultsShown, with_faults_shown
from pyfork.development.stand_in import StandIn
from pyfork.errors import ApplicationError
from pyfork.gateway.file_wrapper import FileWrapper
from pyfork.gateway.wsgi import Exchange
from pyfork.http1.response import ResponseEncoder
from pyfork.ipc.fault import ReloadFault
from tests.harness import Response, parse_response

ERROR = "worker 0 gen 2 could not boot: <b>é</b> & more\nTraceback: line 1 \u2028 {x}\n"
BANNER = b'<div id="pyfork-reload-error"'
PAGE = b"<html><body>hello</body></html>"
HTML = ("Content-Type", "text/html; charset=utf-8")


@pytest.fixture
def fault() -> ReloadFault:
    """Generation 2 has failed."""
    shared = ReloadFault()
    shared.set(2, ERROR)
    return shared


def serve(application: Any, method: str = "GET", version: str = "1.1") -> Response:
    """Answer a request as the server does, framing and checks included."""
    encoder = ResponseEncoder(method, version, True, b"date")
    octets = bytearray()
    exchange = Exchange(application, {"REQUEST_METHOD": method}, encoder, octets.extend)
    block: Any = exchange.begin()
    while True:
        if not isinstance(block, (bytes, memoryview)):
            with open(block.fd, "rb", closefd=False) as file:
                file.seek(block.offset)
                block = block.head + file.read(block.count)
            octets += block
            octets += exchange._finish()
            break
        octets += block
        if exchange.is_finished:
            break
        block = exchange.advance()
    exchange.close()
    assert encoder.missing == encoder.excess == 0
    response, rest = parse_response(bytes(octets), is_head=method == "HEAD")
    assert rest == b""
    return response


def answering(body: Any, *headers: tuple[str, str], status: str = "200 OK") -> Callable[..., Any]:
    def application(_environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response(status, list(headers))
        return body() if callable(body) else body

    return application


def test_without_the_setting_there_is_no_layer() -> None:
    """The hot path of production has nothing of it; and the stand-in shows the error itself."""
    application = answering([PAGE])
    assert with_faults_shown(application, None, 1) is application
    shared = ReloadFault()
    stand_in = StandIn("error", shared, 1)
    assert with_faults_shown(stand_in, shared, 1) is stand_in
    assert isinstance(with_faults_shown(application, shared, 1), FaultsShown)


@pytest.mark.parametrize("generation", [2, 3])
def test_a_worker_that_is_not_older_shows_nothing(fault: ReloadFault, generation: int) -> None:
    """It is of the version that mends what failed."""
    response = serve(with_faults_shown(answering([PAGE], HTML), fault, generation))
    assert response.body == PAGE
    assert response.header("X-Pyfork-Reload-Error") is None


def lazy(*blocks: bytes) -> Callable[..., Any]:
    def application(_environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [HTML])
        yield from blocks

    return application


def writing(_environ: Any, start_response: Callable[..., Any]) -> Any:
    write = start_response("200 OK", [HTML])
    write(PAGE[:12])
    return [PAGE[12:]]


class Indexed:
    """The old protocol of iteration."""

    def __getitem__(self, index: int) -> bytes:
        return [PAGE][index]


@pytest.mark.parametrize(
    "application",
    [
        answering([PAGE], HTML),
        answering([PAGE[:12], b"", PAGE[12:]], HTML),
        answering((PAGE,), HTML),
        answering([PAGE], HTML, ("Content-Length", str(len(PAGE)))),
        answering(lambda: iter([PAGE[:12], PAGE[12:]]), HTML),
        answering(lambda: iter([PAGE[:12], PAGE[12:]]), HTML, ("content-length", str(len(PAGE)))),
        answering(Indexed(), HTML),
        answering([PAGE], ("content-TYPE", "TEXT/HTML"), ("Content-Encoding", "identity")),
        answering([PAGE], HTML, status="404 Not Found"),
        answering([PAGE], HTML, status="500 Internal Server Error"),
        lazy(PAGE),
        lazy(PAGE[:12], PAGE[12:]),
        writing,
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_page_has_the_error_before_the_end_of_its_body(
    fault: ReloadFault, application: Callable[..., Any], version: str
) -> None:
    """However the application gives it; the rest of the page is as it was, and the length is right."""
    response = serve(with_faults_shown(application, fault, 1), version=version)
    before, banner, after = response.body.partition(BANNER)
    assert banner
    assert before == b"<html><body>hello"
    assert after.endswith(b"</pre></div></body></html>")
    assert response.header("Cache-Control") == "no-store"
    first = "worker 0 gen 2 could not boot: <b>?</b> & more"
    assert response.header("X-Pyfork-Reload-Error") == first


def test_the_error_is_escaped(fault: ReloadFault) -> None:
    """A traceback quotes code, which is full of markup; and it is ASCII, whatever the page's encoding."""
    body = serve(with_faults_shown(answering([PAGE], HTML), fault, 1)).body
    assert b"&lt;b&gt;&#233;&lt;/b&gt; &amp; more\nTraceback: line 1 &#8232; {x}</pre>" in body
    assert body.isascii()


@pytest.mark.parametrize(
    "body",
    [[b"<p>no end"], lambda: iter([b"<p>", b"no end"]), [b"<p>no e", b"nd"], lambda: iter([b"<p>no e", b"nd", b""])],
)
@pytest.mark.parametrize("length", [(), (("Content-Length", "9"),)])
def test_without_an_end_of_the_body_it_follows_the_page(fault: ReloadFault, body: Any, length: Any) -> None:
    """Browsers take it there too."""
    response = serve(with_faults_shown(answering(body, HTML, *length), fault, 1))
    assert response.body.startswith(b"<p>no end" + BANNER)
    assert response.body.endswith(b"</div>")


@pytest.mark.parametrize("body", [[], [b""], lambda: iter([])])
@pytest.mark.parametrize("length", [(), (("Content-Length", "0"),)])
def test_an_empty_page_is_the_error_alone(fault: ReloadFault, body: Any, length: Any) -> None:
    """A redirection with an empty body, for one."""
    response = serve(with_faults_shown(answering(body, HTML, *length, status="302 Found"), fault, 1))
    assert response.body.startswith(BANNER)


def test_validators_of_the_page_without_it_are_left_out(fault: ReloadFault) -> None:
    """A browser would otherwise be told later that the page with the error is still the right one."""
    headers = [("ETag", '"1"'), ("Last-Modified", "yesterday"), ("Cache-Control", "public"), ("X-Other", "kept")]
    response = serve(with_faults_shown(answering([PAGE], HTML, *headers), fault, 1))
    names = [name for name, _ in response.headers]
    assert "ETag" not in names
    assert "Last-Modified" not in names
    assert response.header("Cache-Control") == "no-store"
    assert response.header("X-Other") == "kept"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Content-Type", "application/json")], "200 OK"),
        ([], "200 OK"),
        ([HTML, ("Content-Encoding", "gzip")], "200 OK"),
        ([HTML, ("Content-Disposition", 'attachment; filename="a.html"')], "200 OK"),
        ([("Content-Type", "text/html; charset=UTF-16")], "200 OK"),
        ([HTML, ("Content-Range", "bytes 0-1/9")], "206 Partial Content"),
    ],
)
@pytest.mark.parametrize("body", [[PAGE], lambda: iter([PAGE])])
def test_what_is_no_page_has_a_header_only(fault: ReloadFault, headers: Any, status: str, body: Any) -> None:
    """Its octets are the application's; so are its validators."""
    response = serve(with_faults_shown(answering(body, ("ETag", '"1"'), *headers, status=status), fault, 1))
    assert response.body == PAGE
    assert response.header("ETag") == '"1"'
    assert response.header("X-Pyfork-Reload-Error") is not None


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_a_status_without_a_body_gets_none(fault: ReloadFault, status: str) -> None:
    """RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5."""
    response = serve(with_faults_shown(answering([], HTML, ("ETag", '"1"'), status=status), fault, 1))
    assert response.body == b""
    assert response.header("ETag") == '"1"'
    assert response.header("X-Pyfork-Reload-Error") is not None


def test_head_is_answered_as_the_application_does(fault: ReloadFault) -> None:
    """With the length that it names, and the header."""
    application = answering([], HTML, ("Content-Length", str(len(PAGE))))
    response = serve(with_faults_shown(application, fault, 1), method="HEAD")
    assert response.header("Content-Length") == str(len(PAGE))
    assert response.header("X-Pyfork-Reload-Error") is not None


@pytest.mark.parametrize("length", [None, len(PAGE), 17])
def test_a_file_that_is_a_page_has_it_too(fault: ReloadFault, tmp_path: Path, length: int | None) -> None:
    """Also one that is to be sent up to its Content-Length; the file is closed."""
    path = tmp_path / "page.html"
    path.write_bytes(PAGE)
    with path.open("rb") as file:
        headers = [HTML] if length is None else [HTML, ("Content-Length", str(length))]
        body = serve(with_faults_shown(answering(FileWrapper(file), *headers), fault, 1)).body
        assert file.closed
    before, banner, after = body.partition(BANNER)
    assert before == PAGE[:17]
    assert banner
    assert after.endswith(b"</div>" if length == 17 else b"</div></body></html>")


def test_a_file_that_is_none_is_sent_by_the_kernel_as_ever(fault: ReloadFault, tmp_path: Path) -> None:
    """The layer is out of its way: what the server gets is the application's own wrapper."""
    path = tmp_path / "data"
    path.write_bytes(PAGE)
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        layer = with_faults_shown(answering(wrapper, ("Content-Type", "image/png")), fault, 1)
        assert layer({"REQUEST_METHOD": "GET"}, lambda *_: None) is wrapper
        assert serve(layer).body == PAGE


def test_an_application_may_begin_anew(fault: ReloadFault) -> None:
    """PEP 3333: start_response() with exc_info replaces the head, and the banner follows the last one."""

    def application(_environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [HTML, ("Content-Length", "1")])
        start_response("500 No", [("Content-Type", "text/plain")], (ValueError, ValueError(), None))
        return [b"plain"]

    assert serve(with_faults_shown(application, fault, 1)).body == b"plain"


def test_what_is_closed_is_what_the_application_returned(fault: ReloadFault) -> None:
    """It may wait for that; what has no close() is none the worse."""

    class Body(io.BytesIO):
        pass

    body = Body(PAGE)
    assert BANNER in serve(with_faults_shown(answering(body, HTML), fault, 1)).body
    assert body.closed


@pytest.mark.parametrize(
    ("application", "message"),
    [
        (answering(None, HTML), "an iterable of bytes"),
        (answering("text", HTML), "an iterable of bytes"),
        (answering(["text"], HTML), "yielded a 'str'|returned a list"),
        (answering([PAGE], HTML, ("Content-Length", "1"), ("Content-Length", "2")), "Content-Length"),
        (answering([PAGE], HTML, ("Content-Length", "many")), "Content-Length"),
        (answering([PAGE], HTML, ["X", "y"]), "."),  # type: ignore[arg-type]
        (answering([PAGE], HTML, status=200), "status"),  # type: ignore[arg-type]
        (lambda *_: [PAGE], "did not call start_response"),
    ],
)
def test_what_breaks_the_protocol_is_told_by_the_server(
    fault: ReloadFault, application: Callable[..., Any], message: str
) -> None:
    """In the words that it has for it: the layer is not to blame and does not get in the way."""
    with pytest.raises(ApplicationError, match=message):
        serve(with_faults_shown(application, fault, 1))
