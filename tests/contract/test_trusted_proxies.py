"""A proxy's word on the scheme, through a real server, for every worker type."""

import socket

import pytest

from tests.harness import parse_response, read_all

SHOWS = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode(), b" ", environ.get("HTTP_X_FORWARDED_PROTO", "-").encode()]
"""
FIELD = "X-Forwarded-Proto: https\r\n"


@pytest.fixture
def serve(start, worker_type, tmp_path):
    """Start a server of the type whose application shows the scheme."""
    (tmp_path / "shows.py").write_text(SHOWS)

    def serve_shows(**keywords):
        settings = {"workers": {"type": worker_type}, **keywords.pop("settings", {})}
        return start("shows:app", cwd=tmp_path, settings=settings, **keywords)

    return serve_shows


def test_a_proxy_on_the_same_machine_is_believed(serve):
    """127.0.0.1 is trusted unless somebody says otherwise; without the field nothing changes."""
    server = serve()
    assert server.get("/", headers=FIELD).body == b"https https"
    assert server.get("/").body == b"http -"


def test_a_stranger_is_not_believed(serve):
    """The field stays for the application to see, and a reload can change whom to trust."""
    server = serve(settings={"proxy": {"trusted": ["10.0.0.1"]}})
    assert server.get("/", headers=FIELD).body == b"http https"
    server.configure({"proxy": {"trusted": ["127.0.0.0/8"]}})
    server.signal("HUP")
    server.wait_workers(1, generation=2)
    assert server.get("/", headers=FIELD).body == b"https https"


@pytest.mark.parametrize(
    "keywords", [{}, {"arguments": ["--forwarded-allow-ips", "10.0.0.1"]}, {"environ": {"FORWARDED_ALLOW_IPS": "::1"}}]
)
def test_a_proxy_at_a_unix_socket_is_believed(serve, tmp_path, keywords):
    """By default, and with gunicorn's ways of naming addresses, as with gunicorn."""
    path = tmp_path / "a.sock"
    server = serve(bind=[f"unix:{path}"], **keywords)
    server.wait_workers(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{FIELD}\r\n".encode())
        assert parse_response(read_all(client))[0].body == b"https https"
