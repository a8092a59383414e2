"""TLS through real servers, for every worker type."""

import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority, MemoryClient, ask, connect, get, read_response
from tests.conftest import WORKER_TYPES
from tests.harness import Server, parse_response, read_all, wait_until

APP = """
import hashlib, json, os

def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(query, "rb"))
    if path == "/broken":
        start_response("200 OK", [])
        return broken()
    if path == "/blocks":
        start_response("200 OK", [])
        return (bytes([number % 251]) * 1000 for number in range(int(query)))
    if path == "/big":
        body = b"0123456789" * (int(query) // 10)
    elif path == "/hash":
        body = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
    else:
        known = {name: value for name, value in environ.items() if isinstance(value, str)}
        body = json.dumps(known | {"pid": os.getpid()}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

def broken():
    yield b"a" * 1000
    raise ValueError("deliberate")
"""
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has issued all certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> dict[str, str]:
    """The server's certificate, as settings."""
    certfile, keyfile = authority.issue("server", "localhost")
    return {"certfile": certfile, "keyfile": keyfile}


@pytest.fixture(scope="module")
def trust(authority: Authority) -> ssl.SSLContext:
    """A client without a certificate."""
    return authority.trust()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the application."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "secure.py").write_text(APP)
    return directory


@pytest.fixture
def server(share: Callable[..., Server], worker_type: str, site: Path, pair: dict[str, str]) -> Server:
    """Two workers of the type."""
    workers = {"type": worker_type, "count": 2, "threads": 4 if worker_type == "threadpool" else 1}
    return share("secure:app", cwd=site, settings={"workers": workers, "tls": pair, "log": {"level": "debug"}})


@pytest.fixture(scope="module")
def names(authority: Authority) -> dict[str, str]:
    """More certificates, by server names."""
    return {name: ":".join(authority.issue(name, name)) for name in ("a.example.org", "*.example.org")}


@pytest.fixture
def strict(
    share: Callable[..., Server],
    worker_type: str,
    site: Path,
    authority: Authority,
    pair: dict[str, str],
    names: dict[str, str],
) -> Server:
    """One worker of the type, with all the settings that are not the defaults."""
    tls = pair | {"minimum_version": "1.3", "sni": names, "verify": "optional", "ca_certs": authority.path}
    http = {"header_timeout": 60}  # for those that say nothing while others are asked
    return share("secure:app", cwd=site, settings={"workers": {"type": worker_type}, "tls": tls, "http": http})


@pytest.fixture
def hasty(share: Callable[..., Server], worker_type: str, site: Path, pair: dict[str, str]) -> Server:
    """One worker of the type, which waits for no head, and so for no handshake, for long."""
    settings = {"workers": {"type": worker_type}, "tls": pair, "http": {"header_timeout": 1}}
    return share("secure:app", cwd=site, settings=settings)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_environ_tells_of_the_connection(server: Server, authority: Authority, version: ssl.TLSVersion) -> None:
    """By the names of mod_ssl; nobody was asked for a certificate."""
    context = authority.trust()
    context.minimum_version = context.maximum_version = version
    with connect(server, context) as client:
        ask(client, fields="Connection: close\r\n")
        environ = json.loads(parse_response(read_all(client))[0].body)
        assert environ["SSL_PROTOCOL"] == client.version()
        assert environ["SSL_CIPHER"] == client.cipher()[0]  # type: ignore[index]
    assert (environ["wsgi.url_scheme"], environ["HTTPS"], environ["SSL_SESSION_RESUMED"]) == ("https", "on", "Initial")
    assert not [name for name in environ if name.startswith("SSL_CLIENT")]


@pytest.mark.parametrize("size", [1, 16384, 16385, 2_000_000])
def test_a_body_comes_whole(server: Server, trust: ssl.SSLContext, size: int) -> None:
    """Beyond one record, and beyond what is kept in memory."""
    body = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    with connect(server, trust) as client:
        ask(client, "/hash", method="POST", body=body)
        assert read_response(client).body.decode() == hashlib.sha256(body).hexdigest()


def test_a_response_goes_whole_to_a_slow_client(server: Server, trust: ssl.SSLContext) -> None:
    """It is more than all buffers hold, and the client takes it in small pieces."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(30)
    plain.connect(("127.0.0.1", server.port))
    with trust.wrap_socket(plain, server_hostname="localhost") as client:
        ask(client, "/big?8000000")
        assert read_response(client, 3001).body == b"0123456789" * 800_000


def test_blocks_of_a_response_keep_their_order(server: Server, trust: ssl.SSLContext) -> None:
    """In chunks, far more than the client's kernel takes at once."""
    body = get(server, trust, "/blocks?4000").body
    assert body == b"".join(bytes([number % 251]) * 1000 for number in range(4000))


def test_a_file_is_never_sent_plain(server: Server, trust: ssl.SSLContext, tmp_path: Path) -> None:
    """The kernel sends files as they are: it must not be asked to."""
    octets = bytes(range(256)) * 8000
    (tmp_path / "file").write_bytes(octets)
    assert get(server, trust, f"/file?{tmp_path / 'file'}").body == octets


