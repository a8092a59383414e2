"""Suggestions: the known name that somebody is most likely to have meant."""

import pytest

from pyfork.config.nearest import close_variable, nearest_setting, nearest_table


@pytest.mark.parametrize(
    ("table", "key", "name"),
    [
        ("workers", "cuont", "workers.count"),
        ("workers", "worker_class", "workers.type"),
        ("server", "keepalive", "http.keep_alive"),
        ("server", "timeout", "workers.timeout"),
        ("http", "boot_timeout", "workers.boot_timeout"),
        ("log", "acess", "log.access"),
        ("server", "graceful_timeuot", "workers.graceful_timeout"),
        ("", "bind", "server.bind"),
    ],
)
def test_the_nearest_setting_is_found(table, key, name):
    """gunicorn's name, the right key in the wrong table, a slip in this table, a slip anywhere."""
    assert nearest_setting(table, key) == name


def test_there_is_always_a_nearest_one():
    """An error names the nearest known key, however far that is."""
    assert "." in nearest_setting("server", "☃")
    assert nearest_table("☃") in {"server", "workers", "http", "log"}
    assert nearest_table("worker") == "workers"


def test_variables_are_suggested_only_when_they_are_close():
    """What Kubernetes injects is no slip of anything."""
    assert close_variable("PYFORK_WORKER_COUNT") == "PYFORK_WORKERS_COUNT"
    assert close_variable("PYFORK_SERVICE_HOST") is None
