"""The settings of what stands in front, declared as those of `schema` are. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pyfork.config.declarations import Form, Option
from pyfork.config.proxies import X_FORWARDED_PROTO


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The proxies in front: whose word on the client counts, and which (docs/proxies.md)."""

    trusted: Annotated[
        tuple[str, ...],
        Meta(
            description="Peers that may tell of the client, by the fields that `headers` lists. IP addresses, "
            "networks as in `10.0.0.0/8`, `unix:` (whoever connects by a unix socket) and `*` (everybody). Without any "
            "value, the variable `FORWARDED_ALLOW_IPS` is read. That and the flag mean what they mean to gunicorn: "
            "`unix:` is trusted besides.",
        ),
        Option(("--forwarded-allow-ips",), "ADDRESS,...", Form.PROXIES),
    ] = ("127.0.0.1", "::1", "unix:")
    headers: Annotated[
        tuple[str, ...],
        Meta(
            description="What trusted peers may tell: list the fields that your proxy *sets*, for it passes on what "
            "clients send of the others. `x-forwarded-for` (REMOTE_ADDR), `x-forwarded-proto` (the scheme; also by "
            "`X-Forwarded-Protocol: ssl` and `X-Forwarded-Ssl: on`), `x-forwarded-host`, `x-forwarded-port` "
            "(HTTP_HOST, SERVER_NAME, SERVER_PORT), `x-forwarded-prefix` (SCRIPT_NAME); or `forwarded` alone (RFC "
            "7239: the client, the scheme and the host). An empty list believes nothing.",
        ),
        Option(("--proxy-headers",), "FIELD,...", Form.FORWARDING),
    ] = (X_FORWARDED_PROTO,)
    untrusted_headers: Annotated[
        Literal["remove", "keep"],
        Meta(
            description="What becomes of such fields where nobody trusted has said them: `remove` them, or `keep` them "
            "in the environ as sent. Removed are those of other peers, the family that `headers` does not list "
            "(`X-Forwarded-...` or `Forwarded`), and what stands left of what was believed.",
        ),
        Option(("--untrusted-headers",), "WORD", Form.CHOICE),
    ] = "remove"
    protocol: Annotated[
        Literal["off", "v1", "v2", "auto"],
        Meta(
            description="The PROXY protocol, by which a proxy that passes on octets says whose they are: connections "
            "from peers in `allow_from` begin with a header of version 1 or 2, or with `auto` of either, or none; a "
            "connection without the header that must be there gets 400. It sets REMOTE_ADDR and REMOTE_PORT, and "
            "comes before TLS. From other peers it is a bad request. The flag alone means `auto`.",
        ),
        Option(("--proxy-protocol",), "VERSION", Form.CHOICE, bare="auto"),
    ] = "off"
    allow_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Peers whose connections begin with a header of the PROXY protocol, written as in `trusted`. "
            "The flag means what it means to gunicorn: `unix:` is among them besides.",
        ),
        Option(("--proxy-allow-from",), "ADDRESS,...", Form.PROXIES),
    ] = ("127.0.0.1", "::1", "unix:")
