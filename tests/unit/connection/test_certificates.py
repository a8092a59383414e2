"""Certificates: what is wrong with a file is said with its name and its setting."""

import os
import ssl
from pathlib import Path

import pytest

from pyfork.config.schema_tls import TlsSettings
from pyfork.connection.certificates import load
from pyfork.errors import ConfigurationError
from tests.authority import PASSPHRASE, Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server", "localhost")


@pytest.fixture(scope="module")
def encrypted(authority, pair):
    return authority.encrypt(pair[1])


def problems_of(**settings):
    with pytest.raises(ConfigurationError) as caught:
        load(TlsSettings(**settings))
    return caught.value.problems


def test_a_certificate_is_loaded_with_its_key(pair, tmp_path):
    """From two files, or from one."""
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(path).read_text() for path in pair))
    assert load(TlsSettings(certfile=pair[0], keyfile=pair[1]))
    assert load(TlsSettings(certfile=str(both)))


def test_an_encrypted_key_takes_a_passphrase(pair, encrypted, tmp_path):
    """The first line of a file; nobody is asked at a terminal."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE + b"\r\nanother line\n")
    assert load(TlsSettings(certfile=pair[0], keyfile=encrypted, password_file=str(passphrase)))
    assert problems_of(certfile=pair[0], keyfile=encrypted) == (
        f"tls.keyfile: {encrypted} is encrypted; set tls.password_file",
    )
    passphrase.write_bytes(b"wrong")
    assert problems_of(certfile=pair[0], keyfile=encrypted, password_file=str(passphrase)) == (
        f"tls.keyfile: {encrypted} is encrypted, and not with the passphrase in {passphrase}",
    )
    passphrase.write_bytes(b"\n")
    assert "is no passphrase" in problems_of(certfile=pair[0], keyfile=pair[1], password_file=str(passphrase))[0]


def test_each_thing_that_is_wrong_has_its_sentence(authority, pair, tmp_path):
    """OpenSSL says "PEM lib" of most of them."""
    certfile, keyfile = pair
    junk = tmp_path / "junk"
    junk.write_text("junk")
    other = authority.issue("other", "localhost")[1]
    damaged = tmp_path / "damaged"
    damaged.write_text(Path(certfile).read_text()[:300] + "\n-----END CERTIFICATE-----\n")
    broken = tmp_path / "broken"
    broken.write_text(Path(keyfile).read_text().replace("M", "N"))
    missing = tmp_path / "missing"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for settings, problem in (
        ({"certfile": str(missing)}, f"tls.certfile: {missing} does not exist"),
        ({"certfile": str(tmp_path)}, f"tls.certfile: {tmp_path} cannot be read: is a directory"),
        (
            {"certfile": certfile, "keyfile": str(fifo)},
            f"tls.keyfile: {fifo} cannot be read: it is a pipe, not a regular file",
        ),
        ({"certfile": str(junk), "keyfile": keyfile}, f"tls.certfile: {junk} holds no certificate as PEM"),
        ({"certfile": certfile}, f"tls.certfile: {certfile} holds no private key as PEM; name the file that does"),
        ({"certfile": certfile, "keyfile": str(junk)}, f"tls.keyfile: {junk} holds no private key as PEM"),
        (
            {"certfile": certfile, "keyfile": other},
            f"tls.keyfile: {other} is not the key of the certificate in {certfile}",
        ),
        ({"certfile": str(damaged), "keyfile": keyfile}, f"tls.certfile: {damaged} cannot be used: "),
        ({"certfile": certfile, "keyfile": str(broken)}, f"tls.keyfile: {broken} cannot be used: "),
        ({"certfile": certfile, "keyfile": keyfile, "ciphers": "none at all"}, "tls.ciphers: OpenSSL knows none of"),
        (
            {"certfile": certfile, "keyfile": keyfile, "verify": "required", "ca_certs": str(junk)},
            f"tls.ca_certs: {junk} holds no certificate as PEM",
        ),
        (
            {"certfile": certfile, "keyfile": keyfile, "sni": {"a.example": f"{certfile}:{missing}"}},
            f"tls.sni: a.example: {missing} does not exist",
        ),
    ):
        (found,) = problems_of(**settings)
        assert found.startswith(problem), found


def test_all_problems_are_told_at_once(tmp_path):
    """One of each file."""
    assert problems_of(certfile=str(tmp_path / "a"), sni={"b": str(tmp_path / "b")}) == (
        f"tls.certfile: {tmp_path / 'a'} does not exist",
        f"tls.sni: b: {tmp_path / 'b'} does not exist",
    )


def test_a_name_chooses_its_certificate(authority, pair):
    """The exact name before the pattern, which stands for one label; any case; else the default."""
    files = {name: ":".join(authority.issue(name, name)) for name in ("a.example", "*.example", "*.b.example")}
    certificates = load(TlsSettings(certfile=pair[0], keyfile=pair[1], sni=files))
    default = certificates.find("")
    chosen = [certificates.find(name) for name in ("a.example", "A.Example.", "c.example", "x.b.example")]
    assert chosen[0] is chosen[1]
    assert len({id(context) for context in (default, *chosen)}) == 4
    assert [certificates.find(name) for name in ("x.y.b.example", "example", "other")] == [default] * 3


def test_the_settings_of_the_context_are_safe(authority, pair):
    """No renegotiation, no compression, no version below the minimum."""
    context = load(TlsSettings(certfile=pair[0], keyfile=pair[1], minimum_version="1.3")).find("")
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_NONE
    ca_certs = authority.path
    context = load(TlsSettings(certfile=pair[0], keyfile=pair[1], verify="optional", ca_certs=ca_certs)).find("")
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
