"""The WSGI environ: PEP 3333, "environ Variables"; the CGI names are those of RFC 3875, section 4.1.

It is built by copying a dict that each listener has ready, and adding the request's own; a request whose octets have
come before (`pyfork.http1.short_way`) has all that in one dict to be copied. What is text in it is
"native strings" in PEP 3333's sense: octets decoded as latin-1, whatever they mean to the application.
"""

from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from pyfork import __version__
from pyfork.errors import ProtocolError
from pyfork.gateway.errors import ErrorStream
from pyfork.gateway.file_wrapper import FileWrapper
from pyfork.gateway.forwarded import NOBODY, USUAL_PORTS, TrustedProxies, tells_of_client
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.http1.hops import split_port
from pyfork.http1.request import Request

Environ: TypeAlias = dict[str, Any]

SERVER_SOFTWARE = f"pyfork/{__version__}"
_ONCE: tuple[None, Environ, bool] = (None, {}, False)
"""Marks a request that has come once: most do not come again."""


def base_environ(
    *,
    server_name: str,
    server_port: str,
    errors: ErrorStream,
    is_multithread: bool,
    is_multiprocess: bool,
    script_name: str = "",
) -> Environ:
    """Return what is the same in the environ of every request of a listener; made once in the worker.

    Its copies have room for what an ordinary request adds, so that they need not grow.

    Args:
        server_name: of the listener; "" for a unix socket: name and port then come from the Host of each request.
        server_port: of the listener, in decimal; "" for a unix socket.
        errors: ``wsgi.errors``.
        is_multithread: whether another thread of this process may call the application at the same time.
        is_multiprocess: whether another process may.
        script_name: where the application is mounted ("/shop"; "" is the root).
    """
    environ: Environ = {
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "",
        "REMOTE_PORT": "",
        "REQUEST_METHOD": "",
        "REQUEST_URI": "",
        "RAW_URI": "",
        "SCRIPT_NAME": script_name.rstrip("/"),
        "PATH_INFO": "",
        "QUERY_STRING": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": EMPTY_INPUT,
        "wsgi.input_terminated": True,
        "wsgi.errors": errors,
        "wsgi.multithread": is_multithread,
        "wsgi.multiprocess": is_multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.early_hints": None,  # each request has its own: to replace a value is cheaper than to add one
    }
    return environ  # 22: one more than CPython's dict of 21 has room for, so it has grown to 42, and so do its copies


def encrypted_environ(base: Environ) -> Environ:
    """Return the same for a listener that speaks TLS.

    What is the same for all requests of a connection is added to the environ of each; here is the room for it.
    """
    return base | {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "SSL_PROTOCOL": "",
        "SSL_CIPHER": "",
        "SSL_SESSION_RESUMED": "",
    }


def build_environ(
    base: Environ,
    request: Request,
    body: InputStream,
    peer: Any,
    proxies: TrustedProxies = NOBODY,
    *,
    is_refused: bool = False,
) -> Environ:
    """Return the environ of one request; called in the worker.

    Args:
        base: from `base_environ`.
        request: the parsed head.
        body: ``wsgi.input``.
        peer: the client's address as ``accept`` told it: a tuple that begins with host and port, anything else for a
            unix socket.
        proxies: the peers whose word on the client counts.
        is_refused: the request is refused already; nothing is raised.

    Raises:
        ProtocolError: 421, the target is an https URL, and the client came by no TLS that we know of.
    """
    prepared = request.prepared
    if prepared is not None and prepared[0] is base:
        environ: Environ = prepared[1].copy()
        is_forwarded = prepared[2]
    else:
        environ = _prepare(base, request)
        is_forwarded = tells_of_client(request.variables)
        if request.target[:1] != b"/" and not is_refused:
            _require_scheme(environ, request, peer, proxies)
    if body is not EMPTY_INPUT:
        environ["wsgi.input"] = body
        if body.trailers is not None:
            environ["wsgi.trailers"] = body.trailers
    if peer.__class__ is tuple:
        environ["REMOTE_ADDR"] = peer[0]
        environ["REMOTE_PORT"] = str(peer[1])
    if is_forwarded:
        proxies.apply(environ, peer)
    if not environ["SERVER_NAME"]:
        _set_server(environ)
    return environ


def _prepare(base: Environ, request: Request) -> Environ:
    """Return what the environ has of the request itself; keep a copy when the request has come for the second time."""
    environ = base | request.variables
    environ["REQUEST_METHOD"] = request.method
    if request.http_version != "1.1":
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    environ["RAW_URI"] = environ["REQUEST_URI"] = request.target.decode("latin-1")
    if request.query:
        environ["QUERY_STRING"] = request.query.decode("latin-1")
    path = request.path.decode("latin-1")
    environ["PATH_INFO"] = unquote_to_bytes(request.path).decode("latin-1") if "%" in path else path
    if request.target[:1] != b"/":
        _set_authority(environ, request)
    if environ["SCRIPT_NAME"]:
        _mount(environ)
    if request.prepared is None:
        request.prepared = _ONCE
    else:
        request.prepared = (base, environ.copy(), tells_of_client(request.variables))
    return environ


def _set_authority(environ: Environ, request: Request) -> None:
    """Treat the forms of a target that are not a path: RFC 9112, sections 3.2.2 and 3.2.4."""
    if request.host:
        environ["HTTP_HOST"] = request.host.decode("latin-1")
    if request.path == b"*":  # PEP 3333 has no "*": the variable is empty or begins with a slash
        environ["PATH_INFO"] = ""


def _require_scheme(environ: Environ, request: Request, peer: Any, proxies: TrustedProxies) -> None:
    """RFC 9110, section 7.4: what is asked for by https must have come by TLS, here or to a proxy that is trusted."""
    if request.target[:6].lower() != b"https:" or environ["wsgi.url_scheme"] == "https":
        return
    told = environ.copy()
    if tells_of_client(request.variables):
        proxies.apply(told, peer)
    if told["wsgi.url_scheme"] != "https":
        raise ProtocolError(421, "The target is an https URL, and the connection is not secured")


def _mount(environ: Environ) -> None:
    """Divide the path between SCRIPT_NAME and PATH_INFO; a path outside of the mount is the application's as it is."""
    script_name, path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    rest = path.removeprefix(script_name)
    if len(rest) < len(path) and (not rest or rest.startswith("/")):
        environ["PATH_INFO"] = rest
    else:
        environ["SCRIPT_NAME"] = ""


def _set_server(environ: Environ) -> None:
    """Name the server by the request's Host: a unix socket has neither name nor port."""
    name, port = split_port(environ.get("HTTP_HOST", ""))
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = environ["SERVER_PORT"] or port or USUAL_PORTS[environ["wsgi.url_scheme"]]
