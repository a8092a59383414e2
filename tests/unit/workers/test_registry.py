"""Worker types by name."""

import importlib.util

import pytest

from pyfork.errors import ConfigurationError
from pyfork.workers import registry
from pyfork.workers.registry import ALIASES, TYPES, check_type, resolve_type


def test_every_type_is_its_own_name() -> None:
    """The canonical names resolve to themselves."""
    assert [resolve_type(name) for name in TYPES] == list(TYPES)


def test_unknown_type_lists_the_known() -> None:
    """The message names the type asked for, the nearest and all there are."""
    with pytest.raises(
        ConfigurationError, match=r"'snyc'; did you mean 'sync'\? \(known: async, gevent, .*sync"
    ) as caught:
        resolve_type("snyc")
    assert len(caught.value.problems) == 1
    with pytest.raises(ConfigurationError, match=r"'uwsgi' \(known"):
        resolve_type("uwsgi")


def test_aliases_are_gunicorns_and_the_older_names() -> None:
    """``-k gthread`` is what a gunicorn user writes."""
    assert resolve_type("gthread") == resolve_type("thread") == "threadpool"
    assert resolve_type("selectors") == "async"
    assert set(ALIASES.values()) <= set(TYPES)


def test_type_without_its_library_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent is an extra: the message says how to install it."""
    check_type("sync")
    check_type("gthread")
    monkeypatch.setitem(registry.LIBRARIES, "gevent", "json")
    check_type("gevent")
    monkeypatch.setitem(registry.LIBRARIES, "gevent", "no_such_library")
    with pytest.raises(ConfigurationError, match=r"gevent needs the library no_such_library, .* 'pyfork\[gevent\]'"):
        check_type("gevent")


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_its_module(name: str) -> None:
    """The module is found without importing it."""
    module, _, _ = TYPES[name].partition(":")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")
