"""The table tls, looked at before anything starts."""

import subprocess
import sys

import pytest

from pyfork.cli.encryption import check_tls, load_certificates, warn_of_tls
from pyfork.config.schema import ServerSettings, Settings
from pyfork.config.schema_tls import TlsSettings
from pyfork.errors import ConfigurationError


def make_settings(*binds, **tls):
    return Settings(server=ServerSettings(bind=binds or ("127.0.0.1:8000",)), tls=TlsSettings(**tls))


def test_without_a_certificate_there_is_nothing_to_load():
    """Nor to object to."""
    assert load_certificates(make_settings()) is None
    assert check_tls(make_settings()) == []
    assert warn_of_tls(make_settings()) == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            make_settings("https://0.0.0.0:1"),
            "server.bind: https://0.0.0.0:1: there is no certificate; set tls.certfile",
        ),
        (make_settings(keyfile="k"), "tls.keyfile: there is no tls.certfile beside it"),
        (make_settings(sni={"a": "b"}), "tls.sni: there is no tls.certfile beside it"),
        (make_settings(certfile="c", verify="optional"), 'tls.verify: "optional" needs tls.ca_certs'),
        (make_settings(certfile="/nowhere/c"), "tls.certfile: /nowhere/c does not exist"),
        (make_settings("https://0.0.0.0:1", "http://0.0.0.0:1"), "server.bind: 0.0.0.0:1 is there with two schemes"),
    ],
)
def test_what_is_wrong_is_said_with_its_setting(settings, problem):
    """Exit status 2 at the start, and a refused reload."""
    assert check_tls(settings)[0].startswith(problem)


def test_a_file_that_is_missing_is_no_surprise_later(tmp_path):
    """It may go between the check and its use."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_certificates(make_settings(certfile=str(tmp_path / "c")))


def test_a_certificate_that_nobody_uses_is_worth_a_warning():
    """All binds say http."""
    assert warn_of_tls(make_settings("http://0.0.0.0:1", certfile="c"))
    assert not warn_of_tls(make_settings("http://0.0.0.0:1", "https://0.0.0.0:2", certfile="c"))
    assert not warn_of_tls(make_settings(certfile="c"))


def test_ssl_comes_with_the_certificates_only():
    """The module of the composition root does not bring it into an arbiter without TLS."""
    code = (
        "import pyfork.cli.command, pyfork.workers.selector, pyfork.workers.sync, sys; sys.exit('ssl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
