"""The settings of TLS, declared as those of `schema` are. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pyfork.config.declarations import Form, Option


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """TLS: the certificates, and what is asked of clients (docs/tls.md)."""

    certfile: Annotated[
        str | None,
        Meta(
            description="The server's certificate as PEM, with the intermediate ones behind it. It turns TLS on: "
            "for the binds that begin with `https://`, or for all of them if none has a scheme. Files of this "
            "table are read by the arbiter, before privileges are dropped, and again at each reload."
        ),
        Option(("--certfile",), "FILE", Form.PATH, default_text="none: no TLS", example="/etc/pyfork/fullchain.pem"),
    ] = None
    keyfile: Annotated[
        str | None,
        Meta(description="The certificate's private key as PEM. Workers need not be able to read it."),
        Option(("--keyfile",), "FILE", Form.PATH, default_text="`certfile` holds it", example="/etc/pyfork/key.pem"),
    ] = None
    password_file: Annotated[
        str | None,
        Meta(description="A file whose first line is the passphrase of encrypted keys."),
        Option(
            ("--keyfile-password-file",),
            "FILE",
            Form.PATH,
            default_text="none: an encrypted key is an error",
            example="/etc/pyfork/key.pass",
        ),
    ] = None
    sni: Annotated[
        dict[str, str],
        Meta(
            description="More certificates, by the name that the client asks for (SNI): `example.org`, or "
            "`*.example.org` for one label. The value is `CERTFILE:KEYFILE`, `CERTFILE` alone if the key is in it, or "
            "in the file a table `{ certfile = ..., keyfile = ... }`. Other names get `certfile`."
        ),
        Option(("--sni",), "NAME=CERTFILE[:KEYFILE]", Form.SNI, example={"shop.example.org": "/etc/pyfork/shop.pem"}),
    ] = {}
    minimum_version: Annotated[
        Literal["1.2", "1.3"],
        Meta(description="The lowest version of TLS that is spoken."),
        Option(("--tls-minimum-version",), "VERSION", Form.CHOICE),
    ] = "1.2"
    ciphers: Annotated[
        str | None,
        Meta(
            description="The cipher suites of TLS 1.2, as OpenSSL lists them (`openssl ciphers`); those of TLS 1.3 are "
            "not chosen."
        ),
        Option(("--ciphers",), "LIST", default_text="those of Python's `ssl`", example="ECDHE+AESGCM:ECDHE+CHACHA20"),
    ] = None
    verify: Annotated[
        Literal["none", "optional", "required"],
        Meta(
            description="Whether clients are asked for a certificate: `none`, `optional` (one that comes must be "
            "valid) or `required`. What it says is in the environ as `SSL_CLIENT_*`. As in gunicorn 0, 1 and 2 mean "
            "the same."
        ),
        Option(("--cert-reqs",), "NAME", Form.VERIFY),
    ] = "none"
    ca_certs: Annotated[
        str | None,
        Meta(description="The certificates that those of clients must come from, as PEM; `verify` needs them."),
        Option(("--ca-certs",), "FILE", Form.PATH, default_text="none", example="/etc/pyfork/clients.pem"),
    ] = None
