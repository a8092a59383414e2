"""The certificates of the listeners that speak TLS; imported only where there are any.

They are loaded in the arbiter, before it forks and before anybody drops privileges, at the start and at each reload:
the workers of a generation inherit them. So the key files may be root's alone, and a session that one worker began can
be resumed with another: the keys of session tickets are made with the ``SSLContext``, and Python has no way to share
them but this.
"""

import ssl
from collections.abc import Mapping
from socket import socket

from pyfork.config.reading import read_regular
from pyfork.config.schema_tls import TlsSettings
from pyfork.config.server_names import find_pattern, split_files
from pyfork.connection.tls import TlsSocket
from pyfork.errors import ConfigurationError

LARGEST_PASSPHRASE = 1024
"""Octets that OpenSSL takes."""
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Certificates:
    """All of a generation's.

    Args:
        default: for clients that ask for no name, or for one that is not known.
        by_name: for server names, and patterns as in ``*.example.org``.
    """

    def __init__(self, default: ssl.SSLContext, by_name: Mapping[str, ssl.SSLContext]) -> None:
        self._default = default
        self._by_name = by_name
        if by_name:
            default.sni_callback = self._choose

    def wrap(self, sock: socket) -> TlsSocket:
        """Return the server's side of a connection that was just accepted; its handshake is yet to come."""
        return TlsSocket(sock, self._default)

    def find(self, name: str) -> ssl.SSLContext:
        """Return the context for a name that a client asks for."""
        name = name.lower().removesuffix(".")
        return self._by_name.get(name) or self._by_name.get(find_pattern(name)) or self._default

    def _choose(self, tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Be the ``sni_callback``: RFC 6066, section 3."""
        if name is not None:
            chosen = self.find(name)
            if chosen is not self._default:
                tls.context = chosen


def load(tls: TlsSettings) -> Certificates:
    """Read all files; called in the arbiter.

    Args:
        tls: with a ``certfile``.

    Raises:
        ConfigurationError: with one problem for each thing that cannot be had; the setting and the file are named.
    """
    problems: list[str] = []
    contexts = {}
    files = {"": (tls.certfile or "", tls.keyfile or tls.certfile or "")}
    files |= {name: split_files(text) for name, text in tls.sni.items()}
    for name, (certfile, keyfile) in files.items():
        try:
            contexts[name] = _load_context(tls, name, certfile, keyfile)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(*dict.fromkeys(problems))
    return Certificates(contexts.pop(""), contexts)


def _load_context(tls: TlsSettings, name: str, certfile: str, keyfile: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    if tls.ciphers is not None:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError as error:
            raise ConfigurationError(f"tls.ciphers: OpenSSL knows none of {tls.ciphers!r}") from error
    _load_chain(context, tls, name, certfile, keyfile)
    context.verify_mode = _VERIFY[tls.verify]
    if tls.verify != "none" and tls.ca_certs is not None:
        _read("tls.ca_certs", tls.ca_certs)
        try:
            context.load_verify_locations(tls.ca_certs)
        except ssl.SSLError as error:
            raise ConfigurationError(f"tls.ca_certs: {tls.ca_certs} holds no certificate as PEM") from error
    return context


def _load_chain(context: ssl.SSLContext, tls: TlsSettings, name: str, certfile: str, keyfile: str) -> None:
    """Load a certificate with its key; find out what is wrong when OpenSSL only says that something is."""
    certificate_of = f"tls.sni: {name}" if name else "tls.certfile"
    key_of = "tls.keyfile" if tls.keyfile is not None and not name else certificate_of
    certificate, key = _read(certificate_of, certfile), _read(key_of, keyfile)
    passphrase = _read_passphrase(tls)
    asked: list[None] = []

    def answer() -> bytes:
        asked.append(None)
        return passphrase  # b"" fails; without an answer OpenSSL would ask at the terminal

    try:
        context.load_cert_chain(certfile, keyfile, answer)
    except OSError as error:  # ssl.SSLError is one
        if not (b"-----BEGIN" in certificate and b"CERTIFICATE-----" in certificate):
            problem = f"{certificate_of}: {certfile} holds no certificate as PEM"
        elif asked or b"PRIVATE KEY-----" not in key:
            problem = f"{key_of}: {keyfile} {_explain_key(tls, is_encrypted=bool(asked))}"
        elif getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            problem = f"{key_of}: {keyfile} is not the key of the certificate in {certfile}"
        else:
            setting, file = (key_of, keyfile) if _is_certificate(certfile) else (certificate_of, certfile)
            problem = f"{setting}: {file} cannot be used: {_say(error)}"
        raise ConfigurationError(problem) from error


def _explain_key(tls: TlsSettings, *, is_encrypted: bool) -> str:
    if not is_encrypted:
        return "holds no private key as PEM; name the file that does, as keyfile"
    if tls.password_file is None:
        return "is encrypted; set tls.password_file"
    return f"is encrypted, and not with the passphrase in {tls.password_file}"


def _say(error: OSError) -> str:
    """Return what OpenSSL says of a file that looks right: often nothing."""
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else "it is damaged"


def _is_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError:
        return False
    return True


def _read_passphrase(tls: TlsSettings) -> bytes:
    if tls.password_file is None:
        return b""
    first = _read("tls.password_file", tls.password_file).split(b"\n", 1)[0].removesuffix(b"\r")
    if not first or len(first) >= LARGEST_PASSPHRASE:
        raise ConfigurationError(f"tls.password_file: the first line of {tls.password_file} is no passphrase")
    return first


def _read(setting: str, path: str) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise ConfigurationError(f"{setting}: {path} does not exist") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"{setting}: {path} cannot be read: {reason}") from error
