"""Every setting, declared once. Pure: values and metadata only.

A setting's type, range, default, flags and description stand in its one line here; reading, checking, ``--help``,
``--print-config``, docs/settings.md and server.toml.example all follow from it. To add a setting, add its field.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pyfork.config.declarations import (
    KEPT_SOCKETS,
    LARGEST_FIELDS,
    LARGEST_LINE,
    LONGEST,
    NEW_SOCKETS,
    RESTART,
    Form,
    Option,
)
from pyfork.config.schema_hooks import DevelopmentSettings, HookSettings
from pyfork.config.schema_proxy import ProxySettings
from pyfork.config.schema_static import StaticSettings
from pyfork.config.schema_tls import TlsSettings


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The arbiter: what it serves, where it listens, who it is."""

    app: Annotated[
        str | None,
        Meta(
            description="The WSGI application: `module:attribute`, `module` (then its `application` or `app`), "
            "`module:factory()` with literal arguments, or `path/to/file.py:attribute`. Usually given as the argument "
            "APP.",
        ),
        Option(("--app",), "APP", default_text="none", example="myproject.wsgi:application"),
    ] = None
    bind: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Where to listen: `HOST:PORT`, `:PORT`, `[IPv6]:PORT`, `unix:PATH`, `unix:@NAME` (abstract) or "
            "`fd://N`; the first three may begin with `https://` or `http://`, which says which of them speak TLS. "
            "Sockets passed in by systemd (`LISTEN_FDS`) serve the bind that has their address; when none has, or "
            "there is no bind, they replace it. Without a bind anywhere, the variable `PORT` means `0.0.0.0:$PORT`.",
        ),
        Option(("-b", "--bind"), "ADDRESS", Form.BINDS),
    ] = ("127.0.0.1:8000",)
    backlog: Annotated[
        int,
        Meta(
            ge=1, le=2**31 - 1, description="Connections that may wait to be accepted; the kernel caps it (somaxconn)."
        ),
        Option(("--backlog",), "N"),
    ] = 2048
    reuse_port: Annotated[
        bool,
        Meta(
            description="Set SO_REUSEPORT on the listening sockets, so that a second server can bind the same address."
        ),
        Option(("--reuse-port",), "", on_reload=NEW_SOCKETS),
    ] = False
    chdir: Annotated[
        str | None,
        Meta(
            description="The directory to serve from: it leads `sys.path`, and relative paths of other settings start "
            "there. A symbolic link in it is followed anew at each reload."
        ),
        Option(
            ("--chdir",), "DIR", Form.DIRECTORY, default_text="the directory pyfork was started in", example="/srv/app"
        ),
    ] = None
    pythonpath: Annotated[
        tuple[str, ...],
        Meta(description="Directories to search for modules, after `chdir`."),
        Option(("--pythonpath",), "DIR,...", Form.PATH, example=["/srv/lib"]),
    ] = ()
    env: Annotated[
        dict[str, str],
        Meta(description="Environment variables for the application (`KEY=VALUE` on the command line, repeated)."),
        Option(("-e", "--env"), "KEY=VALUE", example={"DEBUG": "1"}),
    ] = {}
    user: Annotated[
        str | None,
        Meta(
            description="The user that workers become, by name or number; needs root. A number without an entry in the "
            "system's list of users needs `group` as well."
        ),
        Option(
            ("-u", "--user"),
            "USER",
            Form.ACCOUNT,
            on_reload=KEPT_SOCKETS,
            default_text="who started pyfork",
            example="www-data",
        ),
    ] = None
    group: Annotated[
        str | None,
        Meta(description="The group that workers take, by name or number; without root, only its own."),
        Option(
            ("-g", "--group"),
            "GROUP",
            Form.ACCOUNT,
            on_reload=KEPT_SOCKETS,
            default_text="the user's groups",
            example="www-data",
        ),
    ] = None
    umask: Annotated[
        Annotated[int, Meta(ge=0, le=0o777)] | None,
        Meta(
            description="The mask of file modes, for unix sockets (docs/privileges.md) and the workers: a number (TOML "
            "writes octal as `0o027`) or a string, octal when it begins with 0 or 0o.",
        ),
        Option(
            ("-m", "--umask"),
            "MASK",
            Form.OCTAL,
            on_reload=KEPT_SOCKETS,
            default_text="as inherited",
            example="0o027",
        ),
    ] = None
    no_new_privileges: Annotated[
        bool,
        Meta(
            description="Let neither the workers nor what they start gain privileges by set-user-ID programs or file "
            "capabilities (Linux: `PR_SET_NO_NEW_PRIVS`); sudo does not work in the application then."
        ),
        Option(("--no-new-privileges",), ""),
    ] = False
    pidfile: Annotated[
        str | None,
        Meta(description="The file that holds the arbiter's process id, and is locked while pyfork runs."),
        Option(
            ("-p", "--pid", "--pidfile"),
            "FILE",
            Form.PATH,
            on_reload=RESTART,
            default_text="none",
            example="/run/pyfork/pyfork.pid",
        ),
    ] = None
    proc_name: Annotated[
        str | None,
        Meta(description="The name in the process titles, in place of the application's."),
        Option(("-n", "--name"), "NAME", default_text="the application", example="quotes"),
    ] = None


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The worker processes: their type, their number, their deadlines."""

    type: Annotated[
        str,
        Meta(
            description="The type of worker: `sync` (one request at a time), `threadpool` (the application on "
            "`threads` threads; also called `thread` and `gthread`), `async` (one loop, the application in line; also "
            "`selectors`) or `gevent` (a greenlet for each connection; needs `pip install gevent`); or your own class, "
            "`module:Class` (docs/custom_workers.md). With `threads` above 1 `sync` means `threadpool`, as it means "
            "gthread in gunicorn."
        ),
        Option(("-k", "--worker-class", "--worker-type"), "TYPE"),
    ] = "sync"
    count: Annotated[
        int,
        Meta(
            ge=1,
            le=512,
            description="Workers to run; the signals TTIN and TTOU change it while pyfork runs. Also read from the "
            "variable `WEB_CONCURRENCY`.",
        ),
        Option(("-w", "--workers"), "N"),
    ] = 1
    threads: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Threads of a `threadpool` worker that run the application. The default is one request at a "
            "time, as in gunicorn: set it. More than 1 make the default type `threadpool`; `async` and `gevent` have "
            "no use for it.",
        ),
        Option(("--threads",), "N"),
    ] = 1
    connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Connections that a `threadpool`, `async` or `gevent` worker may hold at once, idle ones "
            "included. `sync` holds one.",
        ),
        Option(("--worker-connections",), "N"),
    ] = 1000
    timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=LONGEST,
            description="Seconds without progress inside the application before a worker is replaced, its stacks "
            "written to the error log; 0 is never. Waiting for the client does not count.",
        ),
        Option(("-t", "--timeout"), "SECONDS"),
    ] = 30
    boot_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=LONGEST,
            description="Seconds that a worker or a mold may take to get ready, import included, and the new arbiter "
            "of an upgrade to have all its workers ready; 0 is no limit. `--check-config` gives the import as long.",
        ),
        Option(("--boot-timeout",), "SECONDS"),
    ] = 60
    graceful_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=LONGEST,
            description="Seconds that a worker may take to finish its requests when it is to stop; the arbiter gives "
            "it 2 at least.",
        ),
        Option(("--graceful-timeout",), "SECONDS"),
    ] = 30
    min: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | None,
        Meta(
            description="The fewest workers when their number follows the load (docs/scaling.md): `max` must be set "
            "too. TTIN and TTOU move both bounds."
        ),
        Option(("--workers-min",), "N", default_text="`count`", example=2),
    ] = None
    max: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | None,
        Meta(
            description="The most workers when their number follows the load: up quickly, down slowly, by how busy the "
            "workers are and by how many connections wait. `count` is where it begins."
        ),
        Option(("--workers-max",), "N", default_text="none: there are always `count`", example=8),
    ] = None
    preload: Annotated[
        bool,
        Meta(
            description="Import the application once, in a process of its own (the mold) that the workers are forked "
            "from: they share its memory and start in milliseconds. A reload starts a new mold, so it loads new code. "
            "Linux only; docs/preload.md says what an application must mind."
        ),
        Option(("--preload",), ""),
    ] = False
    refork_after: Annotated[
        tuple[int | str, ...],
        Meta(
            description="With `preload`: after how many requests a warm worker is made the mold for the others, which "
            "are then replaced, at most a quarter of them (or one) at a time, so that caches are shared too. The first "
            "number is for workers of the first mold, the second for workers of the next one, and so on; each worker "
            'counts its own requests. With `"..."` at the end the last one repeats, otherwise it stops there. `kill '
            "-URG` to the arbiter asks for it at any time. Types `sync` and `async` only."
        ),
        Option(("--refork-after",), "N,...", Form.STEPS, example=[500, 2000]),
    ] = ()
    max_requests: Annotated[
        int,
        Meta(
            ge=0,
            le=2**53,
            description="Requests after which a worker is replaced; 0 is never. The new one is ready before the old "
            "one ends.",
        ),
        Option(("--max-requests",), "N"),
    ] = 0
    max_requests_jitter: Annotated[
        int,
        Meta(ge=0, le=2**53, description="Up to so many requests are added to `max_requests`, at random per worker."),
        Option(("--max-requests-jitter",), "N"),
    ] = 0
    max_lifetime: Annotated[
        float,
        Meta(ge=0, le=LONGEST, description="Seconds after which a worker is replaced; 0 is never."),
        Option(("--max-lifetime",), "SECONDS"),
    ] = 0
    max_lifetime_jitter: Annotated[
        float,
        Meta(ge=0, le=LONGEST, description="Up to so many seconds are added to `max_lifetime`, at random per worker."),
        Option(("--max-lifetime-jitter",), "SECONDS"),
    ] = 0
    max_memory: Annotated[
        Annotated[int, Meta(ge=2**20, le=2**62)] | None,
        Meta(
            description="Memory beyond which a worker is replaced: a number of octets, or text with a unit, as in "
            '`"512M"` (K, M, G are powers of 1024). 0 or `unlimited` is no limit. The worker\'s loop measures it '
            "with a beat, at most once in 5 seconds."
        ),
        Option(("--max-memory",), "SIZE", Form.SIZE, default_text="no limit", example="512M"),
    ] = None
    memory_measure: Annotated[
        Literal["pss", "rss"],
        Meta(
            description="What `max_memory` compares: `pss`, in which a page that several processes share counts in "
            "parts (Linux), or `rss`, in which it counts whole."
        ),
        Option(("--memory-measure",), "NAME", Form.CHOICE),
    ] = "pss"


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """HTTP/1.1: deadlines for the client, limits of a request."""

    keep_alive: Annotated[
        float,
        Meta(
            ge=0,
            le=LONGEST,
            description="Seconds that an idle connection is kept for the next request; 0 closes each connection after "
            "its response, as `sync` always does.",
        ),
        Option(("--keep-alive",), "SECONDS"),
    ] = 5
    header_timeout: Annotated[
        float,
        Meta(ge=0.1, le=LONGEST, description="Seconds for a request's whole head to arrive; then 408."),
        Option(("--header-timeout",), "SECONDS"),
    ] = 10
    body_timeout: Annotated[
        float,
        Meta(
            ge=0.1,
            le=LONGEST,
            description="Seconds to wait for the next octets of a request's body, and that it may fall behind "
            "`min_body_rate`; then 408.",
        ),
        Option(("--body-timeout",), "SECONDS"),
    ] = 30
    min_body_rate: Annotated[
        float,
        Meta(
            ge=0,
            le=2**30,
            description="Octets of a request's body that a client must send in a second, or it uses up `body_timeout` "
            "(docs/slow_clients.md); 0 is any rate.",
        ),
        Option(("--min-body-rate",), "OCTETS"),
    ] = 240
    write_timeout: Annotated[
        float,
        Meta(
            ge=0.1,
            le=LONGEST,
            description="Seconds to wait for the client to take octets of the response; a client that does not is "
            "broken off.",
        ),
        Option(("--write-timeout",), "SECONDS"),
    ] = 30
    min_write_rate: Annotated[
        float,
        Meta(
            ge=0,
            le=2**30,
            description="Octets of a response that a client must take in a second, on average over `write_timeout` "
            "while the server waits for it; 0 is any rate.",
        ),
        Option(("--min-write-rate",), "OCTETS"),
    ] = 240
    limit_request_line: Annotated[
        int,
        Meta(ge=64, le=LARGEST_LINE, description="Octets of a request line; beyond it 414. 0 is the highest value."),
        Option(("--limit-request-line",), "OCTETS", Form.ZERO_IS_HIGHEST),
    ] = 8190
    limit_request_fields: Annotated[
        int,
        Meta(ge=1, le=LARGEST_FIELDS, description="Header fields of a request; beyond it 431. 0 is the highest value."),
        Option(("--limit-request-fields",), "N", Form.ZERO_IS_HIGHEST),
    ] = 100
    limit_request_field_size: Annotated[
        int,
        Meta(ge=64, le=LARGEST_LINE, description="Octets of one header field; beyond it 431. 0 is the highest value."),
        Option(("--limit-request-field-size", "--limit-request-field_size"), "OCTETS", Form.ZERO_IS_HIGHEST),
    ] = 8190
    limit_request_body: Annotated[
        Annotated[int, Meta(ge=1, le=2**62)] | None,
        Meta(description="Octets of a request's body; beyond it 413. 0 or `unlimited` is no limit."),
        Option(
            ("--limit-request-body",), "OCTETS", Form.ZERO_IS_UNLIMITED, default_text="no limit", example="unlimited"
        ),
    ] = None


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The error log and the access log."""

    level: Annotated[
        str,
        Meta(description="The least level that the error log keeps: debug, info, warning, error or critical."),
        Option(("--log-level",), "LEVEL", Form.LEVEL),
    ] = "info"
    error: Annotated[
        str,
        Meta(description="The error log's file, or `-` for standard error."),
        Option(("--error-logfile", "--log-file"), "FILE", Form.PATH_OR_DASH),
    ] = "-"
    access: Annotated[
        str | None,
        Meta(description="The access log's file, or `-` for standard output."),
        Option(("--access-logfile",), "FILE", Form.PATH_OR_DASH, default_text="no access log", example="-"),
    ] = None
    format: Annotated[
        str,
        Meta(
            description="The access log's lines: `common`, `combined`, `json`, or gunicorn's atoms, as in "
            '`%(h)s "%(r)s" %(s)s`.',
        ),
        Option(("--access-logformat",), "FORMAT"),
    ] = "combined"
    capture_output: Annotated[
        bool,
        Meta(description="Write what the application prints to the error log."),
        Option(("--capture-output",), ""),
    ] = False
    config: Annotated[
        str | None,
        Meta(
            description="A file for `logging.config`: the format of `fileConfig`, or what `dictConfig` takes, as "
            "JSON. The loggers are `pyfork.error` and `pyfork.access`."
        ),
        Option(
            ("--log-config", "--log-config-json"),
            "FILE",
            Form.PATH,
            default_text="none",
            example="/etc/pyfork/logging.ini",
        ),
    ] = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, one attribute for each table of server.toml."""

    server: ServerSettings = ServerSettings()
    workers: WorkerSettings = WorkerSettings()
    http: HttpSettings = HttpSettings()
    proxy: ProxySettings = ProxySettings()
    static: StaticSettings = StaticSettings()
    tls: TlsSettings = TlsSettings()
    log: LogSettings = LogSettings()
    hooks: HookSettings = HookSettings()
    development: DevelopmentSettings = DevelopmentSettings()

    @property
    def label(self) -> str:
        """Return how process titles and the log call what is served."""
        return self.server.proc_name or self.server.app or self.workers.type
