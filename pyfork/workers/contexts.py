"""What the worker types that serve WSGI share: the context in which a listener's connections run."""

import importlib
import os
from collections.abc import Callable
from typing import Any

from pyfork.connection.answer import Answer
from pyfork.connection.context import (
    ConnectionContext,
    Line,
    MakeAnswer,
    Persistence,
    Progress,
    Wait,
    WallClock,
    cannot_wait,
    keep_going,
)
from pyfork.connection.hooked import RequestHooks
from pyfork.development.banner import with_faults_shown
from pyfork.gateway.environ import base_environ, encrypted_environ
from pyfork.gateway.errors import ErrorStream
from pyfork.gateway.forwarded import TrustedProxies
from pyfork.gateway.input import InputStream
from pyfork.gateway.peers import Peers
from pyfork.gateway.wsgi import Write
from pyfork.http1.limits import Limits
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder
from pyfork.ipc.messages import Listener
from pyfork.log.access import create_access_log
from pyfork.workers.base import Worker
from pyfork.workers.loader import Application
from pyfork.workers.registry import STATIC_FILES


def make_contexts(
    worker: Worker,
    application: Application,
    make_progress: Callable[[], Progress],
    wait: Wait = cannot_wait,
    give_way: Callable[[], None] = keep_going,
    *,
    step_aside: Callable[[], None] = keep_going,
) -> dict[int, ConnectionContext]:
    """Return a context for each listener, by its descriptor; called in the worker, after the import.

    Raises:
        ConfigurationError: ``log.format`` is impossible.
    """
    http = worker.settings.http
    limits = Limits(
        request_line=http.limit_request_line,
        fields=http.limit_request_fields,
        field_size=http.limit_request_field_size,
        body=http.limit_request_body,
    )
    access_log = create_access_log(worker.settings.log)
    application = with_faults_shown(application, worker.handoff.fault, worker.handoff.generation)
    proxy = worker.settings.proxy
    proxies = TrustedProxies(proxy.trusted, proxy.headers, keeps_untrusted=proxy.untrusted_headers == "keep")
    introducers = Peers(proxy.allow_from)
    warned: set[str] = set()
    clock = WallClock()
    persistence = Persistence(is_allowed=worker.can_keep_alive and http.keep_alive > 0)
    make_answer = _answer_of(worker, clock)
    certificates = worker.handoff.certificates
    return {
        listener.fileno(): ConnectionContext(
            application=application,
            make_answer=of_encrypted(make_answer) if told.is_tls else make_answer,
            http=http,
            limits=limits,
            base_environ=_environ_of(worker, told),
            make_progress=make_progress,
            wait=wait,
            give_way=give_way,
            step_aside=step_aside,
            access_log=access_log,
            certificates=certificates if told.is_tls else None,
            proxies=proxies,
            proxy_protocol=proxy.protocol,
            introducers=introducers,
            persistence=persistence,
            warned_fields=warned,
            clock=clock,
        )
        for listener, told in worker.sockets
    }


def _answer_of(worker: Worker, clock: WallClock) -> MakeAnswer:
    """Decide, once, whether requests have hooks, and whether files are served: without, they cost nothing."""
    pre_request, post_request = worker.hooks.pre_request, worker.hooks.post_request
    hooks = None if pre_request is None and post_request is None else RequestHooks(pre_request, post_request)
    make_answer: MakeAnswer = Answer if hooks is None else hooks.make_answer
    if not worker.settings.static.mounts:
        return make_answer
    static_answers: Any = importlib.import_module(STATIC_FILES)
    routed: MakeAnswer = static_answers.route(worker.settings.static, clock.seconds, make_answer, hooks)
    return routed


def of_encrypted(make_answer: MakeAnswer) -> MakeAnswer:
    """Return what answers a request of a listener that speaks TLS: its environ tells of the connection's."""

    def make_encrypted(
        line: Line, request: Request, body: InputStream, encoder: ResponseEncoder, write: Write
    ) -> Answer:
        answer = make_answer(line, request, body, encoder, write)
        answer.add_variables(line.sock.variables)  # type: ignore[attr-defined]  # a TlsSocket
        return answer

    return make_encrypted


def _environ_of(worker: Worker, told: Listener) -> dict[str, object]:
    is_tcp = told.family == "tcp"
    environ = base_environ(
        server_name=told.host if is_tcp else "",
        server_port=str(told.port) if is_tcp else "",
        errors=ErrorStream(),
        is_multithread=worker.is_multithread,
        is_multiprocess=True,  # even one worker has a second beside it during a reload
        script_name=os.environ.get("SCRIPT_NAME", ""),
    )
    return encrypted_environ(environ) if told.is_tls else environ
