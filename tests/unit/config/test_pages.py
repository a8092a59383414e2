"""The rendered pages: complete, and right in what they say about themselves."""

import re

import pytest

from pyfork.config.catalogue import SETTINGS
from pyfork.config.gunicorn import LEFT_OUT
from pyfork.config.load import LoadRequest, load
from pyfork.config.pages import EXAMPLE, example_page, settings_page
from pyfork.ipc.exits import ExitStatus


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting):
    """With its flags and its variable; and it stands in the example."""
    page = settings_page()
    assert f"### `{setting.name}`\n" in page
    assert f"`{setting.variable}`" in page
    assert all(f"`{flag}`" in page for flag in setting.option.flags)
    key = '"/assets"' if setting.name == "static.mounts" else setting.key  # a key for each, not one for all
    assert re.search(rf"^(# )?{key} = ", example_page(), re.MULTILINE)


def test_every_flag_of_gunicorn_is_documented():
    """The page is what a migrating user reads."""
    page = settings_page()
    assert all(f"`{name}`" in page for left_out in LEFT_OUT for name in left_out.flags or (left_out.name,))


def test_the_example_sets_what_it_says_and_nothing_else(tmp_path):
    """Everything else in it is a comment."""
    (tmp_path / "server.toml").write_text(example_page())
    loaded = load(LoadRequest(str(tmp_path), {}, {}))
    assert {name for name, origin in loaded.origins.items() if origin != "default"} == set(EXAMPLE)
    assert loaded.settings.server.app == "sample_apps/quotes.py:app"


def test_the_example_is_valid_with_every_comment_taken_away(tmp_path):
    """What stands there as a default or an example can be used as it is, and a default is the default."""
    text = re.sub(r'^# (?=[a-z_"/]+ = )', "", example_page(), flags=re.MULTILINE)
    (tmp_path / "server.toml").write_text(text)
    loaded = load(LoadRequest(str(tmp_path), {}, {}))
    assert set(loaded.origins.values()) == {"server.toml"}
    (tmp_path / "server.toml").unlink()
    defaults = load(LoadRequest(str(tmp_path), {}, {})).settings
    for setting in SETTINGS.values():
        if setting.option.example is None and setting.name not in EXAMPLE:
            assert getattr(getattr(loaded.settings, setting.table), setting.key) == getattr(
                getattr(defaults, setting.table), setting.key
            )


def test_the_exit_statuses_are_those_that_pyfork_ends_with():
    """The page repeats the table of ipc/exits.py."""
    rows = re.findall(r"^\| (\d) \| ", settings_page(), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(ExitStatus)
