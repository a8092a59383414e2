"""The PROXY protocol through real servers, for every worker type."""

import json
import socket
import struct
from pathlib import Path

import pytest

from pyfork.connection.proxy_protocol import crc32c
from tests.authority import Authority
from tests.harness import PATIENCE, parse_response, read_all, wait_until

SHOWS = """
import json
NAMES = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT", "SERVER_PORT", "wsgi.url_scheme")

def app(environ, start_response):
    told = {name: environ.get(name) for name in NAMES}
    told["body"] = environ["wsgi.input"].read().decode()
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
V1 = b"PROXY TCP4 192.0.2.1 203.0.113.5 50000 443\r\n"
TOLD = ("192.0.2.1", "50000", "TCP4", "203.0.113.5", "443")
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
KEPT = GET.replace(b"close", b"keep-alive")


def v2(family=0x21, command=0x21, addresses=None, vectors=b""):
    if addresses is None:
        addresses = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + bytes(15) + b"\x02" + struct.pack("!HH", 7, 8)
    header = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", command, family, len(addresses) + len(vectors) + 7)
    header += addresses + vectors + b"\x03\0\x04"
    return header + struct.pack("!I", crc32c(header + bytes(4)))


V2 = v2(vectors=b"\x02\0\x01a\x20\0\x06\x01\0\0\0\0\x02")
TOLD_V2 = ("2001:db8::1", "7", "TCP6", "::2", "8")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    (directory / "shows.py").write_text(SHOWS)
    return directory


@pytest.fixture
def serve(share, worker_type, site, authority):
    """One worker of the type: at a port, at one that speaks TLS, and at a unix socket."""
    certfile, keyfile = authority.issue("server", "localhost")

    def serve_shows(protocol="auto", allow_from="127.0.0.1", header_timeout=60):
        name = site / f"{worker_type}-{protocol}-{allow_from}-{header_timeout}"
        server = share(
            "shows:app",
            cwd=site,
            bind=["http://127.0.0.1:0", "https://127.0.0.2:0", f"unix:{name}.sock"],
            settings={
                "workers": {"type": worker_type},
                "tls": {"certfile": certfile, "keyfile": keyfile},
                "proxy": {"protocol": protocol, "allow_from": [allow_from, "unix:"]},
                "http": {"header_timeout": header_timeout},
                "log": {"level": "debug", "access": f"{name}.log", "format": "%(h)s %(U)s %(s)s"},
            },
        )
        if not server.port:
            server.port = int(server.wait_log(r"listening at http://127.0.0.1:(\d+)")[1])
            server.tls_port = int(server.wait_log(r"listening at https://127.0.0.2:(\d+)")[1])
            server.path, server.access = f"{name}.sock", Path(f"{name}.log")
        return server

    return serve_shows


def connect(server):
    client = server.connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def connect_unix(server):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(server.path)
    return client


def talk(client, *pieces):
    """Return what is answered to pieces that are sent one by one."""
    with client:
        for piece in pieces:
            client.sendall(piece)
        return read_all(client)


def told(octets):
    response, rest = parse_response(octets)
    assert (response.status, rest) == (200, b"")
    environ = json.loads(response.body)
    return tuple(environ[name] for name in ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT"))


def octet_by_octet(octets):
    return [octets[place : place + 1] for place in range(len(octets))]


@pytest.mark.parametrize("way", ["at once", "apart", "octet by octet", "cut"])
@pytest.mark.parametrize(("header", "expected"), [(V1, TOLD), (V2, TOLD_V2)], ids=["v1", "v2"])
def test_a_header_tells_of_the_client(serve, header, expected, way):
    """However it comes; and in the access log, too."""
    server = serve()
    before = len(server.access.read_text())
    pieces = {
        "at once": [header + GET],
        "apart": [header, GET],
        "octet by octet": octet_by_octet(header + GET),
        "cut": [header[:20], header[20:] + GET[:9], GET[9:]],
    }
    assert told(talk(connect(server), *pieces[way])) == expected
    line = f"{expected[0]} / 200"
    wait_until(lambda: line in server.access.read_text()[before:].splitlines(), f"the access log has {line}")


def test_the_header_comes_once_for_each_connection(serve, worker_type):
    """All its requests are the client's, pipelined ones too; a second header is a bad request."""
    server = serve()
    if worker_type == "sync":  # which closes each connection
        assert told(talk(connect(server), V1 + KEPT)) == TOLD
        return
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\n"
    octets = talk(connect(server), V1 + KEPT + KEPT, body + V1, V1 + GET)
    for _ in range(3):
        response, octets = parse_response(octets)
        assert json.loads(response.body)["REMOTE_ADDR"] == "192.0.2.1"
    assert json.loads(response.body)["body"] == V1.decode()
    assert parse_response(octets)[0].status == 400


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: ff:: 1 2\r\n", v2(0, 0x20, b""), v2(0, 0x21, b""), v2(0x21, 0x20)],
)
def test_a_proxy_of_itself_is_itself(serve, header):
    """Health checks (LOCAL), and clients that it cannot tell of."""
    server = serve()
    with connect(server) as client:
        port = str(client.getsockname()[1])
        assert told(talk(client, header + GET)) == ("127.0.0.1", port, None, None, None)


