"""The benchmark's arithmetic and its reading of reports: a wrong figure would be believed."""

import importlib
import sys

import pytest

from tests.repo.files import ROOT

WRK = """Running 3s test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  30123 requests in 3.00s, 4.20MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 5
Requests/sec:  10041.00
"""
HEY = """
Summary:
  Total:	3.0020 secs
  Requests/sec:	10034.31

Status code distribution:
  [200]	30000 responses
  [502]	12 responses

Error distribution:
  [7]	Get "http://127.0.0.1:8000/": EOF
"""


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's modules: scripts that lie side by side."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = ("figures", "load")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return [importlib.import_module(name) for name in names]


def test_wrk_reports_are_read(modules):
    """Errors of every kind are counted."""
    load = modules[1]
    assert load.parse_wrk(WRK) == load.Load(30123, 11)
    assert load.parse_wrk("  10 requests in 1.00s, 1KB read\n") == load.Load(10, 0)
    with pytest.raises(ValueError, match="no report"):
        load.parse_wrk("unable to connect")


def test_hey_reports_are_read(modules):
    """A status that is an error, and a request without an answer, are both errors."""
    load = modules[1]
    assert load.parse_hey(HEY) == load.Load(30012, 19)
    with pytest.raises(ValueError, match="no report"):
        load.parse_hey("")


def test_each_request_has_a_connection_of_its_own(modules):
    """That is what is compared."""
    load = modules[1]
    assert "Connection: close" in load.Client("wrk", (), 32).command("http://127.0.0.1/", 3)
    assert "-disable-keepalive" in load.Client("hey", (), 32).command("http://127.0.0.1/", 3)


def test_an_interval_of_the_median_covers_it_with_95_percent(modules):
    """For ten values: from the second to the ninth (97.9 %; one rank further in would be 89.1 %)."""
    figures = modules[0]
    assert figures.median_interval(list(range(10))) == (4.5, 1, 8)
    assert figures.median_interval([3, 1, 2]) == (2, 1, 3)
    assert figures.median_interval([7.0]) == (7.0, 7.0, 7.0)
