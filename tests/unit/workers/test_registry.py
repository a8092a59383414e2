"""Worker types by name."""

import importlib.util

import pytest

from pyfork.errors import ConfigurationError
from pyfork.workers import registry
from pyfork.workers.registry import (
    ALIASES,
    STATIC_FILES,
    TYPES,
    check_type,
    find_class,
    is_ours,
    is_own,
    modules_before_fork,
    resolve_type,
)


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
    with pytest.raises(
        ConfigurationError, match=r"gevent needs the library no_such_library, .* pip install no_such_library "
    ):
        check_type("gevent")


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_its_module(name: str) -> None:
    """The module is found without importing it."""
    module, _, _ = TYPES[name].partition(":")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there yet")


@pytest.mark.parametrize(
    ("name", "worker_class"),
    [
        ("shop.workers:Own", "shop.workers:Own"),
        ("shop.workers.Own", "shop.workers:Own"),
        ("shop:Holder.Own", "shop:Holder.Own"),
        ("path/to/workers.py:Own", "path/to/workers.py:Own"),
    ],
)
def test_own_class_by_its_path(name: str, worker_class: str) -> None:
    """With a colon, as applications are named, or with dots only, as gunicorn names classes; nothing is imported."""
    check_type(name)
    assert is_own(name)
    assert find_class(name) == resolve_type(name) == worker_class
    assert not is_ours(worker_class)


def test_types_of_ours_are_not_own() -> None:
    """Their module may be imported before the user's directory is entered."""
    assert not is_own("gthread")
    assert is_ours(find_class("sync"))


@pytest.mark.parametrize("name", ["shop:", ":Own", ".Own", "shop.workers:Own()", "shop.1"])
def test_path_that_names_no_class(name: str) -> None:
    """It is refused before anything is started."""
    with pytest.raises(ConfigurationError, match=r"does not name a worker class; write module:Class"):
        check_type(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("eventlet", "gevent or threadpool"),
        ("gunicorn.workers.geventlet:EventletWorker", "gevent or threadpool"),
        ("tornado", "threadpool or gevent"),
        ("gunicorn.workers.gtornado.TornadoWorker", "threadpool or gevent"),
        ("uvicorn.workers.UvicornWorker", "ASGI is not served"),
        ("uvicorn_worker:UvicornWorker", "ASGI is not served"),
        ("asgi", "ASGI is not served"),
    ],
)
def test_gunicorns_names_without_a_counterpart(name: str, hint: str) -> None:
    """No guess at a spelling mistake: what to take instead."""
    with pytest.raises(ConfigurationError, match=hint) as caught:
        check_type(name)
    assert "did you mean" not in str(caught.value)
    check_type("eventlets.own:Worker")


@pytest.mark.parametrize("name", ["gunicorn.workers.base.Worker", "egg:other#worker"])
def test_workers_of_other_servers_are_refused(name: str) -> None:
    """They could be imported, and would not do anything here."""
    with pytest.raises(ConfigurationError, match="a worker of another server"):
        check_type(name)


def test_what_is_imported_before_a_fork_patches_nothing() -> None:
    """Of gevent's type that is all but its own module, which would patch the arbiter's library."""
    assert modules_before_fork("thread") == ("pyfork.workers.threadpool",)
    assert "pyfork.workers.gevent" not in modules_before_fork("gevent")
    assert all(importlib.util.find_spec(name) for name in modules_before_fork("gevent"))


def test_static_files_take_a_module_more() -> None:
    """Only where there are some: the arbiter of others stays as small as it is."""
    assert modules_before_fork("async", serves_files=True) == (*modules_before_fork("async"), STATIC_FILES)
    assert importlib.util.find_spec(STATIC_FILES)
