"""What `[static]` mounts where."""

import pytest

from pyfork.config.catalogue import SETTINGS
from pyfork.config.load import LoadRequest, load
from pyfork.config.mounts import is_file_name, mount_options, read_mounts
from pyfork.config.schema_static import StaticMount
from pyfork.config.values import Raw, read_value
from pyfork.errors import ConfigurationError


def problems(given):
    with pytest.raises(ConfigurationError) as caught:
        read_mounts(given, "server.toml")
    return list(caught.value.problems)


def test_a_directory_or_a_table():
    """A slash at the end of a prefix means nothing."""
    options = {"dir": "b", "index": "i.html", "max_age": 0, "immutable": True, "precompressed": False}
    given = {"/a/": "dir", "/": {"dir": "a", "fall_through": True, "index": ""}, "/b/c.d/é": options}
    mounts = read_mounts(given, "x")
    assert mounts == {
        "/a": StaticMount(dir="dir"),
        "/": StaticMount(dir="a", fall_through=True, index=""),
        "/b/c.d/é": StaticMount(dir="b", index="i.html", max_age=0, immutable=True, precompressed=False),
    }
    assert {prefix: mount_options(mount) for prefix, mount in mounts.items()} == {
        "/a": "dir",
        "/": {"dir": "a", "fall_through": True, "index": ""},
        "/b/c.d/é": options,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"a": "x"}, 'static."a" must begin with a slash, as in "/assets"'),
        ({"": "x"}, 'static."" must begin with a slash, as in "/assets"'),
        ({"/a//b": "x"}, '"//" is in it; write it decoded, with single slashes'),
        ({"/a/../b": "x"}, '"/../" is in it'),
        ({"/.": "x"}, '"/." is in it'),
        ({"/a%20b": "x"}, '"%" is in it'),
        ({"/a?b": "x"}, '"?" is in it'),
        ({"/a\\b": "x"}, "is in it"),
        ({"/a\nb": "x"}, "cannot be the beginning of a path: it contains a control character"),
        ({"/a": 5}, 'static."/a" must be a directory, or a table as in { dir = "assets" }, not 5'),
        ({"/a": ["x"]}, "not an array"),
        ({"/a": ""}, 'static."/a".dir must be a directory, not ""'),
        ({"/a": {"dir": "x\0"}}, 'static."/a".dir must be a directory'),
        ({"/a": {"index": "x"}}, 'static."/a".dir is missing; write { dir = "assets", ... }'),
        (
            {"/a": {"dir": "x", "maxage": 5}},
            'static."/a".maxage: there is no such option; there are dir, index, max_age',
        ),
        ({"/a": {"dir": "x", "max_age": "5"}}, "max_age must be a whole number of seconds from 0 to 315360000, not"),
        ({"/a": {"dir": "x", "max_age": -1}}, "not -1"),
        ({"/a": {"dir": "x", "max_age": 10**9}}, "not 1000000000"),
        ({"/a": {"dir": "x", "max_age": True}}, "not true"),
        ({"/a": {"dir": "x", "immutable": 1}}, "immutable must be true or false, not 1"),
        ({"/a": {"dir": "x", "index": "a/b"}}, "index must be the name of a file"),
        ({"/a": {"dir": "x", "index": ".env"}}, "index must be the name of a file"),
        ({"/a": "x", "/a/": "y"}, 'static."/a/" is mounted twice: a slash at the end makes no difference'),
    ],
)
def test_what_is_wrong_is_named(given, expected):
    """With where it stands."""
    [problem] = problems(given)
    assert problem.startswith("server.toml: static.")
    assert expected in problem


def test_all_problems_are_told_at_once():
    """Of all mounts, and of all options of each."""
    assert len(problems({"a": 1, "/b": {"max_age": "x", "y": 1}})) == 5


def test_a_dot_within_a_segment_is_no_way_up():
    """``/.well-known`` is how to serve what begins with a dot."""
    assert set(read_mounts({"/.well-known": "x", "/a..b": "x", "/...": "x"}, "")) == {"/.well-known", "/a..b", "/..."}


@pytest.mark.parametrize("name", ["a", "index.html", "é", "a b"])
def test_names_of_files(name):
    """As an index may have."""
    assert is_file_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".env", "a/b", "a\\b", "a\n", "\udcff"])
def test_what_is_no_name_of_a_file(name):
    """As no path may ask for it either."""
    assert not is_file_name(name)


def test_flags_and_the_variable_name_directories(tmp_path):
    """A source replaces what a weaker one mounts; relative directories start at chdir."""
    overrides = {"static.mounts": (("/a=x=y", "/b=/abs"), "command line --static"), "server.chdir": ("sub", "")}
    settings = load(LoadRequest(str(tmp_path), {"PYFORK_STATIC_MOUNTS": "/c=z"}, overrides)).settings
    assert settings.static.mounts == {
        "/a": StaticMount(dir=f"{tmp_path}/sub/x=y"),
        "/b": StaticMount(dir="/abs"),
    }
    settings = load(LoadRequest(str(tmp_path), {"PYFORK_STATIC_MOUNTS": "/c=z, /d=w"}, {})).settings
    assert list(settings.static.mounts) == ["/c", "/d"]


@pytest.mark.parametrize(
    ("name", "value", "is_text", "expected"),
    [
        (
            "static.mounts",
            ("/assets",),
            True,
            'x: static.mounts must be PREFIX=DIR, as in /assets=static/assets, not "/',
        ),
        ("static.mounts", ("assets=x",), True, 'x: static."assets" must begin with a slash, as in "/assets"'),
        ("static.index", "a/b", True, 'x: static.index must be the name of a file, as in index.html, not "a/b"'),
        ("static.index", 5, False, "x: static.index must be the name of a file, as in index.html, not 5"),
        ("static.max_age", "-1", True, "x: static.max_age must be a whole number from 0 to 315360000, not "),
    ],
)
def test_mistakes_say_what_is_right(name, value, is_text, expected):
    """In the words of where it stands."""
    with pytest.raises(ConfigurationError) as caught:
        read_value(SETTINGS[name], Raw(value, "x", is_text=is_text))
    assert str(caught.value).startswith(expected)
