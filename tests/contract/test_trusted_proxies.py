"""A proxy's word on the client, through a real server, for every worker type."""

import json
import socket

import pytest

from tests.harness import parse_response, read_all

SHOWS = """
import json
NAMES = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {name: environ[name] for name in NAMES}
    told |= {name: value for name, value in environ.items() if "FORWARDED" in name}
    if environ["PATH_INFO"] == "/fix":  # as middlewares do
        environ["REMOTE_ADDR"] = "198.51.100.7"
    if environ["PATH_INFO"] == "/break":
        environ["REMOTE_ADDR"] = None
    return [json.dumps(told).encode()]
"""
FIELD = "X-Forwarded-Proto: https\r\n"
CHAIN = (
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.1:77, 10.0.0.5\r\nX-Forwarded-Host: evil, shop.example\r\n"
    "X-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /shop\r\nX-Forwarded-Proto: https\r\n"
    "Forwarded: for=8.8.8.8;host=evil\r\nX_Forwarded_For: 8.8.8.8\r\n"
)
ALL = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"]
TRUSTED = ["127.0.0.1", "10.0.0.0/8"]


@pytest.fixture
def serve(start, worker_type, tmp_path):
    """Start a server of the type whose application shows what it is told."""
    (tmp_path / "shows.py").write_text(SHOWS)

    def serve_shows(**keywords):
        settings = {"workers": {"type": worker_type}, **keywords.pop("settings", {})}
        return start("shows:app", cwd=tmp_path, settings=settings, **keywords)

    return serve_shows


def scheme(response):
    told = json.loads(response.body)
    return told["wsgi.url_scheme"], told.get("HTTP_X_FORWARDED_PROTO", "-")


def test_a_proxy_on_the_same_machine_is_believed(serve):
    """127.0.0.1 is trusted unless somebody says otherwise, as far as the scheme; without the field nothing changes."""
    server = serve()
    assert scheme(server.get("/", headers=FIELD)) == ("https", "https")
    assert scheme(server.get("/")) == ("http", "-")
    told = json.loads(server.get("/", headers=CHAIN).body)
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"], told["SCRIPT_NAME"]) == ("127.0.0.1", "https", "")
    assert told["HTTP_X_FORWARDED_HOST"] == "evil, shop.example"  # a middleware's to believe, as with gunicorn


def test_a_stranger_is_not_believed(serve):
    """Nor does the application see the field; a reload can change that, and whom to trust, by which family."""
    server = serve(settings={"proxy": {"trusted": ["10.0.0.1"]}})
    assert scheme(server.get("/", headers=FIELD)) == ("http", "-")
    told = json.loads(server.get("/", headers=CHAIN).body)
    assert [name for name in told if "FORWARDED" in name] == []
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    server.wait_log("such as X-Forwarded-Proto, came from 127.0.0.1, which proxy.trusted does not list")
    server.configure({"proxy": {"trusted": ["10.0.0.1"], "untrusted_headers": "keep"}})
    server.signal("HUP")
    server.wait_workers(1, generation=2)
    assert scheme(server.get("/", headers=FIELD)) == ("http", "https")
    server.configure({"proxy": {"trusted": TRUSTED, "headers": ["forwarded"], "untrusted_headers": "remove"}})
    server.signal("HUP")
    server.wait_workers(1, generation=3)
    field = 'Forwarded: for="8.8.8.8\r\nForwarded: for="[2001:db8::1]:7";proto=https;host="a:1", for=10.0.0.5\r\n'
    told = json.loads(server.get("/", headers=f"{field}X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Host: evil\r\n").body)
    assert told == {
        "REMOTE_ADDR": "2001:db8::1",
        "REMOTE_PORT": "7",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "a:1",
        "SERVER_NAME": "a",
        "SERVER_PORT": "1",
        "SCRIPT_NAME": "",
        "HTTP_FORWARDED": 'for="[2001:db8::1]:7";proto=https;host="a:1", for=10.0.0.5',
    }


@pytest.mark.parametrize(
    "keywords", [{}, {"arguments": ["--forwarded-allow-ips", "10.0.0.1"]}, {"environ": {"FORWARDED_ALLOW_IPS": "::1"}}]
)
def test_a_proxy_at_a_unix_socket_is_believed(serve, tmp_path, keywords):
    """By default, and with gunicorn's ways of naming addresses, as with gunicorn."""
    path = tmp_path / "a.sock"
    arguments = [*keywords.pop("arguments", []), "--proxy-headers", "x-forwarded-proto,x-forwarded-for"]
    server = serve(bind=[f"unix:{path}"], arguments=arguments, **keywords)
    server.wait_workers(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{FIELD}X-Forwarded-For: ::2\r\n\r\n".encode()
        )
        response = parse_response(read_all(client))[0]
    assert scheme(response) == ("https", "https")
    told = json.loads(response.body)
    assert (told["REMOTE_ADDR"], told["SERVER_NAME"], told["SERVER_PORT"]) == ("::2", "a", "443")


def test_all_that_a_trusted_proxy_tells_is_believed(serve, tmp_path):
    """For each request of a connection on its own, and in the access log too, as gunicorn's %(h)s is REMOTE_ADDR."""
    log = tmp_path / "access.log"
    server = serve(
        settings={"proxy": {"trusted": TRUSTED, "headers": ALL}, "log": {"access": str(log), "format": "%(h)s %(U)s"}}
    )
    for _ in range(3):  # the third time from memory
        assert json.loads(server.get("/", headers=CHAIN).body) == {
            "REMOTE_ADDR": "192.0.2.1",
            "REMOTE_PORT": "77",
            "wsgi.url_scheme": "https",
            "HTTP_HOST": "shop.example:8443",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "8443",
            "SCRIPT_NAME": "/shop",
            "HTTP_X_FORWARDED_FOR": "192.0.2.1:77, 10.0.0.5",
            "HTTP_X_FORWARDED_HOST": "shop.example",
            "HTTP_X_FORWARDED_PORT": "8443",
            "HTTP_X_FORWARDED_PREFIX": "/shop",
            "HTTP_X_FORWARDED_PROTO": "https",
        }
    assert json.loads(server.get("/").body)["REMOTE_ADDR"] == "127.0.0.1"
    garbage = 'X-Forwarded-For: 1.2.3.4, "\xff\r\nX-Forwarded-Host: \t a b \r\nX-Forwarded-Prefix: //evil\r\n'
    told = json.loads(server.get("/garbage", headers=garbage).body)
    assert (told["REMOTE_ADDR"], told["SCRIPT_NAME"]) == ("127.0.0.1", "")
    assert [name for name in told if "FORWARDED" in name] == []
    server.get("/fix", headers=CHAIN)
    server.get("/break", headers=CHAIN)
    server.stop()
    assert log.read_text().splitlines() == [
        *["192.0.2.1 /"] * 3,
        "127.0.0.1 /",
        "127.0.0.1 /garbage",
        "198.51.100.7 /fix",
        "127.0.0.1 /break",
    ]