def test_a_client_at_a_unix_socket_of_the_proxys_has_no_address(serve):
    """Neither has what it connected to."""
    header = v2(0x31, 0x21, b"/run/proxy.sock".ljust(216, b"\0"))
    assert told(talk(connect(serve()), header + GET)) == ("", "", "UNIX", None, None)


@pytest.mark.parametrize("header", [V1, V2])
def test_a_proxy_at_a_unix_socket_tells_of_its_client(serve, header):
    """Which has an address, though the proxy has none."""
    server = serve()
    expected = TOLD if header is V1 else TOLD_V2
    assert told(talk(connect_unix(server), header + GET)) == expected
    assert told(talk(connect_unix(server), *octet_by_octet(header), GET)) == expected
    assert told(talk(connect_unix(server), GET)) == ("", "", None, None, None)


@pytest.mark.parametrize("pieces", [[V1], [V2[:30], V2[30:]]])
def test_the_header_comes_before_tls(serve, authority, pieces):
    """The proxy does not speak it, and the client behind it does."""
    server = serve()
    with socket.create_connection(("127.0.0.2", server.tls_port), PATIENCE) as client:
        for piece in pieces:
            client.sendall(piece)
        with authority.trust().wrap_socket(client, server_hostname="localhost") as secure:
            response = parse_response(talk(secure, GET))[0]
    environ = json.loads(response.body)
    assert environ["REMOTE_ADDR"] == (TOLD if pieces[0] is V1 else TOLD_V2)[0]
    assert environ["wsgi.url_scheme"] == "https"


def test_with_auto_there_may_be_none(serve, authority):
    """Also where the first octets could begin one: what was taken for that belongs to the request."""
    server = serve()
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    for octets in (GET, post, b"\r\n" + GET, b"\r\n\r\n" + GET):
        for pieces in ([octets], octet_by_octet(octets)):
            with connect(server) as client:
                port = str(client.getsockname()[1])
                assert told(talk(client, *pieces)) == ("127.0.0.1", port, None, None, None)
    with socket.create_connection(("127.0.0.2", server.tls_port), PATIENCE) as client:
        secure = authority.trust().wrap_socket(client, server_hostname="localhost")
        assert parse_response(talk(secure, GET))[0].status == 200


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"PROXY TCP4 192.0.2.1\r\n" + GET, "The PROXY line is not TCP4, TCP6 or UNKNOWN"),
        (b"PROXY / HTTP/1.1\r\n\r\n", "The PROXY line is not"),
        (V1[:-2] + b" " * 100 + b"\r\n" + GET, "The PROXY line has no end"),
        (V2[:-1] + b"x" + GET, "The PROXY header has a wrong checksum"),
        (V2.replace(b"QUIT\n\x21", b"QUIT\n\x41") + GET, "The PROXY header has another version"),
    ],
)
def test_what_is_no_header_gets_an_answer(serve, octets, reason):
    """A readable one, however it comes, and at the port that speaks TLS too; then the connection ends."""
    server = serve()
    for pieces in ([octets], [*octet_by_octet(octets[:20]), octets[20:]]):
        response, rest = parse_response(talk(connect(server), *pieces))
        assert (response.status, rest, response.header("Connection")) == (400, b"", "close")
        assert response.body.decode().startswith(f"400 Bad Request: {reason}")
    with socket.create_connection(("127.0.0.2", server.tls_port), PATIENCE) as client:
        assert parse_response(talk(client, octets))[0].status == 400
    server.wait_log(f"refused the proxy at 127.0.0.1 with 400: {reason}", count=3)
    assert told(talk(connect(server), V1 + GET)) == TOLD


