"""nginx and HAProxy in front of a server, each in a strict and in a lax set-up, and what they say they forwarded.

The strict ones are as most people have them: the whole body is read before a request is forwarded. The lax ones stream
bodies and let pass what they can be told to let pass. All have one connection to the server, which is kept alive.
"""

import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.harness import wait_until

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/proxy-error.log notice;
events {{ worker_connections 64; }}
http {{
    log_format forwarded '"$upstream_status" "$request_method" "$request_body" "$request_uri"';
    access_log {directory}/forwarded.log forwarded;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/responses;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    large_client_header_buffers 4 32k;
    upstream application {{
        server 127.0.0.1:{port} max_fails=0;
        keepalive 1;
    }}
    server {{
        listen unix:{directory}/front.sock;
        {lax}
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host {host};
            proxy_next_upstream off;
            proxy_ignore_client_abort on;
        }}
    }}
}}
"""
NGINX_LAX = "proxy_request_buffering off; ignore_invalid_headers off; underscores_in_headers on;"
NGINX_HOSTS = {"nginx": "$host", "nginx-lax": "$http_host"}

HAPROXY = """
global
    nbthread 1
    tune.bufsize 131072
    tune.http.logurilen 65535
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
    http-reuse always
frontend front
    bind {directory}/front.sock
    log stdout len 65535 format raw local0
    log-format '"%[var(txn.status)]" "%[var(txn.method)]" "%[var(txn.body)]" "%[var(txn.target)]"'
    http-request set-var(txn.method) method,hex
    http-request set-var(txn.target) url,hex
    {lax}
    http-response set-var(txn.status) status
    default_backend application
backend application
    server application 127.0.0.1:{port}
"""
HAPROXY_STRICT = "option http-buffer-request\n    http-request set-var(txn.body) req.body,hex"
HAPROXY_LAX = "option accept-invalid-http-request"

FRONTS = {
    "nginx": ("nginx", NGINX, ""),
    "nginx-lax": ("nginx", NGINX, NGINX_LAX),
    "haproxy": ("haproxy", HAPROXY, HAPROXY_STRICT),
    "haproxy-lax": ("haproxy", HAPROXY, HAPROXY_LAX),
}
"""For each set-up: the program, its configuration, and what is filled in there."""
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy"}


@dataclass(frozen=True)
class Forwarded:
    """A request as the proxy says that it forwarded it.

    Attributes:
        method: as it came.
        target: as it was sent on.
        status: what the server answered, "-" if it did not.
        body: None if the proxy does not say.
    """

    method: bytes
    target: bytes
    status: str
    body: bytes | None


class Front:
    """A proxy that runs until `stop`.

    Args:
        name: which of `FRONTS`.
        directory: of its own, with a short path: its socket lies there.
        port: the server's.
    """

    def __init__(self, name: str, directory: Path, port: int) -> None:
        program, configuration, lax = FRONTS[name]
        self.name = name
        self.path = directory / "front.sock"
        self.log_path = directory / "forwarded.log"
        self._says_bodies = not name.endswith("-lax")
        self._read_field = _unescape if program == "nginx" else _unhex
        self._position = 0
        file = directory / "proxy.conf"
        host = NGINX_HOSTS.get(name)
        file.write_text(configuration.format(directory=directory, port=port, lax=lax, host=host))
        command = [find(program), *(["-p", str(directory), "-c"] if program == "nginx" else ["-db", "-f"]), str(file)]
        self.output_path = directory / "proxy-output.txt"
        log_path = self.log_path if program == "haproxy" else self.output_path
        with log_path.open("wb") as log, self.output_path.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=output, start_new_session=True
            )
        wait_until(self._is_listening, f"{name} listens: {self.output_path.read_text()}")

    def _is_listening(self) -> bool:
        assert self._process.poll() is None, self.output_path.read_text()
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        """Open a connection to it."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(30)
        try:
            client.connect(str(self.path))
        except OSError:
            client.close()
            raise
        return client

    def stop(self) -> None:
        """End it, at once."""
        self._process.terminate()
        self._process.wait(30)

    def forwarded_until(self, target: bytes) -> list[Forwarded]:
        """Return what it says that it forwarded since the last call, up to the request to ``target``, which must come."""
        lines: list[Forwarded] = []

        def has_come() -> bool:
            lines[:] = map(self._read_line, self.log_path.read_bytes()[self._position :].splitlines())
            return any(line.target == target for line in lines)

        wait_until(has_come, f"{self.name} logs the request to {target!r}")
        self._position = self.log_path.stat().st_size
        assert lines[-1].target == target, lines
        return lines

    def _read_line(self, line: bytes) -> Forwarded:
        status, *fields = re.findall(rb'"([^"]*)"?', line)
        assert line.endswith(b'"') or status != b"200", "HAProxy has cut the line of a request that counts"
        method, body, target = [*map(self._read_field, fields), b"", b""][:3]
        if target.startswith(b"?"):
            target = b"/" + target  # nginx logs an absolute-form without a path so, and sends the slash
        return Forwarded(method, target, status.decode(), body if self._says_bodies else None)


def find(program: str) -> str:
    """Return the path of a proxy."""
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
    assert path, f"{program} is not installed (Debian, Ubuntu: apt-get install {PACKAGES[program]})"
    return path


def _unescape(field: bytes) -> bytes:
    """Undo what nginx's log does to quotes, backslashes, controls and octets beyond ASCII."""
    if field == b"-":
        return b""
    return re.sub(rb"\\x([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), field)


def _unhex(field: bytes) -> bytes:
    """HAProxy logs in hexadecimal what a client may choose; a line has 65 535 octets at most."""
    return b"" if field == b"-" else bytes.fromhex(field[: len(field) & -2].decode())
