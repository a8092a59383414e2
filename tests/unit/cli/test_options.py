"""The command line taken apart: values stay text, and each knows where it stood."""

import pytest

from pyfork.cli.command_line import CommandLine
from pyfork.cli.options import parse
from pyfork.config.catalogue import SETTINGS
from pyfork.config.declarations import Form
from pyfork.errors import ConfigurationError


def given(*arguments) -> CommandLine:
    found = parse(arguments)
    assert isinstance(found, CommandLine)
    return found


def test_a_gunicorn_line():
    """Short flags, joined values (with = too: argparse takes it), repeated flags, the application anywhere."""
    line = given("-w4", "shop:app", "-b", ":80", "-b", "unix:x", "-k=sync", "--reuse-port", "-e", "A=1", "-m", "022")
    assert line.overrides == {
        "workers.count": ("4", "command line --workers"),
        "server.app": ("shop:app", "command line APP"),
        "server.bind": ((":80", "unix:x"), "command line --bind"),
        "workers.type": ("sync", "command line --worker-class"),
        "server.reuse_port": (True, "command line --reuse-port"),
        "server.env": (("A=1",), "command line --env"),
        "server.umask": ("022", "command line --umask"),
    }
    assert line == CommandLine(line.overrides, left_out=(), problems=[])


def test_what_is_not_given_overrides_nothing():
    """A default of the command line would hide the file's value."""
    assert given().overrides == {}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_has_its_flags(setting):
    """All its spellings, and its name in the origin; values are not looked at here."""
    for flag in setting.option.flags:
        arguments = [flag] if setting.is_switch else [flag, "x"]
        value = True if setting.is_switch else ("x",) if setting.is_list or setting.is_mapping else "x"
        if setting.option.form is Form.PROXIES:  # gunicorn's flags trust unix sockets besides
            value = ("x", "unix:")
        assert given(*arguments).overrides == {setting.name: (value, f"command line {setting.option.long_flag}")}


def test_a_switch_can_be_switched_off():
    """To override a file that switches it on."""
    assert given("--no-reuse-port").overrides["server.reuse_port"][0] is False


def test_actions_and_the_file():
    """They are no settings."""
    line = given("-c", "a.toml", "--check-config", "--print-config", "--convert", "gunicorn.conf.py")
    assert (line.config, line.check_config, line.print_config, line.convert) == (
        "a.toml",
        True,
        True,
        "gunicorn.conf.py",
    )
    assert line.overrides == {}


def test_the_application_is_named_once():
    """APP and --app could name two."""
    line = given("--app", "a:b", "c:d")
    assert line.problems == ["command line: the application is given twice, as APP (c:d) and with --app; give it once"]


@pytest.mark.parametrize("arguments", [["--nope"], ["-w"], ["a:b", "c:d"]])
def test_a_line_that_cannot_be_taken_apart(arguments):
    """An unknown flag, a missing value, an application too many."""
    with pytest.raises(ConfigurationError, match=r"\(`pyfork --help` shows what there is\)"):
        parse(arguments)


def test_the_origin_can_be_another_place():
    """GUNICORN_CMD_ARGS is read by the same rules."""
    line = parse(["-w", "2"], "environment GUNICORN_CMD_ARGS")
    assert isinstance(line, CommandLine)
    assert line.overrides == {"workers.count": ("2", "environment GUNICORN_CMD_ARGS --workers")}


def test_version(capsys):
    """A promise to scripts: the name and the number."""
    assert parse(["--version"]) == 0
    assert capsys.readouterr().out == "pyfork 0.1.0\n"


def test_help_shows_everything_in_its_place(capsys):
    """Actions first, then the tables in their order with every setting and its default, gunicorn's leftovers last."""
    assert parse(["--help"]) == 0
    text = capsys.readouterr().out
    headings = [
        "Usage: pyfork [OPTIONS] [APP]",
        "Actions:",
        "[server] ",
        "[workers] ",
        "[http] ",
        "[log] ",
        "gunicorn's",
    ]
    places = [text.index(f"\n{heading}" if heading != headings[0] else heading) for heading in headings]
    assert places == sorted(places)
    assert all(flag in text for setting in SETTINGS.values() for flag in setting.option.flags)
    assert "--max-requests-jitter" in text
    assert "[127.0.0.1:8000]" in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_follows_two_dashes_is_no_flag():
    """Nor is a switch split, or anything that only looks like a flag's value."""
    assert given("-b=[::1]:80", "-e=A=1", "--", "-w=4").overrides == {
        "server.bind": (("[::1]:80",), "command line --bind"),
        "server.env": (("A=1",), "command line --env"),
        "server.app": ("-w=4", "command line APP"),
    }
