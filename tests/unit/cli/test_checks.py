"""The checks that look at the system: everything at once, nothing changed."""

import importlib.util
import os
import socket

import pytest

from pyfork.cli.checks import check
from pyfork.config.load import LoadRequest, examine, load


def problems(tmp_path, needs_application=True, **overrides):
    overrides = {"server.app": "a:b", **{name.replace("__", "."): value for name, value in overrides.items()}}
    given = {name: (value, "command line") for name, value in overrides.items() if value is not None}
    return check(load(LoadRequest(str(tmp_path), {}, given)), needs_application=needs_application)


def test_a_good_configuration_has_none(tmp_path):
    """Not even of a socket or a pidfile that does not exist yet."""
    assert (
        problems(tmp_path, server__bind=("unix:new.sock", ":0"), server__pidfile="new.pid", log__error="new.log") == []
    )
    assert os.listdir(tmp_path) == []


def test_all_are_found_at_once(tmp_path):
    """Each in a sentence of its own that names the setting."""
    (tmp_path / "file").write_text("")
    found = problems(
        tmp_path,
        server__app=None,
        server__user="nobody-of-that-name",
        server__bind=("unix:file", f"unix:{tmp_path}", "unix:gone/a.sock"),
        server__pidfile="gone/a.pid",
        workers__type="fibers",
        log__format="%(zz)s",
    )
    assert len(found) == 8
    text = "\n".join(found)
    for part in (
        "no application: name it on the command line",
        "server.user: there is no user 'nobody-of-that-name'",
        f"server.bind: unix:{tmp_path}/file: the path is a regular file",
        f"server.bind: unix:{tmp_path}: the path is a directory",
        f"server.bind: unix:{tmp_path}/gone/a.sock: there is no directory {tmp_path}/gone",
        f"server.pidfile: there is no directory {tmp_path}/gone",
        "command line: workers.type: unknown worker type 'fibers'",
        "%(zz)s",
    ):
        assert part in text


def test_directories_that_are_served_must_be_there(tmp_path):
    """Each is named by its prefix; a link to one will do."""
    (tmp_path / "www").mkdir()
    (tmp_path / "current").symlink_to("www")
    (tmp_path / "file").write_text("")
    assert problems(tmp_path, static__mounts=("/a=www", "/b=current")) == []
    assert problems(tmp_path, static__mounts=("/a=www", "/b=gone", "/c=file")) == [
        f'static."/b": {tmp_path}/gone does not exist',
        f'static."/c": {tmp_path}/file is not a directory',
    ]


def test_an_application_is_not_always_needed(tmp_path):
    """--print-config shows settings, and serves nothing."""
    assert problems(tmp_path, needs_application=False, server__app=None) == []


def test_the_directory_must_be_there(tmp_path):
    """A link that leads nowhere at a deploy refuses the reload."""
    os.symlink("release-2", tmp_path / "current")
    assert problems(tmp_path, server__chdir="current") == [f"server.chdir: {tmp_path}/current is not a directory"]
    (tmp_path / "release-2").mkdir()
    assert problems(tmp_path, server__chdir="current") == []


def test_the_directory_of_the_start_may_be_gone_at_a_reload(tmp_path):
    """Nobody has set server.chdir then, so the message is not about that."""
    [problem] = problems(tmp_path / "gone")
    assert problem.startswith(f"the directory that pyfork was started in, {tmp_path}/gone, is gone")
    assert problem.endswith("put it (or the link) back, or set server.chdir")


def test_a_pidfile_that_cannot_be_had_is_told(tmp_path):
    """A reload keeps the one that it has, whatever has become of the path; but its directory must be there."""
    (tmp_path / "dir.pid").mkdir()
    [problem] = problems(tmp_path, server__pidfile="dir.pid")
    assert problem == f"server.pidfile: {tmp_path}/dir.pid is a directory; name a file that can be written"
    overrides = {"server.app": ("a:b", "-"), "server.pidfile": ("dir.pid", "-")}
    loaded = load(LoadRequest(str(tmp_path), {}, overrides))
    assert check(loaded, is_first=False) == []
    overrides["server.pidfile"] = ("gone/a.pid", "-")
    loaded = load(LoadRequest(str(tmp_path), {}, overrides))
    assert check(loaded, is_first=False) == [f"server.pidfile: there is no directory {tmp_path}/gone"]


