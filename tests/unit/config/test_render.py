"""The effective settings as TOML, and the rendered documents, which are those in the repository."""

import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import toml

from pyfork.config import render
from pyfork.config.catalogue import SETTINGS
from pyfork.config.load import LoadRequest, load
from pyfork.config.render import PAGES, main, to_toml

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_printed_reads_back_to_the_same_settings(tmp_path):
    """--print-config > server.toml is a server.toml, for both readers."""
    overrides = {
        "server.app": ("a:b", "command line APP"),
        "server.umask": ("022", "command line --umask"),
        "server.env": (("A=1,2", 'B="x"'), "command line --env"),
        "log.format": ('%(h)s "%(r)s"', "command line --access-logformat"),
    }
    (tmp_path / "server.toml").write_text(
        '[static]\nmax_age = 5\n"/a" = "a, \'b\'"\n"/b c" = { dir = "/b", index = "", max_age = 0, fall_through = true }\n'
    )
    printed = load(LoadRequest(str(tmp_path), {"PYFORK_HTTP_LIMIT_REQUEST_BODY": "5"}, overrides))
    text = to_toml(printed)
    assert tomllib.loads(text) == toml.loads(text)
    (tmp_path / "server.toml").write_text(text)
    assert load(LoadRequest(str(tmp_path), {}, {})).settings == printed.settings


def test_every_setting_is_printed_with_its_origin(tmp_path):
    """Also those that have no value."""
    (tmp_path / "server.toml").write_text("[workers]\ncount = 2\n")
    text = to_toml(load(LoadRequest(str(tmp_path), {"PORT": "80"}, {})))
    assert "count = 2  # server.toml\n" in text
    assert 'bind = ["0.0.0.0:80"]  # environment PORT\n' in text
    assert "# user: who started pyfork  # default\n" in text
    assert all(f"{setting.key} = " in text or f"# {setting.key}: " in text for setting in SETTINGS.values())


@pytest.mark.parametrize(("page", "path"), [("settings", "docs/settings.md"), ("example", "server.toml.example")])
def test_the_documents_are_as_rendered(page, path):
    """`make docs` renders them anew after a change of the schema."""
    assert (ROOT / path).read_text() == PAGES[page](), f"{path} is out of date: run `make docs`"


def test_the_pages_are_printed(capsys):
    """And anything else is a mistake."""
    assert main(["example"]) == 0
    assert capsys.readouterr().out == PAGES["example"]()
    assert main([]) == main(["x"]) == 2
    assert "usage:" in capsys.readouterr().err


def test_the_module_is_a_script(monkeypatch, capsys):
    """`make docs` runs it with `python -m`."""
    monkeypatch.setattr(sys, "argv", ["render", "settings"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(render.__file__, run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == PAGES["settings"]()