def test_half_a_signature_is_no_request(serve):
    """Nor does it begin TLS, also where it was taken octet by octet for what might become a header."""
    server = serve()
    octets = V2[:9] + b"\r\n" + GET
    for pieces in ([octets], octet_by_octet(octets)):
        assert parse_response(talk(connect(server), *pieces))[0].status == 400
        with socket.create_connection(("127.0.0.2", server.tls_port), PATIENCE) as client:
            assert parse_response(talk(client, *pieces))[0].status == 400


@pytest.mark.parametrize("octets", [b"", V1[:20], V2[:15], V2[:-1], b"\r\n\r\n", b"P"])
def test_what_does_not_come_is_not_waited_for(serve, octets):
    """For `header_timeout`, in all and without an answer; as for a client that sends nothing at all."""
    server = serve(header_timeout=0.5)
    with connect(server) as idle, connect(server) as client:
        client.sendall(octets)
        assert read_all(client) == b""
        assert read_all(idle) == b""
    server.wait_log("127.0.0.1: its PROXY header did not come in time", count=2)


def test_who_leaves_is_let_go(serve):
    """As health checks do that only connect, and those that go in the middle."""
    server = serve()
    for octets in (b"", V1[:20], V2[:15]):
        with connect(server) as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    server.wait_log("127.0.0.1: the client has gone", count=3)
    with connect(server) as client:
        client.sendall(V1[:20])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.wait_log("127.0.0.1: the client has gone", count=4)
    assert told(talk(connect(server), V1 + GET)) == TOLD


@pytest.mark.parametrize("octets", [GET, V2 + GET, b"\x16\x03\x01"], ids=["none", "another", "TLS"])
def test_a_version_that_is_asked_for_must_come(serve, octets):
    """Whoever sends something else, or the other version, is refused: also the proxy's own health checks."""
    server = serve("v1")
    assert told(talk(connect(server), V1 + GET)) == TOLD
    response = parse_response(talk(connect(server), octets))[0]
    assert (response.status, response.body) == (
        400,
        b"400 Bad Request: There is no header of the PROXY protocol, version 1\n",
    )


def test_others_cannot_introduce_anybody(serve, authority):
    """From them it is a bad request; without it they are who they are."""
    server = serve("v1", "10.0.0.1")
    for octets in (V1 + GET, V2 + GET, b"PROXY UNKNOWN\r\n" + GET):
        for pieces in ([octets], octet_by_octet(octets[:60])):
            assert parse_response(talk(connect(server), *pieces))[0].status == 400
        with socket.create_connection(("127.0.0.2", server.tls_port), PATIENCE) as client:
            assert parse_response(talk(client, octets))[0].status == 400
    with connect(server) as client:
        port = str(client.getsockname()[1])
        assert told(talk(client, GET)) == ("127.0.0.1", port, None, None, None)
    assert told(talk(connect_unix(server), V1 + GET)) == TOLD


def test_a_client_is_no_proxy(serve):
    """What a trusted proxy passes on is its client's: whose fields count by its own address, and are removed."""
    server = serve()
    forged = GET[:-2] + b"X-Forwarded-Proto: https\r\n\r\n"
    response = parse_response(talk(connect(server), V1 + forged))[0]
    assert json.loads(response.body)["wsgi.url_scheme"] == "http"
    response = parse_response(talk(connect(server), b"PROXY UNKNOWN\r\n" + forged))[0]
    assert json.loads(response.body)["wsgi.url_scheme"] == "http"
    inner = V1.replace(b"192.0.2.1", b"127.0.0.1")
    response = parse_response(talk(connect(server), inner + forged))[0]
    assert json.loads(response.body)["wsgi.url_scheme"] == "https"
