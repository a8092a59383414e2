"""Certificates for the tests, made when they run: none in the repository, so none that expires.

trustme makes them, as nothing in the standard library can; a call of openssl would need it installed.
"""

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.harness import Response, Server, parse_response, read_all

PASSPHRASE = b"a secret, with spaces"


class Authority:
    """A certificate authority, and what it has issued.

    Args:
        directory: where the files go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._authority = trustme.CA()
        self.path = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.path)

    def issue(
        self, name: str, *identities: str, common_name: str | None = None, kind: str = "ECDSA"
    ) -> tuple[str, str]:
        """Return the paths of a new certificate (with its chain) and its key."""
        issued = self._authority.issue_cert(
            *identities, common_name=common_name, organization_name="Example, Inc.", key_type=trustme.KeyType[kind]
        )
        certfile, keyfile = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certfile.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(keyfile))
        return str(certfile), str(keyfile)

    def encrypt(self, keyfile: str) -> str:
        """Return the path of the same key, encrypted with `PASSPHRASE`."""
        key = serialization.load_pem_private_key(Path(keyfile).read_bytes(), None)
        octets = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
        path = Path(f"{keyfile}.encrypted")
        path.write_bytes(octets)
        return str(path)

    def trust(self, *client: str) -> ssl.SSLContext:
        """Return the context of a client that trusts the authority, with a certificate of its own or without."""
        context = ssl.create_default_context(cafile=self.path)
        if client:
            context.load_cert_chain(*client)
        return context


class ClientKeys:
    """The keys of a client, for what Python's ssl does not send: a KeyUpdate (RFC 8446, sections 4.6.3 and 7).

    Args:
        log: what the client's ``keylog_filename`` has; its suite is TLS_AES_256_GCM_SHA384, and it has sent nothing.
    """

    def __init__(self, log: str) -> None:
        lines = [line.split() for line in log.splitlines()]
        self._take(bytes.fromhex(next(words[2] for words in lines if words[0] == "CLIENT_TRAFFIC_SECRET_0")))

    def _take(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self._iv = self._expand("key", 32), int.from_bytes(self._expand("iv", 12), "big")
        self._sequence = 0

    def _expand(self, label: str, length: int) -> bytes:
        name = f"tls13 {label}".encode()
        info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)

    def record(self, content: bytes, kind: int) -> bytes:
        """Return the next record."""
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return head + AESGCM(self._key).encrypt(nonce, content + bytes([kind]), head)

    def key_update(self) -> bytes:
        """Return a record that asks the server for new keys too; what comes next has the client's new ones."""
        octets = self.record(b"\x18\0\0\x01\x01", 22)
        self._take(self._expand("traffic upd", 48))
        return octets


class MemoryClient:
    """The client's side of TLS, in memory."""

    def __init__(self, context: ssl.SSLContext, name: str = "localhost", session: Any = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)

    def shake_hands(self, octets: bytes = b"") -> bytes:
        """Take what the server has sent, and return what it is sent next."""
        self.incoming.write(octets)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Return the ciphertext of ``data``."""
        self.tls.write(data)
        return self.outgoing.read()

    def decrypt(self, octets: bytes) -> bytes:
        """Return what ``octets`` say; the end of TLS is the end of it."""
        self.incoming.write(octets)
        data = b""
        try:
            while piece := self.tls.read(65536):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data

    def close_notify(self) -> bytes:
        """Return what says that no more comes."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


def connect(server: Server, context: ssl.SSLContext, name: str = "localhost", session: Any = None) -> ssl.SSLSocket:
    """Return a connection to a real server, with its handshake done."""
    return context.wrap_socket(server.connect(), server_hostname=name, session=session)


def ask(
    connection: socket.socket, path: str = "/", *, fields: str = "", method: str = "GET", body: bytes = b""
) -> None:
    """Send one request."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}{fields}\r\n".encode() + body)


def read_response(connection: socket.socket, read: int = 65536) -> Response:
    """Return the response that comes next, one that has a Content-Length."""
    octets = bytearray()
    wanted = None
    while wanted is None or len(octets) < wanted:
        octets += (piece := connection.recv(read))
        assert piece, f"the connection ended after {bytes(octets[:300])!r}"
        if wanted is None and b"\r\n\r\n" in octets:
            head = bytes(octets).partition(b"\r\n\r\n")[0].decode("latin-1").lower()
            wanted = len(head) + 4 + int(head.partition("content-length:")[2].split()[0])
    response, rest = parse_response(bytes(octets))
    assert rest == b""
    return response


def get(server: Server, context: ssl.SSLContext, path: str = "/", **client: Any) -> Response:
    """Send one request on a connection of its own, and return its response."""
    with connect(server, context, **client) as connection:
        ask(connection, path, fields="Connection: close\r\n")
        return parse_response(read_all(connection))[0]
