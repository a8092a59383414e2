"""A client's certificate as variables."""

import pytest

from pyfork.gateway.client_certificate import describe_client, distinguished_name

CERTIFICATE = {
    "subject": ((("countryName", "DE"),), (("organizationName", "Exämple, Inc."),), (("commonName", "Ann"),)),
    "issuer": ((("commonName", "CA"),),),
    "serialNumber": "0A",
    "notBefore": "Jan  1 00:00:00 2026 GMT",
    "notAfter": "Jan  1 00:00:00 2027 GMT",
}


def test_a_certificate_becomes_variables():
    """By mod_ssl's names; text beyond ASCII is UTF-8 in a native string (PEP 3333)."""
    variables = describe_client(CERTIFICATE, "PEM")
    assert variables.pop("SSL_CLIENT_S_DN").encode("latin-1").decode() == "CN=Ann,O=Exämple\\, Inc.,C=DE"
    assert variables == {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_I_DN": "CN=CA",
        "SSL_CLIENT_M_SERIAL": "0A",
        "SSL_CLIENT_V_START": "Jan  1 00:00:00 2026 GMT",
        "SSL_CLIENT_V_END": "Jan  1 00:00:00 2027 GMT",
        "SSL_CLIENT_CERT": "PEM",
    }


def test_a_client_without_one_is_told_apart():
    """With verify = "optional"."""
    assert describe_client({}, "") == {"SSL_CLIENT_VERIFY": "NONE"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a,b", "a\\,b"),
        ('+";<>\\', '\\+\\"\\;\\<\\>\\\\'),
        ("#a", "\\#a"),
        ("a#", "a#"),
        (" a b ", "\\ a b\\ "),
        (" ", "\\ "),
        ("a\nb\0", "a\\0Ab\\00"),
        ("", ""),
    ],
)
def test_nobody_can_write_the_parts_of_another_name(value, written):
    """RFC 4514, section 2.4: a comma in a value is not the beginning of a next part."""
    assert distinguished_name(((("commonName", value),),)) == f"CN={written}"


def test_several_attributes_of_one_part_stay_together():
    """RFC 4514, section 2.2; an attribute without a short name keeps its long one."""
    assert distinguished_name(((("commonName", "a"), ("userId", "b")), (("emailAddress", "c"),))) == (
        "emailAddress=c,CN=a+UID=b"
    )
