"""gunicorn 27's settings: each has a counterpart, or a reason why it has none."""

from pyfork.config.catalogue import SETTINGS
from pyfork.config.gunicorn import COUNTERPARTS, LEFT_OUT, OWN


def test_every_setting_has_exactly_one_fate():
    """gunicorn 27.0.1 has 120 settings."""
    names = [*COUNTERPARTS, *(left_out.name for left_out in LEFT_OUT), *OWN]
    assert len(names) == len(set(names)) == 120


def test_counterparts_exist():
    """A setting that is renamed here must be renamed there."""
    assert set(COUNTERPARTS.values()) <= set(SETTINGS)


def test_only_what_would_serve_something_else_is_refused():
    """Everything else is a warning: a gunicorn user's line works with the name changed."""
    assert {left_out.flag for left_out in LEFT_OUT if left_out.is_error} == {"--daemon"}
    assert all(left_out.reason for left_out in LEFT_OUT)


def test_messages_name_the_long_flag():
    """``-R`` says nothing to who reads the log; a setting without a flag has none."""
    flags = {left_out.name: left_out.flag for left_out in LEFT_OUT}
    assert flags["enable_stdio_inheritance"] == "--enable-stdio-inheritance"
    assert flags["post_fork"] == ""
