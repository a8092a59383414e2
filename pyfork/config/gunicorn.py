"""What becomes of each of gunicorn's settings: which of ours it is, or why it has no counterpart.

The names, flags and defaults are gunicorn 27's. Those that have a counterpart take their flags from the schema; the
others are listed here with the reason that the warning gives. One is an error: going on without it would not do what
the flag is for (``--daemon``).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from msgspec import Struct

COUNTERPARTS: Mapping[str, str] = {
    "wsgi_app": "server.app",
    "bind": "server.bind",
    "backlog": "server.backlog",
    "reuse_port": "server.reuse_port",
    "chdir": "server.chdir",
    "pythonpath": "server.pythonpath",
    "raw_env": "server.env",
    "user": "server.user",
    "group": "server.group",
    "umask": "server.umask",
    "pidfile": "server.pidfile",
    "proc_name": "server.proc_name",
    "worker_class": "workers.type",
    "workers": "workers.count",
    "threads": "workers.threads",
    "worker_connections": "workers.connections",
    "timeout": "workers.timeout",
    "graceful_timeout": "workers.graceful_timeout",
    "preload_app": "workers.preload",
    "max_requests": "workers.max_requests",
    "max_requests_jitter": "workers.max_requests_jitter",
    "reload": "development.reload",
    "reload_extra_files": "development.watch",
    "keepalive": "http.keep_alive",
    "limit_request_line": "http.limit_request_line",
    "limit_request_fields": "http.limit_request_fields",
    "limit_request_field_size": "http.limit_request_field_size",
    "forwarded_allow_ips": "proxy.trusted",
    "proxy_protocol": "proxy.protocol",
    "proxy_allow_ips": "proxy.allow_from",
    "certfile": "tls.certfile",
    "keyfile": "tls.keyfile",
    "cert_reqs": "tls.verify",
    "ca_certs": "tls.ca_certs",
    "ciphers": "tls.ciphers",
    "loglevel": "log.level",
    "errorlog": "log.error",
    "accesslog": "log.access",
    "access_log_format": "log.format",
    "capture_output": "log.capture_output",
    "logconfig": "log.config",
    "logconfig_json": "log.config",
}
"""gunicorn's name of a setting -> ours. Flags: the schema lists gunicorn's spelling first."""


WORKER_CLASSES: Mapping[str, str] = {
    "gunicorn.workers.sync.SyncWorker": "sync",
    "gunicorn.workers.gthread.ThreadWorker": "threadpool",
    "gunicorn.workers.ggevent.GeventWorker": "gevent",
    "gunicorn.workers.ggevent.GeventPyWSGIWorker": "gevent",
    "gevent_wsgi": "gevent",
    "gevent_pywsgi": "gevent",
}
"""gunicorn's worker classes and names that mean a type of ours, beside those that the types have here too."""


def translate_worker_class(name: str) -> str:
    """Return what ``workers.type`` calls a worker class of gunicorn's; anything else is returned as it is.

    ``egg:gunicorn#sync`` is an old spelling of ``sync``, and ``module:Class`` what a class object is converted to.
    """
    name = name.removeprefix("egg:gunicorn#")
    return WORKER_CLASSES.get(name.replace(":", "."), name)


class Argument(Enum):
    """What follows a flag."""

    ONE = "one"
    NONE = "none"


class LeftOut(Struct, frozen=True):
    """A setting of gunicorn's without a counterpart.

    Attributes:
        name: in gunicorn.conf.py.
        flags: on the command line; none for what only the file can say.
        reason: why pyfork goes without, or what to do instead; completes "... is ignored:".
        argument: what follows the flag.
        is_error: whether pyfork refuses to start with it.
        default: gunicorn's; a file that says the same asks for nothing.
    """

    name: str
    flags: tuple[str, ...]
    reason: str
    argument: Argument = Argument.ONE
    is_error: bool = False
    default: Any = None

    @property
    def flag(self) -> str:
        """Return the flag by which messages name it; "" when it has none."""
        return next((flag for flag in self.flags if flag.startswith("--")), "")

    @property
    def complaint(self) -> str:
        """Return the warning, or the error, that answers the flag."""
        return f"{self.flag}: {self.reason}" if self.is_error else f"{self.flag} is ignored: {self.reason}"


