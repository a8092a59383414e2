"""The declarations: complete, in themselves and beside gunicorn's."""

import msgspec
import pytest

from pyfork.config.catalogue import SETTINGS, TABLES
from pyfork.config.schema import Settings


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_is_declared_whole(setting):
    """A setting has a description, a long flag, a metavar unless it is a switch, and a default that is valid."""
    assert setting.description.endswith(".")
    assert setting.option.long_flag.startswith("--")
    assert bool(setting.option.metavar) != setting.is_switch
    msgspec.convert(setting.default, setting.checked_type)
    if setting.default is None:
        assert setting.option.default_text
        assert setting.option.example is not None


def test_flags_and_variables_are_unique():
    """No two settings share a spelling."""
    flags = [flag for setting in SETTINGS.values() for flag in setting.option.flags]
    variables = [setting.variable for setting in SETTINGS.values()]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)


def test_defaults_are_those_that_users_were_promised():
    """The numbers of the design: a change of one is a change of behaviour."""
    settings = Settings()
    assert settings.server.bind == ("127.0.0.1:8000",)
    assert (settings.server.backlog, settings.workers.count, settings.workers.type) == (2048, 1, "sync")
    workers, http = settings.workers, settings.http
    assert (workers.timeout, workers.boot_timeout, workers.graceful_timeout) == (30, 60, 30)
    assert (http.keep_alive, http.header_timeout, http.body_timeout, http.write_timeout) == (5, 10, 30, 30)
    assert (http.limit_request_line, http.limit_request_fields, http.limit_request_field_size) == (8190, 100, 8190)
    assert http.limit_request_body is None
    assert settings.proxy.trusted == ("127.0.0.1", "::1", "unix:")
    assert (settings.proxy.headers, settings.proxy.untrusted_headers) == (("x-forwarded-proto",), "remove")


def test_ranges_are_found_inside_optional_types_too():
    """msgspec wants the range of an optional number beside the number."""
    assert SETTINGS["workers.count"].bounds == (1, 512)
    assert SETTINGS["server.umask"].bounds == (0, 0o777)


def test_settings_survive_the_way_to_another_process():
    """The scratch process of --check-config gets them as JSON."""
    settings = Settings()
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings
    assert set(TABLES) == {field.name for field in msgspec.structs.fields(Settings)}
