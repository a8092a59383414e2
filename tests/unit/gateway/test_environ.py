"""The environ of PEP 3333."""

import sys

import pytest

from pyfork import __version__
from pyfork.errors import ProtocolError
from pyfork.gateway.environ import base_environ, build_environ
from pyfork.gateway.errors import ErrorStream
from pyfork.gateway.file_wrapper import FileWrapper
from pyfork.gateway.forwarded import TrustedProxies
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.http1.request import Request

ERRORS = ErrorStream()


def make_base(server_name="127.0.0.1", server_port="8000", script_name=""):
    return base_environ(
        server_name=server_name,
        server_port=server_port,
        errors=ERRORS,
        is_multithread=False,
        is_multiprocess=True,
        script_name=script_name,
    )


def make_request(target=b"/", headers=(), *, method="GET", version="1.1", **changes):
    request = Request(method, target, version, list(headers))
    request.path, _, request.query = target.partition(b"?")
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def build(request, base=None, body=EMPTY_INPUT, peer=("192.0.2.7", 51234)):
    return build_environ(base or make_base(), request, body, peer)


def test_every_key_of_the_pep_is_there():
    """And each is told as it is."""
    body = InputStream(lambda: b"")
    headers = [(b"Host", b"example.org"), (b"Content-Type", b"text/plain"), (b"content-length", b"5")]
    environ = build(make_request(b"/a?b=c", headers, method="POST", host=b"example.org"), body=body)
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        "QUERY_STRING": "b=c",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "5",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"pyfork/{__version__}",
        "HTTP_HOST": "example.org",
        "RAW_URI": "/a?b=c",
        "REQUEST_URI": "/a?b=c",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "51234",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": ERRORS,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.early_hints": None,  # the answer's to set
    }


def test_a_copy_has_room_for_an_ordinary_request():
    """Or each would grow once more, for longer than all the rest takes."""
    assert sys.getsizeof(make_base().copy()) == sys.getsizeof(dict.fromkeys(map(str, range(42))))


def test_trailers_are_those_of_a_chunked_body():
    """The list that is filled at its end; without chunks there is none."""
    trailers = []
    assert build(make_request(), body=InputStream(lambda: b"", trailers))["wsgi.trailers"] is trailers
    assert "wsgi.trailers" not in build(make_request(), body=InputStream(lambda: b""))
    assert "wsgi.trailers" not in build(make_request())


def test_requests_do_not_share_their_environ():
    """The application may change its environ as it likes (PEP 3333)."""
    base = make_base()
    first = build(make_request(headers=[(b"X-A", b"1")]), base)
    first["PATH_INFO"] = first["mine"] = "changed"
    second = build(make_request(), base)
    assert second["PATH_INFO"] == "/"
    assert "HTTP_X_A" not in second
    assert "mine" not in second


def test_the_version_is_the_requests():
    """HTTP/1.0 is told as such."""
    assert build(make_request(version="1.0"))["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_headers_become_variables():
    """Case and dashes go, values are latin-1."""
    environ = build(make_request(headers=[(b"x-Forwarded-FOR", b"caf\xe9")]))
    assert environ["HTTP_X_FORWARDED_FOR"] == "caf\xe9"


def test_fields_that_come_twice_are_joined():
    """By a comma, and cookies by a semicolon (RFC 9110 section 5.3, RFC 6265 section 5.4)."""
    headers = [(b"Accept", b"a"), (b"Cookie", b"a=1"), (b"accept", b"b"), (b"Cookie", b"b=2"), (b"Accept", b"c")]
    environ = build(make_request(headers=headers))
    assert environ["HTTP_ACCEPT"] == "a,b,c"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"Content_Length", b"Host_", b"_"])
def test_names_with_an_underscore_are_dropped(name):
    """They would become the variables of other fields."""
    environ = build(make_request(headers=[(name, b"forged"), (name, b"again")]))
    assert "forged" not in environ.values()
    assert environ["SERVER_SOFTWARE"] == f"pyfork/{__version__}"


def test_what_was_prepared_is_copied():
    """A request that comes again has an environ of its own each time, with its own peer, body and scheme."""
    base = make_base()
    request = make_request(b"/a%20b?c", [(b"Host", b"a"), (b"X-Forwarded-Proto", b"https")])
    trusted = TrustedProxies(["10.0.0.1"])
    for _ in range(4):
        stream = InputStream(lambda: b"")
        first = build_environ(base, request, stream, ("10.0.0.1", 1), trusted)
        second = build_environ(base, request, EMPTY_INPUT, ("10.0.0.2", 2), trusted)
        assert (first["wsgi.input"], first["REMOTE_PORT"], first["wsgi.url_scheme"]) == (stream, "1", "https")
        assert (second["wsgi.input"], second["REMOTE_PORT"], second["wsgi.url_scheme"]) == (EMPTY_INPUT, "2", "http")
        for environ in (first, second):
            assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_HOST"]) == ("/a b", "c", "a")
            assert "mine" not in environ
            environ["PATH_INFO"] = environ["mine"] = "changed"
    unix = build_environ(base, request, EMPTY_INPUT, "")
    assert unix["REMOTE_ADDR"] == ""
    assert "mine" not in base


def test_what_was_prepared_is_of_one_listener():
    """Another listener's environ is another one."""
    request = make_request(headers=[(b"Host", b"a")])
    one, two = make_base(server_port="8000"), make_base(server_port="9000", script_name="/x")
    for _ in range(3):
        assert build_environ(one, request, EMPTY_INPUT, "")["SERVER_PORT"] == "8000"
        assert build_environ(two, request, EMPTY_INPUT, "")["SERVER_PORT"] == "9000"