def test_a_connection_persists(server: Server, trust: ssl.SSLContext, worker_type: str) -> None:
    """As long as without TLS: sync closes each after its response."""
    with connect(server, trust) as client:
        for _ in range(1 if worker_type == "sync" else 5):
            ask(client)
            assert read_response(client).status == 200


@pytest.mark.parametrize("is_one_record", [True, False])
def test_pipelined_requests_are_answered_without_another_event(
    server: Server, trust: ssl.SSLContext, worker_type: str, is_one_record: bool
) -> None:
    """The kernel has nothing more to say once they are decrypted: they must not be waited for."""
    count = 1 if worker_type == "sync" else 60
    requests = [f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for number in range(count)]
    with server.connect() as plain:
        client = MemoryClient(trust)
        shake_hands(client, plain)
        plain.sendall(client.encrypt(b"".join(requests)) if is_one_record else b"".join(map(client.encrypt, requests)))
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < count or not answers.endswith(b"}"):
            octets = plain.recv(65536)
            assert octets
            answers += client.decrypt(octets)
    rest = answers
    for number in range(count):
        response, rest = parse_response(rest)
        assert json.loads(response.body)["PATH_INFO"] == f"/{number}"


def shake_hands(client: MemoryClient, plain: socket.socket, step: int = 65536) -> None:
    """Do the client's handshake over a connection, so many octets at a time."""
    octets = client.shake_hands()
    while octets:
        for start in range(0, len(octets), step):
            plain.sendall(octets[start : start + step])
        if client.tls.cipher() is not None:
            return
        octets = b""
        while not octets:
            octets = client.shake_hands(plain.recv(65536))


