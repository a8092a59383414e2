"""gunicorn's flags: every one of them is accepted, and says why when it does nothing."""

import pytest

from pyfork.cli.command_line import CommandLine
from pyfork.cli.gunicorn_flags import find_left_out, left_out_options
from pyfork.cli.options import parse
from pyfork.config.gunicorn import LEFT_OUT

# The flags of gunicorn 27.0.1, those that take a value and those that do not.
WITH_A_VALUE = [
    "--access-logfile",
    "--access-logformat",
    "--asgi-disconnect-grace-period",
    "--asgi-lifespan",
    "--asgi-loop",
    "--backlog",
    "-b",
    "--bind",
    "--ca-certs",
    "--cert-reqs",
    "--certfile",
    "--chdir",
    "--ciphers",
    "-c",
    "--config",
    "--control-socket",
    "--control-socket-mode",
    "--dirty-app",
    "--dirty-graceful-timeout",
    "--dirty-threads",
    "--dirty-timeout",
    "--dirty-workers",
    "--dogstatsd-tags",
    "-e",
    "--env",
    "--error-logfile",
    "--log-file",
    "--forwarded-allow-ips",
    "--forwarder-headers",
    "--graceful-timeout",
    "-g",
    "--group",
    "--header-map",
    "--http-parser",
    "--http-protocols",
    "--http2-cleartext",
    "--http2-initial-window-size",
    "--http2-max-concurrent-streams",
    "--http2-max-frame-size",
    "--http2-max-header-list-size",
    "--keep-alive",
    "--keyfile",
    "--limit-request-field_size",
    "--limit-request-fields",
    "--limit-request-line",
    "--log-config",
    "--log-config-json",
    "--log-level",
    "--log-syslog-facility",
    "--log-syslog-prefix",
    "--log-syslog-to",
    "--logger-class",
    "--max-requests",
    "--max-requests-jitter",
    "-n",
    "--name",
    "--paste",
    "--paster",
    "--paste-global",
    "-p",
    "--pid",
    "--protocol",
    "--proxy-allow-from",
    "--proxy-protocol",
    "--pythonpath",
    "--reload-engine",
    "--reload-extra-file",
    "--root-path",
    "--ssl-version",
    "--statsd-host",
    "--statsd-prefix",
    "--threads",
    "-t",
    "--timeout",
    "-m",
    "--umask",
    "-u",
    "--user",
    "--uwsgi-allow-from",
    "--websocket-max-message-size",
    "-k",
    "--worker-class",
    "--worker-connections",
    "--worker-tmp-dir",
    "-w",
    "--workers",
]
WITHOUT_A_VALUE = [
    "--capture-output",
    "--casefold-http-method",
    "--check-config",
    "--no-control-socket",
    "-D",
    "--daemon",
    "--disable-redirect-access-to-syslog",
    "--do-handshake-on-connect",
    "--enable-backlog-metric",
    "-R",
    "--enable-stdio-inheritance",
    "--initgroups",
    "--permit-obsolete-folding",
    "--permit-unconventional-http-method",
    "--permit-unconventional-http-version",
    "--preload",
    "--print-config",
    "--reload",
    "--reuse-port",
    "--no-sendfile",
    "--spew",
    "--strip-header-spaces",
    "--suppress-ragged-eofs",
    "--log-syslog",
]


@pytest.mark.parametrize("flag", [*WITH_A_VALUE, *WITHOUT_A_VALUE])
def test_every_flag_of_gunicorn_is_accepted(flag):
    """A gunicorn user's line works with the name changed: the flag is a setting, an action, or a warning."""
    arguments = [flag, "1", "shop:app"] if flag in WITH_A_VALUE else [flag, "shop:app"]
    given = parse(arguments)
    assert isinstance(given, CommandLine)
    assert given.overrides["server.app"][0] == "shop:app"
    answers = [len(given.overrides) - 1, given.config, given.check_config, given.print_config, given.left_out]
    assert len([answer for answer in answers if answer]) == 1


@pytest.mark.parametrize("flag", ["-v", "--version", "-h", "--help"])
def test_the_flags_that_answer_at_once(flag, capsys):
    """gunicorn's short forms too."""
    assert parse([flag]) == 0
    assert "pyfork" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "protocol"),
    [(["--proxy-protocol"], "auto"), (["--proxy-protocol", "v1"], "v1"), (["--proxy-protocol=v2"], "v2")],
)
def test_an_optional_value_may_be_left_out(arguments, protocol):
    """``--proxy-protocol`` alone, or with its mode; what follows behind another flag is the application."""
    given = parse([*arguments, "--preload", "shop:app"])
    assert isinstance(given, CommandLine)
    assert given.overrides["proxy.protocol"] == (protocol, "command line --proxy-protocol")
    assert given.overrides["server.app"][0] == "shop:app"


def test_what_has_no_flag_is_no_option():
    """Hooks and dictionaries exist in gunicorn's file only."""
    assert len(left_out_options()) == len([left_out for left_out in LEFT_OUT if left_out.flags])
    assert find_left_out([]) == ()


def test_the_complaint_gives_the_reason():
    """A warning says that the flag is ignored, an error does not."""
    by_name = {left_out.name: left_out.complaint for left_out in LEFT_OUT}
    assert by_name["worker_tmp_dir"].startswith("--worker-tmp-dir is ignored: heartbeats go through a pipe")
    assert by_name["daemon"].startswith("--daemon: pyfork stays in the foreground; let systemd")
