"""The environment: our variables, those of the platforms, and those that only look like ours."""

import pytest

from pyfork.config.environment import read_environment, read_forwarded_allow_ips, read_port
from pyfork.config.values import Raw
from pyfork.errors import ConfigurationError


def test_every_setting_has_a_variable():
    """The origin names the variable."""
    values, warnings = read_environment({"PYFORK_WORKERS_COUNT": "4", "PATH": "/bin"})
    assert values == {"workers.count": Raw("4", "environment PYFORK_WORKERS_COUNT", is_text=True)}
    assert warnings == []


def test_web_concurrency_is_the_count_unless_that_has_its_own():
    """Platforms set WEB_CONCURRENCY; who writes PYFORK_WORKERS_COUNT means pyfork."""
    values, _ = read_environment({"WEB_CONCURRENCY": "2"})
    assert values["workers.count"].value == "2"
    values, _ = read_environment({"PYFORK_WORKERS_COUNT": "4", "WEB_CONCURRENCY": "2"})
    assert values["workers.count"].value == "4"


def test_an_empty_variable_counts_as_not_set():
    """Compose files pass on what they do not have as an empty string."""
    assert read_environment({"PYFORK_WORKERS_COUNT": "", "WEB_CONCURRENCY": "", "PYFORK_X": ""}) == ({}, [])
    assert read_port({"PORT": ""}) == {}


def test_an_unknown_variable_is_only_warned_of():
    """Kubernetes injects PYFORK_SERVICE_HOST for a service of that name."""
    values, warnings = read_environment({"PYFORK_SERVICE_HOST": "10.0.0.1", "PYFORK_WORKER_COUNT": "2"})
    assert values == {}
    assert warnings == [
        "environment PYFORK_SERVICE_HOST: there is no such setting, it is ignored",
        "environment PYFORK_WORKER_COUNT: there is no such setting, it is ignored; did you mean PYFORK_WORKERS_COUNT?",
    ]


def test_port_is_every_address_of_this_machine():
    """As the platforms that set it expect."""
    assert read_port({"PORT": "8080"})["server.bind"].value == ("0.0.0.0:8080",)
    assert read_port({}) == {}


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1 2", "٣", "tcp://10.0.0.1:80", "9" * 5000])
def test_a_port_that_is_none_is_refused(port):
    """It would otherwise become part of an address."""
    with pytest.raises(ConfigurationError, match=r"environment PORT: server\.bind must have a port from 0 to 65535"):
        read_port({"PORT": port})


def test_forwarded_allow_ips_trusts_what_it_trusts_in_gunicorn():
    """The peers at unix sockets too, which it has no name for."""
    raw = read_forwarded_allow_ips({"FORWARDED_ALLOW_IPS": "10.0.0.1,10.0.0.2"})["proxy.trusted"]
    assert raw == Raw(("10.0.0.1,10.0.0.2", "unix:"), "environment FORWARDED_ALLOW_IPS", is_text=True)
    assert read_forwarded_allow_ips({"FORWARDED_ALLOW_IPS": ""}) == read_forwarded_allow_ips({}) == {}