def test_octet_by_octet_it_is_the_same(server: Server, trust: ssl.SSLContext) -> None:
    """The handshake, and the records of a request."""
    with server.connect() as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = MemoryClient(trust)
        shake_hands(client, plain, step=1)
        octets = client.encrypt(b"GET / HTTP/1.1\r\nHo") + client.encrypt(b"st: localhost\r\nConnection: close\r\n\r\n")
        for number in range(len(octets)):
            plain.sendall(octets[number : number + 1])
        assert client.decrypt(read_all(plain)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_is_told_to_continue(server: Server, trust: ssl.SSLContext) -> None:
    """RFC 9110, section 10.1.1."""
    with connect(server, trust) as client:
        client.sendall(b"POST /hash HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert read_response(client).body.decode() == hashlib.sha256(b"body").hexdigest()


def test_plain_http_is_answered_readably(server: Server) -> None:
    """Whoever forgot the s; the rest of what they send is read, so that the answer arrives."""
    for _ in range(3):
        response = parse_response(server.exchange(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 100_000))[0]
        assert (response.status, response.header("Connection")) == (400, "close")
        assert b"The plain HTTP request was sent to an HTTPS port" in response.body


def test_an_answer_before_the_end_of_the_request_can_be_read(server: Server, trust: ssl.SSLContext) -> None:
    """What the client goes on sending is read and forgotten; the end is said by TLS."""
    for request, status in (
        (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1_000_000, 431),
    ):
        with connect(server, trust) as client:
            client.suppress_ragged_eofs = False
            client.sendall(request)
            assert parse_response(read_all(client))[0].status == status


def test_a_good_end_says_so_and_a_bad_one_does_not(server: Server, trust: ssl.SSLContext) -> None:
    """An HTTP/1.0 body ends with the connection: only a close_notify tells that it is whole."""
    server.expect_errors("deliberate|GET /broken")
    for path, count in (("/blocks?2", 2), ("/blocks?4000", 4000), ("/broken", 0)):
        with connect(server, trust) as client:
            client.suppress_ragged_eofs = False
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            if count:
                assert len(parse_response(read_all(client))[0].body) == count * 1000
            else:
                with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
                    read_all(client)


def test_clients_that_go_in_the_handshake_harm_nobody(server: Server, trust: ssl.SSLContext) -> None:
    """Before a word, in the middle of one, with a reset, and with what is no TLS at all."""
    for octets in (b"", HALF_A_HELLO, b"\x16\x03\x01\x00\x05hello", b"\0" * 100):
        for has_reset in (False, True):
            with server.connect() as plain:
                plain.sendall(octets)
                if has_reset:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert get(server, trust).status == 200


def test_a_handshake_has_a_deadline(hasty: Server) -> None:
    """Half a one is closed without a word."""
    with hasty.connect() as half:
        half.sendall(HALF_A_HELLO)
        assert read_all(half) == b""


@pytest.mark.parametrize("worker_type", [name for name in WORKER_TYPES if name != "sync"], indirect=True)
def test_half_a_handshake_is_nothing_to_the_others(strict: Server, trust: ssl.SSLContext) -> None:
    """Where there is a loop; those that say nothing at all are nothing to them either."""
    with strict.connect() as half, contextlib.ExitStack() as stack:
        half.sendall(HALF_A_HELLO)
        silent = [stack.enter_context(strict.connect()) for _ in range(20)]
        for _ in range(5):
            assert get(strict, trust).status == 200
        assert not any(is_readable(connection) for connection in (half, *silent))


def is_readable(connection: socket.socket) -> bool:
    """Return whether something has come, or the end."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def test_the_lowest_version_is_kept(strict: Server, authority: Authority, trust: ssl.SSLContext) -> None:
    """An older client is told so by an alert."""
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        get(strict, context)
    assert get(strict, trust).status == 200


def test_each_name_has_its_certificate(strict: Server, authority: Authority) -> None:
    """Exact names before patterns; an unknown name gets the default."""
    context = authority.trust()
    context.check_hostname = False
    for name, expected in (
        ("a.example.org", "a.example.org"),
        ("b.example.org", "*.example.org"),
        ("other.org", "localhost"),
    ):
        with connect(strict, context, name) as client:
            assert client.getpeercert()["subjectAltName"] == (("DNS", expected),)  # type: ignore[index]
            ask(client, fields="Connection: close\r\n")
            assert parse_response(read_all(client))[0].status == 200


def test_clients_may_show_who_they_are(
    strict: Server, authority: Authority, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """The environ has the name; a certificate of nobody's is refused, and none at all is right."""
    ann = authority.trust(*authority.issue("ann", "ann@example.org", common_name="Ann"))
    environ = json.loads(get(strict, ann).body)
    assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert environ["SSL_CLIENT_S_DN"].startswith("CN=Ann,")
    assert environ["SSL_CLIENT_CERT"].startswith("-----BEGIN CERTIFICATE-----")
    stranger = authority.trust(*Authority(tmp_path).issue("eve", "eve@example.org"))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        get(strict, stranger)
    assert json.loads(get(strict, trust).body)["SSL_CLIENT_VERIFY"] == "NONE"


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_clients_must_show_who_they_are(
    share: Callable[..., Server],
    shell: str,
    site: Path,
    authority: Authority,
    pair: dict[str, str],
    trust: ssl.SSLContext,
) -> None:
    """In each of the two shells; the refusal can be read though TLS 1.3 has the client send its request before it."""
    tls = pair | {"verify": "required", "ca_certs": authority.path}
    server = share("secure:app", cwd=site, settings={"workers": {"type": shell}, "tls": tls})
    ann = authority.trust(*authority.issue("ann", "ann@example.org", common_name="Ann"))
    assert json.loads(get(server, ann).body)["SSL_CLIENT_VERIFY"] == "SUCCESS"
    for _ in range(10):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            get(server, trust)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_with_another_worker(
    server: Server, authority: Authority, version: ssl.TLSVersion
) -> None:
    """The keys of tickets are shared: whichever worker answers, the session goes on."""
    context = authority.trust()
    context.minimum_version = context.maximum_version = version
    server.wait_workers(2)
    pids = set()

    def answer_of(connection: ssl.SSLSocket) -> Any:
        ask(connection)
        environ = json.loads(read_response(connection).body)
        pids.add(environ["pid"])
        return environ["SSL_SESSION_RESUMED"]

    with connect(server, context) as first:
        assert answer_of(first) == "Initial"
        session = first.session
    with contextlib.ExitStack() as stack:

        def have_both_answered() -> bool:
            held = stack.enter_context(connect(server, context, session=session))  # its worker is busy, or has one more
            with connect(server, context, session=session) as other:
                assert answer_of(other) == "Resumed"
            assert answer_of(held) == "Resumed"
            return len(pids) == 2

        wait_until(have_both_answered, "both workers have answered")


def test_each_bind_says_whether_it_speaks_tls(
    start: Callable[..., Server], site: Path, pair: dict[str, str], trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """By its scheme; one without is plain beside one that has a scheme."""
    binds = ["https://127.0.0.1:0", "http://localhost:0", f"unix:{tmp_path / 'a.sock'}"]
    server = start("secure:app", cwd=site, bind=binds, settings={"workers": {"threads": 2}, "tls": pair})
    server.wait_workers(1)
    server.port = int(server.wait_log(r"listening at https://127.0.0.1:(\d+)")[1])
    assert json.loads(get(server, trust).body)["wsgi.url_scheme"] == "https"
    server.port = int(server.wait_log(r"listening at http://127.0.0.1:(\d+)")[1])
    environ = json.loads(server.get("/").body)
    assert environ["wsgi.url_scheme"] == "http"
    assert not [name for name in environ if name.startswith(("SSL_", "HTTPS"))]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a.sock"))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200 OK")


def test_many_clients_at_once(server: Server, trust: ssl.SSLContext) -> None:
    """Handshakes and requests of all of them, each with its own answer."""
    failures = []

    def visit(number: int) -> None:
        try:
            for turn in range(5):
                path = f"/{number}.{turn}"
                assert json.loads(get(server, trust, path).body)["PATH_INFO"] == path
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
