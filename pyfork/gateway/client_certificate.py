"""A client's certificate in the environ: ``SSL_CLIENT_*``, by the names of Apache's mod_ssl. Pure.

Nobody can forge these variables by a field: those of fields begin with ``HTTP_``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""RFC 4514, section 3; other attributes keep OpenSSL's long names, as in ``emailAddress``."""
_SPECIAL = re.compile(r'[",+;<>\\]|^[# ]| $')


def describe_client(certificate: Mapping[str, Any], pem: str) -> dict[str, str]:
    """Return the variables of a client that was asked for its certificate.

    Args:
        certificate: as ``SSLObject.getpeercert`` returns it; empty if none came.
        pem: the same, whole.
    """
    if not pem:
        return {"SSL_CLIENT_VERIFY": "NONE"}
    variables = {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN": distinguished_name(certificate.get("subject", ())),
        "SSL_CLIENT_I_DN": distinguished_name(certificate.get("issuer", ())),
        "SSL_CLIENT_M_SERIAL": certificate.get("serialNumber", ""),
        "SSL_CLIENT_V_START": certificate.get("notBefore", ""),
        "SSL_CLIENT_V_END": certificate.get("notAfter", ""),
        "SSL_CLIENT_CERT": pem,
    }
    return {name: _native(value) for name, value in variables.items()}


def distinguished_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a name as RFC 4514 writes it, the last part first: ``CN=Ann,O=Example,C=DE``.

    Args:
        name: its parts in the order of the certificate, each one or more attributes with their values.
    """
    parts = ["+".join(f"{SHORT_NAMES.get(key, key)}={_escape(value)}" for key, value in part) for part in name]
    return ",".join(reversed(parts))


def _escape(value: str) -> str:
    """Escape what has a meaning in a name: RFC 4514, section 2.4."""
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", value)
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\{ord(found[0]):02X}", escaped)


def _native(text: str) -> str:
    """Return the octets of UTF-8 as characters of latin-1 (PEP 3333, "native strings")."""
    return text.encode("utf-8", "replace").decode("latin-1")