def test_a_socket_may_be_there_already(tmp_path, monkeypatch):
    """The listeners find out whether somebody listens on it; a fifo is nobody's."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind("a.sock")
    assert problems(tmp_path, server__bind=("unix:a.sock",)) == []
    os.mkfifo("fifo")
    assert "the path is no socket" in problems(tmp_path, server__bind=("unix:fifo",))[0]


def test_a_path_that_cannot_be_looked_at(tmp_path):
    """The system's reason, under the setting's name."""
    os.symlink("loop", tmp_path / "loop")
    found = problems(tmp_path, server__bind=("unix:loop",))
    assert found == [f"server.bind: unix:{tmp_path}/loop: too many levels of symbolic links"]


@pytest.mark.parametrize("name", ["sync"])
def test_known_worker_types_pass(tmp_path, name):
    """Those of the registry."""
    assert problems(tmp_path, workers__type=name) == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"workers__min": "2"}, "workers.min: there is no workers.max"),
        ({"workers__min": "4", "workers__max": "2"}, "workers.min: 4 is more than workers.max, 2"),
        ({"workers__count": "9", "workers__max": "8"}, "workers.count: 9 is where the number begins"),
        ({"workers__count": "1", "workers__min": "2", "workers__max": "8"}, "workers.count: 1 is where"),
        ({"workers__refork_after": ("5",)}, "only with workers.preload = true"),
        (
            {"proxy__headers": ("x-forwarded-for,forwarded",)},
            "command line: proxy.headers: forwarded and x-forwarded-for tell the same",
        ),
        (
            {"workers__refork_after": ("5",), "workers__preload": True, "workers__type": "gevent"},
            "a worker of type gevent cannot be forked while it serves",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_told(tmp_path, settings, problem):
    """Bounds around the count, and a warm mold only where there are molds."""
    [found] = problems(tmp_path, **settings)
    assert problem in found


def test_settings_that_fit_together_pass(tmp_path):
    """The count may be left to the bounds; every alias of a type that can be forked counts."""
    assert problems(tmp_path, workers__min="2", workers__max="8") == []
    assert problems(tmp_path, workers__max="8", workers__count="8") == []
    preloading = {"workers__preload": True, "workers__refork_after": ("5,...",), "workers__type": "selectors"}
    assert problems(tmp_path, **preloading) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"workers__min": "2", "workers__max": "100000"},
        {"workers__min": "x", "workers__max": "3", "workers__count": "5"},
        {"workers__min": "2", "workers__max": "3", "workers__count": "0"},
        {"workers__refork_after": ("5",), "workers__preload": "perhaps"},
    ],
)
def test_a_wrong_value_is_told_once(tmp_path, settings):
    """What it was meant to be nobody knows, so nothing is said of how it fits the others."""
    given = {name.replace("__", "."): (value, "command line") for name, value in settings.items()}
    examined = examine(LoadRequest(str(tmp_path), {}, {"server.app": ("a:b", "-"), **given}))
    assert len(examined.problems) == 1
    assert check(examined.loaded) == []


def test_a_mold_needs_linux(tmp_path, monkeypatch):
    """Elsewhere nobody adopts the workers that it forks."""
    monkeypatch.setattr("pyfork.cli.checks.sys.platform", "darwin")
    assert "only Linux" in problems(tmp_path, workers__preload=True)[0]


def test_watching_needs_its_library(tmp_path, monkeypatch):
    """It is an extra; who asks for it without is told what to install, and who does not ask needs none."""
    assert problems(tmp_path, development__reload=True) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    [problem] = problems(tmp_path, development__reload=True)
    assert "development.reload: it needs the library watchfiles" in problem
    assert "pip install watchfiles (or 'pyfork[reload]'" in problem
    assert problems(tmp_path) == []
