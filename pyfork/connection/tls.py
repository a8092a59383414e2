"""TLS on a connection: what the shells use of a socket, with encryption between it and the kernel.

`TlsSocket` offers ``recv``, ``send`` and the rest as a non-blocking socket does, so the shells know nothing of TLS. The
encryption works in memory (``ssl.MemoryBIO``) and the kernel's socket stays what it was: whoever waits for it, a loop,
poll(2) or a greenlet, waits in the same way. The rules:

- *Nothing that is decrypted is held back.* A loop hears of octets from the kernel alone: what a record had brought
  besides would be waited for in vain. So `TlsSocket.recv` asks the kernel for as many octets as it was asked for, and
  returns all that can be made of them. That may be more than was asked for, by what had come of one record (16 KiB).
- *What the kernel has not taken is not sent.* Octets that have been encrypted cannot be encrypted again, so
  `TlsSocket.send` keeps the ciphertext that the kernel has no room for, and reports no more octets as sent than it has
  passed on of it; the last one only when all has been. Who sends on begins with the very octets that are left, as it
  must in any case; these are passed on then and not encrypted a second time. Who sends something else has given them
  up (a 100 that a client does not take is not sent again): they go before it nevertheless, as part of their record has.
- *Only a connection that ends well says so* (`TlsSocket.shutdown`, by a close_notify: RFC 8446, section 6.1). Closing
  says nothing: a client can tell that way that a response was broken off, also one whose end is the connection's. A
  process that the application forks closes its copies of the sockets, and says nothing either.
- There is no renegotiation (TLS 1.2), and the client's KeyUpdate (TLS 1.3) is answered with the next record.

What does not work: ``SSLContext.wrap_socket``. Its ``recv`` leaves decrypted octets behind, it waits in ways of its
own, and gevent replaces it.
"""

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from pyfork.connection.sending import LayeredSocket
from pyfork.errors import HandshakeError
from pyfork.gateway.client_certificate import describe_client

MOST_ENCRYPTED = 128 * 1024
"""Octets that are encrypted at once: what the kernel does not take of them is kept."""
MOST_KEPT = 512 * 1024
"""Octets of ciphertext that a client may leave untaken; it can ask for more than that by KeyUpdate only."""
_NO_LIMIT = 2**31 - 1
_NOTSENT_LOWAT: int = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # linux/tcp.h
_NOTHING = memoryview(b"")
_RECORD = 16 * 1024
"""Octets of one record at most (RFC 8446, section 5.1): one read of the decrypted returns no more."""
_LEAST_READ = 2 * 1024
"""Octets that are asked for at least: ciphertext is longer than what is in it."""


