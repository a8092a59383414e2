"""What counts as a change, and how it is told."""

import os
from pathlib import Path

import pytest

from pyfork.config.load import LoadRequest, load
from pyfork.config.schema import Settings
from pyfork.development.changes import SingleFiles, WatchList, describe, make_watch_list


def settings(directory: Path, **values: object) -> Settings:
    overrides = {name.replace("__", "."): (value, "command line") for name, value in values.items()}
    return load(LoadRequest(str(directory), {}, overrides)).settings  # type: ignore[arg-type]


def watch_list(directory: Path, **values: object) -> WatchList:
    return make_watch_list(settings(directory, **values), None)[0]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("app.py", True),
        ("shop/views.py", True),
        ("shop/page.html", False),
        ("db.sqlite3", False),
        ("shop/__pycache__/views.cpython-311.pyc", False),
        (".venv/lib/python3.11/site.py", False),
        ("venv/lib/python3.11/site.py", False),
        (".git/hooks/x.py", False),
        ("node_modules/gyp/gyp.py", False),
        ("env/lib/python3.11/site-packages/x.py", False),
        (".#app.py", False),
        ("../beside.py", False),
    ],
)
def test_python_files_of_the_working_directory_count(tmp_path: Path, path: str, counts: bool) -> None:
    """Not what applications, tools and editors write there."""
    assert watch_list(tmp_path).has(os.path.normpath(f"{tmp_path}/{path}")) == counts


def test_a_hidden_directory_may_itself_be_watched(tmp_path: Path) -> None:
    """Only what lies below it is judged by its name."""
    (tmp_path / ".work").mkdir()
    assert watch_list(tmp_path / ".work").has(f"{tmp_path}/.work/app.py")


@pytest.mark.parametrize(
    ("path", "counts"),
    [("page.html", True), ("deep/er/x.css", True), ("x.py", True), (".hidden", False), ("x.html~", False),
     ("x.pyc", False), (".x.html.swp", False), ("4913", False)],
)  # fmt: skip
def test_every_file_counts_in_what_is_named(tmp_path: Path, path: str, counts: bool) -> None:
    """But for what editors and interpreters leave there."""
    (tmp_path / "templates").mkdir()
    listed = watch_list(tmp_path, development__watch=("templates",))
    assert listed.directories == (str(tmp_path), f"{tmp_path}/templates")
    assert listed.has(f"{tmp_path}/templates/{path}") == counts


def test_what_pyfork_writes_never_counts(tmp_path: Path) -> None:
    """An error log in a watched directory would make each reload the cause of the next, by any of its names."""
    (tmp_path / "var").mkdir()
    (tmp_path / "link").symlink_to("var")
    listed = watch_list(
        tmp_path,
        development__watch=("var", "link"),
        log__error="link/error.log",
        log__access="var/access.log",
        server__pidfile="var/pid",
        server__bind=("unix:var/sock", "127.0.0.1:0", "unix:@var"),
    )
    for directory in ("var", "link"):
        for name in ("error.log", "access.log", "pid", "sock"):
            assert not listed.has(f"{tmp_path}/{directory}/{name}")
        assert listed.has(f"{tmp_path}/{directory}/other")


def test_standard_streams_are_no_files(tmp_path: Path) -> None:
    """A file may be called "-"."""
    listed = watch_list(tmp_path, development__watch=(str(tmp_path),), log__error="-")
    assert listed.has(f"{tmp_path}/-")


def test_files_are_listed_by_name_unless_a_directory_has_them(tmp_path: Path) -> None:
    """The configuration file counts wherever it is; what is not there is told."""
    for name in ("app.py", "server.toml", "data.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "lib").mkdir()
    given = settings(
        tmp_path, development__watch=("app.py", "data.json", "gone", "data.json"), server__pythonpath=("lib", "no/lib")
    )
    listed, missing = make_watch_list(given, f"{tmp_path}/server.toml")
    assert listed.files == (f"{tmp_path}/data.json", f"{tmp_path}/server.toml")
    assert listed.sources == (str(tmp_path), f"{tmp_path}/lib")
    assert listed.has(f"{tmp_path}/lib/x.py")
    assert missing == [f"{tmp_path}/no/lib", f"{tmp_path}/gone"]


def test_a_single_file_is_seen_to_change_however_it_is_written(tmp_path: Path) -> None:
    """In place, by another in its place; not while it is away."""
    path = tmp_path / "server.toml"
    path.write_text("a")
    files = SingleFiles([str(path)])
    assert files.find_changed() == set()
    path.write_text("ab")
    assert files.find_changed() == {str(path)}
    assert files.find_changed() == set()
    (tmp_path / "new").write_text("cd")
    path.unlink()
    assert files.find_changed() == set()
    (tmp_path / "new").rename(path)
    assert files.find_changed() == {str(path)}


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["/srv/app/shop/views.py"], "shop/views.py has changed"),
        (["/srv/lib/b.py", "/srv/app/a.py"], "a.py and /srv/lib/b.py have changed"),
        ([f"/srv/app/{name}" for name in "dcba"], "a, b, c and 1 more have changed"),
        (["/srv/app/a\n[ERROR].py"], "a\\x0a[ERROR].py has changed"),
    ],
)
def test_changes_are_told_in_one_line(paths: list[str], text: str) -> None:
    """Which no file's name can forge."""
    assert describe(paths, "/srv/app") == text
