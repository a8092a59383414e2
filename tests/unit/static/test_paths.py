"""From a request's path to the names that lead to a file."""

from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyfork.config.schema_static import StaticMount, StaticSettings
from pyfork.static.paths import LONGEST_KNOWN, LONGEST_NAME, MOST_KNOWN, Mount, Mounts, mounts_of


def mount(prefix):
    return Mount(prefix, f"/srv{prefix.decode()}", None, "", True, False)


MOUNTS = Mounts(map(mount, (b"/assets", b"/assets/img", b"/.well-known", b"/a b", b"/caf\xc3\xa9")))
ROOT = Mounts([mount(b""), mount(b"/assets")])


def found(mounts, path):
    place = mounts.find(path)
    return place and (place.mount.prefix, place.names, place.has_slash)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/assets/app.css", (b"/assets", (b"app.css",), False)),
        (b"/assets/css/app.css", (b"/assets", (b"css", b"app.css"), False)),
        (b"/assets/css/", (b"/assets", (b"css",), True)),
        (b"/assets", (b"/assets", (), False)),
        (b"/assets/", (b"/assets", (), True)),
        (b"/assets/img/a.png", (b"/assets/img", (b"a.png",), False)),
        (b"/assets/imgs/a.png", (b"/assets", (b"imgs", b"a.png"), False)),
        (b"/%61ssets/a%20b%2525.css", (b"/assets", (b"a b%25.css",), False)),
        (b"/a%20b/c", (b"/a b", (b"c",), False)),
        (b"/caf%C3%A9/x", (b"/caf\xc3\xa9", (b"x",), False)),
        (b"/.well-known/security.txt", (b"/.well-known", (b"security.txt",), False)),
        (b"/assets/%ff", (b"/assets", (b"\xff",), False)),
    ],
)
def test_a_path_has_its_mount_and_its_names(path, expected):
    """The longest prefix of whole segments; decoded once."""
    assert found(MOUNTS, path) == expected


@pytest.mark.parametrize(
    "path",
    [b"/", b"*", b"/assetsx", b"/assetsx/a", b"/asset", b"/x/assets/a", b"/ASSETS/a", b"//assets/a", b"/x%2fassets"],
)
def test_other_paths_are_the_applications(path):
    """Nothing that merely looks like a mount's."""
    assert MOUNTS.find(path) is None


def test_the_root_has_every_path():
    """Those of other mounts apart; but not what is no path."""
    assert found(ROOT, b"/") == (b"", (), True)
    assert found(ROOT, b"/a/b") == (b"", (b"a", b"b"), False)
    assert found(ROOT, b"/assets/b") == (b"/assets", (b"b",), False)
    assert ROOT.find(b"*") is None


@pytest.mark.parametrize(
    "rest",
    [
        b"/../secret", b"/css/../../secret", b"/%2e%2e/secret", b"/%2E./secret", b"/.", b"/./a", b"/..", b"/..%2fsecret",
        b"/css%2fapp.css", b"/css%2Fapp.css", b"/..\\secret", b"/..%5csecret", b"/a\\b", b"/a%00.css", b"/a%0ab", b"/a%7f",
        b"/.env", b"/.git/config", b"/css/.htaccess", b"/%2eenv", b"//a", b"/css//app.css", b"//", b"/css//",
        b"/" + b"x" * (LONGEST_NAME + 1), b"/%2f", b"%2f", b"%2f..%2fsecret", b"%2Fa",
    ],
)  # fmt: skip
def test_what_could_mean_something_else_is_not_there(rest):
    """Dots, empty names, slashes that came encoded, backslashes, controls: the mount has them, and no file does."""
    place = MOUNTS.find(b"/assets" + rest)
    assert place.names is None
    assert place.mount.prefix == b"/assets"


@given(st.binary(max_size=30), st.booleans())
@example(b"/../..//%2e", False)
def test_no_name_leads_anywhere_else(rest, is_encoded):
    """Whatever comes: names are plain, and put together again they are what was asked for, decoded once."""
    path = b"/assets/" + (quote_from_bytes(rest).encode() if is_encoded else rest)
    place = MOUNTS.find(path)
    if place.names is not None:
        for name in place.names:
            assert name not in {b"", b".", b".."}
            assert not set(name) & set(b"/\\\0")
            assert not name.startswith(b".")
        again = b"/".join((place.mount.prefix, *place.names)) + b"/" * place.has_slash
        assert again == unquote_to_bytes(path)


def test_what_is_remembered_of_paths_is_bounded():
    """And the same as when it was found."""
    mounts = Mounts([mount(b"/a")])
    paths = [b"/a/%d" % number for number in range(MOST_KNOWN + 5)] + [b"/%61", b"/%62", b"/a/" + b"x" * LONGEST_KNOWN]
    for path in paths:
        first = mounts.find(path)
        assert mounts.find(path) == first == Mounts([mount(b"/a")]).find(path)
        assert len(mounts._known) <= MOST_KNOWN
    assert paths[-1] not in mounts._known
    assert len(mounts._known) == 5 + 2


def test_the_tables_options_are_those_of_mounts_that_have_none():
    """A mount's own go before; an empty index is none."""
    settings = StaticSettings(
        mounts={
            "/": StaticMount(dir="/srv/www"),
            "/assets": StaticMount(
                dir="/srv/assets", index="", max_age=9, immutable=False, precompressed=True, fall_through=True
            ),
        },
        index="index.html",
        max_age=60,
        immutable=True,
        precompressed=False,
    )
    assert mounts_of(settings) == (
        Mount(b"", "/srv/www", b"index.html", "public, max-age=60, immutable", False, False),
        Mount(b"/assets", "/srv/assets", None, "public, max-age=9", True, True),
    )


def test_without_an_age_caches_are_told_nothing():
    """``immutable`` alone says nothing."""
    settings = StaticSettings(mounts={"/a": StaticMount(dir="/srv")}, immutable=True)
    assert mounts_of(settings) == (Mount(b"/a", "/srv", None, "", True, False),)
    assert mounts_of(StaticSettings()) == ()