class TlsSocket(LayeredSocket):
    """The server's side of one TLS connection.

    Args:
        sock: the connection, just accepted; it belongs to this object.
        context: with the certificate.

    Attributes:
        fileno: as of the kernel's socket.
        family: of the kernel's socket.
        has_begun: `feed` has been called.
        variables: what an environ says of the connection, once the handshake is over.
    """

    __slots__ = (
        "_has_ended",
        "_incoming",
        "_is_over",
        "_is_partial",
        "_outgoing",
        "_owed",
        "_raw",
        "_read",
        "_tls",
        "_unsent",
        "_write",
        "family",
        "fileno",
        "has_begun",
        "variables",
    )

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.setblocking(False)
        self._raw = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._read: Callable[[int], bytes] = self._tls.read
        self._write: Callable[[bytes | memoryview], int] = self._tls.write
        self._unsent = _NOTHING  # ciphertext that the kernel has not taken
        self._owed = _NOTHING  # octets given to `send` whose ciphertext is in it, and that are not reported as sent
        self._is_partial = False  # the beginning of a record has come
        self._has_ended = False  # the client has said that it sends no more
        self._is_over = False  # so have we: what comes is forgotten, and not worth decrypting
        self.has_begun = False
        self.fileno = sock.fileno
        self.family = sock.family
        self.variables: dict[str, str] = {}

    # The handshake.

    def feed(self, data: bytes) -> None:
        """Take ciphertext that somebody else has received."""
        self.has_begun = True
        self._incoming.write(data)

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is over, as far as the server is concerned.

        It is not over for the client as long as `has_unsent`.

        Raises:
            HandshakeError: it has failed; the client is told why, if its kernel takes that at once.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            is_over = False
        except (ssl.SSLError, ssl.CertificateError) as error:
            with contextlib.suppress(OSError):
                self._pass_on()
            raise HandshakeError(_reason_of(error)) from error
        else:
            is_over = True
            self.variables = self._describe()
        self.flush()
        return is_over

    def flush(self) -> None:
        """Give the kernel what it has not taken.

        Raises:
            HandshakeError: the client has gone.
        """
        try:
            self._pass_on()
        except OSError as error:
            raise HandshakeError(f"the client has gone: {error.strerror}") from error

    @property
    def has_unsent(self) -> bool:
        """Whether the kernel has not taken all that is for the client."""
        return bool(self._unsent)

    @property
    def has_pending(self) -> bool:
        """Whether ciphertext has come that `recv` has not looked at: behind the handshake only."""
        return self._incoming.pending > 0

    # What the shells use of a socket.

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return all octets that have come, b"" if the client sends no more; see the head of the module.

        Args:
            size: how many octets of ciphertext to ask the kernel for, about.
            flags: ``MSG_PEEK`` says whether there is anything to read, and returns none of it.

        Raises:
            BlockingIOError: no octet has come, or not the whole of a record.
            OSError: the client has gone, or sends what is no TLS.
        """
        if flags:
            return b"?" if self._is_partial or self.has_pending else self._raw.recv(size, flags)
        incoming = self._incoming
        if self._has_ended:
            return self._raw.recv(size) if self._is_over else b""
        if not incoming.pending:
            data = self._raw.recv(max(size, _LEAST_READ))
            if not data:
                return b""
            incoming.write(data)
        try:
            data = self._read(_RECORD)
        except ssl.SSLWantReadError:
            self._is_partial = True
            self._pass_on()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        except ssl.SSLError as error:
            with contextlib.suppress(OSError):
                self._pass_on()
            raise ConnectionAbortedError(errno.ECONNABORTED, _reason_of(error)) from None
        self._is_partial = False
        if not data:
            self._has_ended = True
        elif incoming.pending:
            data = self._read_on(data)
        if self._outgoing.pending:
            self._pass_on()
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Send octets; return how many are on their way, see the head of the module.

        Raises:
            BlockingIOError: the kernel has taken nothing; a later call must begin with the same octets.
            OSError: the client has gone.
        """
        if self._unsent or self._owed:
            if self._owed and memoryview(data)[: len(self._owed)] != self._owed:
                self._owed = _NOTHING
            reported = self._send_rest(flags)
            if reported:
                return reported
        count = len(data)
        if count > MOST_ENCRYPTED:
            data = memoryview(data)[:MOST_ENCRYPTED]
            count = MOST_ENCRYPTED
        try:
            self._write(data)
        except ssl.SSLError as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, _reason_of(error)) from None
        octets = self._outgoing.read()
        try:
            sent = self._raw.send(octets, flags)
        except BlockingIOError:
            sent = 0
        if sent == len(octets):
            return count
        self._unsent = memoryview(octets)[sent:]
        self._owed = memoryview(data)
        return self._report(sent)

    def shutdown(self, how: int) -> None:
        """Say that no more will be sent, unless something should have been that was not; then as of a socket.

        What still comes is not decrypted any more: `recv` returns ciphertext, for who forgets it.
        """
        if not self._is_over:
            if not self._unsent:
                with contextlib.suppress(ssl.SSLError):  # it wants the client's, or the connection is broken
                    self._tls.unwrap()
                self._send_last(self._outgoing.read())
            self._has_ended = self._is_over = True
            del self._tls  # with tens of KiB of buffers: the socket may linger
            self._read, self._write = _refuse_reading, _refuse_writing
        self._raw.shutdown(how)

    def has_news(self) -> bool:
        """See `LayeredSocket.has_news`."""
        try:
            return self.has_pending or bool(self._raw.recv(1, socket.MSG_PEEK))
        except OSError:  # BlockingIOError: nothing; another: nobody
            return False

    def break_off(self) -> None:
        """See `LayeredSocket.break_off`: there is no close_notify, so the client can tell."""
        self._has_ended = self._is_over = True
        self._read, self._write = _refuse_reading, _refuse_writing
        self._raw.shutdown(socket.SHUT_RDWR)

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def getsockopt(self, *option: int) -> Any:
        """See ``socket.getsockopt``."""
        return self._raw.getsockopt(*option)

    def setsockopt(self, *option: Any) -> None:
        """See ``socket.setsockopt``."""
        self._raw.setsockopt(*option)

    def close(self) -> None:
        """Close the connection without another word."""
        self._raw.close()

    # The rest.

    def _describe(self) -> dict[str, str]:
        """Return what an environ says of the connection; the names are those of Apache's mod_ssl."""
        tls = self._tls
        cipher = tls.cipher()
        variables = {
            "SSL_PROTOCOL": tls.version() or "",
            "SSL_CIPHER": cipher[0] if cipher else "",
            "SSL_SESSION_RESUMED": "Resumed" if tls.session_reused else "Initial",
        }
        if tls.context.verify_mode is not ssl.CERT_NONE:
            octets = tls.getpeercert(binary_form=True)
            pem = "" if octets is None else ssl.DER_cert_to_PEM_cert(octets)
            variables |= describe_client(tls.getpeercert() or {}, pem)
        return variables

    def _read_on(self, data: bytes) -> bytes:
        """Return ``data`` and what the records behind it hold."""
        pieces = [data]
        try:
            while self._incoming.pending and data:
                data = self._read(_RECORD)
                pieces.append(data)
        except ssl.SSLWantReadError:
            self._is_partial = True
        except ssl.SSLError:
            self._end_input()
        if not data:
            self._end_input()
        return b"".join(pieces)

    def _end_input(self) -> None:
        """Have the next ``recv`` return the end, and the kernel report that there is something to read."""
        self._has_ended = True
        with contextlib.suppress(OSError):  # the client has gone: that is reported as well
            self._raw.shutdown(socket.SHUT_RD)

    def _pass_on(self) -> None:
        """Give the kernel what TLS itself has to say.

        Raises:
            OSError: the client has gone, or asks for answers and takes none.
        """
        octets = self._outgoing.read()
        if self._unsent:
            octets = bytes(self._unsent) + octets
            if len(octets) > MOST_KEPT:
                raise ConnectionAbortedError(errno.ECONNABORTED, "it takes nothing of what it asks for")
        if not octets:
            return
        try:
            sent = self._raw.send(octets)
        except BlockingIOError:
            sent = 0
        self._unsent = memoryview(octets)[sent:]

    def _send_last(self, octets: bytes) -> None:
        """Send a close_notify also where the kernel is to take no more (TCP_NOTSENT_LOWAT): it has room for that."""
        try:
            self._raw.send(octets)
        except BlockingIOError:
            with contextlib.suppress(OSError):  # there is none; the end then looks like one that was not meant
                self._raw.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _NO_LIMIT)
                self._raw.send(octets)

    def _send_rest(self, flags: int) -> int:
        """Give the kernel what it has not taken; return how many octets are sent by that, 0 if none was owed.

        Raises:
            BlockingIOError: it has not taken all, and not one octet more counts as sent.
        """
        sent = self._raw.send(self._unsent, flags) if self._unsent else 0  # `recv` may have passed all of it on
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            owed, self._owed = self._owed, _NOTHING
            return len(owed)
        return self._report(sent)

    def _report(self, passed: int) -> int:
        """Return how many octets count as sent when as many of ciphertext have been passed on, and some are left."""
        reported = max(0, min(passed, len(self._owed) - 1))
        if not reported:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._owed = self._owed[reported:]
        return reported


def _refuse_reading(_size: int, /) -> bytes:
    """Be what reads when the connection is over."""
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _refuse_writing(_data: bytes | memoryview, /) -> int:
    """Be what writes when the connection is over."""
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _reason_of(error: Exception) -> str:
    """Return what OpenSSL says, in one line without its line numbers."""
    verify = getattr(error, "verify_message", None)
    if verify:
        return f"the certificate is not accepted: {verify}"
    reason = getattr(error, "reason", None)
    return str(reason or getattr(error, "strerror", None) or error).replace("_", " ").lower()