def test_the_path_is_decoded_once():
    """As latin-1, whatever encoding the application finds in it; the raw one is kept beside it."""
    environ = build(make_request(b"/%C3%A9%2Fb%252F%zz?q=%20"))
    assert environ["PATH_INFO"] == "/\xc3\xa9/b%2F%zz"
    assert environ["RAW_URI"] == "/%C3%A9%2Fb%252F%zz?q=%20"
    assert environ["QUERY_STRING"] == "q=%20"
    assert build(make_request(b"/\xe9"))["PATH_INFO"] == "/\xe9"


def test_an_absolute_target_names_the_host():
    """It goes before the Host field (RFC 9112 section 3.2.2)."""
    request = make_request(b"http://real.example/a", [(b"Host", b"other.example")], path=b"/a", host=b"real.example")
    environ = build(request)
    assert environ["HTTP_HOST"] == "real.example"
    assert environ["PATH_INFO"] == "/a"
    assert environ["RAW_URI"] == "http://real.example/a"


def test_a_target_without_a_host_gives_none():
    """HTTP/1.0 may do without."""
    request = make_request(b"*", method="OPTIONS", version="1.0")
    environ = build(request)
    assert "HTTP_HOST" not in environ


def test_options_of_the_whole_server_have_no_path():
    """PATH_INFO is empty or begins with a slash (PEP 3333), so the asterisk is in RAW_URI only."""
    request = make_request(b"*", [(b"Host", b"a")], method="OPTIONS", host=b"a")
    environ = build(request)
    assert environ["PATH_INFO"] == ""
    assert environ["RAW_URI"] == "*"


@pytest.mark.parametrize(
    ("target", "script_name", "path_info"),
    [
        (b"/shop", "/shop", ""),
        (b"/shop/", "/shop", "/"),
        (b"/shop/cart", "/shop", "/cart"),
        (b"/s%68op/cart", "/shop", "/cart"),
        (b"/shopping", "", "/shopping"),
        (b"/", "", "/"),
    ],
)
def test_a_mount_divides_the_path(target, script_name, path_info):
    """At a slash only; a path elsewhere is given whole."""
    environ = build(make_request(target), make_base(script_name="/shop/"))
    assert environ["SCRIPT_NAME"] == script_name
    assert environ["PATH_INFO"] == path_info


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"example.org", "example.org", "80"),
        (b"example.org:8080", "example.org", "8080"),
        (b"[::1]", "[::1]", "80"),
        (b"[::1]:8080", "[::1]", "8080"),
        (b"example.org:", "example.org", "80"),
        (b"", "localhost", "80"),
        (None, "localhost", "80"),
    ],
)
def test_behind_a_unix_socket_the_host_names_the_server(host, name, port):
    """SERVER_NAME and SERVER_PORT can never be empty (PEP 3333); the client has no address."""
    headers = [] if host is None else [(b"Host", host)]
    environ = build(make_request(headers=headers, host=host or b""), make_base("", ""), peer="")
    assert environ["SERVER_NAME"] == name
    assert environ["SERVER_PORT"] == port
    assert environ["REMOTE_ADDR"] == ""
    assert environ["REMOTE_PORT"] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Protocol", b"ssl"), (b"X-Forwarded-Ssl", b"on")],
)
def test_a_trusted_proxy_tells_the_scheme(name, value):
    """The field stays in the environ; who is not trusted, and a name with an underscore, change nothing."""
    request = make_request(headers=[(name, value)])
    variable = "HTTP_" + name.decode().upper().replace("-", "_")
    believed = build_environ(make_base(), request, EMPTY_INPUT, ("192.0.2.7", 1), TrustedProxies(["192.0.2.7"]))
    assert (believed["wsgi.url_scheme"], believed[variable]) == ("https", value.decode())
    assert believed["SERVER_PORT"] == "8000"
    ignored = build(request)
    assert (ignored["wsgi.url_scheme"], ignored[variable]) == ("http", value.decode())
    forged = make_request(headers=[(name.replace(b"-", b"_"), value)])
    environ = build_environ(make_base(), forged, EMPTY_INPUT, ("192.0.2.7", 1), TrustedProxies(["*"]))
    assert environ["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize("target", [b"https://a/b", b"HTTPS://a/b"])
def test_an_https_target_must_have_come_by_tls(target):
    """RFC 9110, section 7.4: to this server, or to a proxy that is trusted and says so."""
    said = [(b"X-Forwarded-Proto", b"https")]
    trusted = TrustedProxies(["192.0.2.7"])
    for headers, peer in (((), "192.0.2.7"), (said, "192.0.2.8")):
        request = make_request(target, headers)
        with pytest.raises(ProtocolError) as caught:
            build_environ(make_base(), request, EMPTY_INPUT, (peer, 1), trusted)
        assert caught.value.status == 421
        environ = build_environ(make_base(), request, EMPTY_INPUT, (peer, 1), trusted, is_refused=True)
        assert (environ["RAW_URI"], environ["REMOTE_ADDR"]) == (target.decode(), peer)
    believed = build_environ(make_base(), make_request(target, said), EMPTY_INPUT, ("192.0.2.7", 1), trusted)
    assert believed["wsgi.url_scheme"] == "https"
    assert build(make_request(target), {**make_base(), "wsgi.url_scheme": "https"})["RAW_URI"] == target.decode()
    assert build(make_request(b"http://a/b"))["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(("host", "port"), [(b"example.org", "443"), (b"example.org:8443", "8443")])
def test_behind_a_unix_socket_the_scheme_has_its_port(host, port):
    """443 is the one that a Host without a port means by TLS."""
    request = make_request(headers=[(b"Host", host), (b"X-Forwarded-Proto", b"https")], host=host)
    environ = build_environ(make_base("", ""), request, EMPTY_INPUT, "", TrustedProxies(["unix:"]))
    assert environ["SERVER_PORT"] == port