_TLS_VERSION = "the lowest version is tls.minimum_version; gunicorn ignores this as well"
_ASGI = "ASGI is not in this version; pyfork serves WSGI"
_HTTP2 = "HTTP/2 is not in this version; a proxy in front can speak it"
_SYSLOG = "pyfork does not speak syslog; write to standard error (systemd, containers) or use a handler in log.config"
_STATSD = "metrics are not in this version"
_DIRTY = "dirty workers are gunicorn's own; use a task queue"
_CONTROL = "a control socket is not in this version; there is none that could be in the way"
_PASTE = "PasteDeploy files are not read; name a module whose attribute is the application"
_LENIENT = "requests that break RFC 9112 are always refused"
_HOOK = "it is called with objects of gunicorn's; pyfork's hooks get values, and are named in [hooks] (docs/hooks.md)"
_UWSGI = "pyfork speaks HTTP only"
_NONE = Argument.NONE

LEFT_OUT: tuple[LeftOut, ...] = (
    # What changes the meaning of the whole: refused.
    LeftOut(
        "daemon",
        ("-D", "--daemon"),
        "pyfork stays in the foreground; let systemd (or a container) run it in the background, as in "
        "`systemd-run --unit=pyfork pyfork ...`",
        _NONE,
        is_error=True,
    ),
    # Debugging.
    LeftOut("reload_engine", ("--reload-engine",), "watchfiles is the one there is", default="auto"),
    LeftOut("spew", ("--spew",), "use a debugger or `python -m trace`", _NONE),
    # Workers.
    LeftOut(
        "worker_tmp_dir", ("--worker-tmp-dir",), "heartbeats go through a pipe; no file is written, so none can block"
    ),
    LeftOut(
        "tmp_upload_dir",
        (),
        "bodies beyond 512 KiB are kept in the directory that TMPDIR names; sync and gevent write none",
    ),
    LeftOut("initgroups", ("--initgroups",), "workers always take all groups of their user", _NONE),
    LeftOut(
        "sendfile", ("--no-sendfile",), "sendfile is used wherever the application returns a file that allows it", _NONE
    ),
    LeftOut(
        "enable_stdio_inheritance",
        ("-R", "--enable-stdio-inheritance"),
        "standard input, output and error are always inherited",
        _NONE,
    ),
    LeftOut("asgi_loop", ("--asgi-loop",), _ASGI, default="auto"),
    LeftOut("asgi_lifespan", ("--asgi-lifespan",), _ASGI, default="auto"),
    LeftOut("asgi_disconnect_grace_period", ("--asgi-disconnect-grace-period",), _ASGI, default=3),
    LeftOut("websocket_max_message_size", ("--websocket-max-message-size",), _ASGI, default=16_777_216),
    LeftOut("root_path", ("--root-path",), _ASGI),
    LeftOut("http_parser", ("--http-parser",), "there is one parser, llhttp", default="auto"),
    # In front of pyfork.
    LeftOut(
        "secure_scheme_headers",
        (),
        "those that proxies in proxy.trusted may send are fixed: X-Forwarded-Proto: https, X-Forwarded-Protocol: ssl "
        "and X-Forwarded-Ssl: on",
        default={"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
    ),
    LeftOut(
        "forwarder_headers",
        ("--forwarder-headers",),
        "headers of those names are dropped; a path that the proxy has taken off comes by X-Forwarded-Prefix, with "
        "x-forwarded-prefix in proxy.headers",
        default="SCRIPT_NAME,PATH_INFO",
    ),
    LeftOut(
        "header_map",
        ("--header-map",),
        "headers whose names contain an underscore are always dropped, as with gunicorn's `drop`",
        default="drop",
    ),
    LeftOut("protocol", ("--protocol",), _UWSGI, default="http"),
    LeftOut("uwsgi_allow_ips", ("--uwsgi-allow-from",), _UWSGI, default="127.0.0.1,::1"),
    # TLS and HTTP/2.
    LeftOut("ssl_version", ("--ssl-version",), _TLS_VERSION, default=2),
    LeftOut(
        "suppress_ragged_eofs",
        ("--suppress-ragged-eofs",),
        "a connection that ends without a close_notify is taken for one that has broken off",
        _NONE,
        default=True,
    ),
    LeftOut(
        "do_handshake_on_connect",
        ("--do-handshake-on-connect",),
        "handshakes never hold up other connections, and have http.header_timeout",
        _NONE,
    ),
    LeftOut("http_protocols", ("--http-protocols",), _HTTP2, default="h1"),
    LeftOut("http2_cleartext", ("--http2-cleartext",), _HTTP2, default="off"),
    LeftOut("http2_max_concurrent_streams", ("--http2-max-concurrent-streams",), _HTTP2, default=100),
    LeftOut("http2_initial_window_size", ("--http2-initial-window-size",), _HTTP2, default=65_535),
    LeftOut("http2_max_frame_size", ("--http2-max-frame-size",), _HTTP2, default=16_384),
    LeftOut("http2_max_header_list_size", ("--http2-max-header-list-size",), _HTTP2, default=65_536),
    # Leniency.
    LeftOut("permit_obsolete_folding", ("--permit-obsolete-folding",), _LENIENT, _NONE),
    LeftOut("strip_header_spaces", ("--strip-header-spaces",), _LENIENT, _NONE),
    LeftOut(
        "permit_unconventional_http_method",
        ("--permit-unconventional-http-method",),
        "unknown methods reach the application as they are, without it",
        _NONE,
    ),
    LeftOut("permit_unconventional_http_version", ("--permit-unconventional-http-version",), _LENIENT, _NONE),
    LeftOut("casefold_http_method", ("--casefold-http-method",), _LENIENT, _NONE),
    # Logs and metrics.
    LeftOut(
        "logger_class",
        ("--logger-class",),
        "attach handlers to the loggers pyfork.error and pyfork.access instead, in log.config",
        default="gunicorn.glogging.Logger",
    ),
    LeftOut("logconfig_dict", (), "write it to a .json file and name that in log.config"),
    LeftOut("syslog", ("--log-syslog",), _SYSLOG, _NONE),
    LeftOut("syslog_addr", ("--log-syslog-to",), _SYSLOG, default="udp://localhost:514"),
    LeftOut("syslog_prefix", ("--log-syslog-prefix",), _SYSLOG),
    LeftOut("syslog_facility", ("--log-syslog-facility",), _SYSLOG, default="user"),
    LeftOut("disable_redirect_access_to_syslog", ("--disable-redirect-access-to-syslog",), _SYSLOG, _NONE),
    LeftOut("statsd_host", ("--statsd-host",), _STATSD),
    LeftOut("statsd_prefix", ("--statsd-prefix",), _STATSD),
    LeftOut("dogstatsd_tags", ("--dogstatsd-tags",), _STATSD),
    LeftOut("enable_backlog_metric", ("--enable-backlog-metric",), _STATSD, _NONE),
    # What is gunicorn's own.
    LeftOut("control_socket", ("--control-socket",), _CONTROL),
    LeftOut("control_socket_mode", ("--control-socket-mode",), _CONTROL, default=0o600),
    LeftOut("control_socket_disable", ("--no-control-socket",), _CONTROL, _NONE),
    LeftOut("dirty_apps", ("--dirty-app",), _DIRTY),
    LeftOut("dirty_workers", ("--dirty-workers",), _DIRTY),
    LeftOut("dirty_timeout", ("--dirty-timeout",), _DIRTY, default=300),
    LeftOut("dirty_threads", ("--dirty-threads",), _DIRTY, default=1),
    LeftOut("dirty_graceful_timeout", ("--dirty-graceful-timeout",), _DIRTY, default=30),
    LeftOut("paste", ("--paste", "--paster"), _PASTE),
    LeftOut("raw_paste_global_conf", ("--paste-global",), _PASTE),
    LeftOut("default_proc_name", (), "the title's name is server.proc_name, or the application", default="gunicorn"),
    *(
        LeftOut(name, (), _HOOK)
        for name in (
            "on_starting",
            "on_reload",
            "when_ready",
            "pre_fork",
            "post_fork",
            "post_worker_init",
            "worker_int",
            "worker_abort",
            "pre_exec",
            "pre_request",
            "post_request",
            "child_exit",
            "worker_exit",
            "nworkers_changed",
            "on_exit",
            "on_dirty_starting",
            "dirty_post_fork",
            "dirty_worker_init",
            "dirty_worker_exit",
        )
    ),
    LeftOut("ssl_context", (), "the settings of [tls] stand for what it is used for (docs/tls.md)"),
)

OWN: frozenset[str] = frozenset({"config", "check_config", "print_config"})
"""gunicorn's settings that are actions of the command line, here as there."""
