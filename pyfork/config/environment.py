"""Reads the environment: ``PYFORK_<TABLE>_<KEY>``, and the names that platforms agree on. Pure.

An empty variable counts as not set: that is how compose files and manifests pass on what they do not have.
"""

from collections.abc import Mapping

from pyfork.config.catalogue import SETTINGS
from pyfork.config.nearest import close_variable
from pyfork.config.proxies import as_gunicorn_means
from pyfork.config.showing import show
from pyfork.config.values import Raw
from pyfork.errors import ConfigurationError

PREFIX = "PYFORK_"


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Raw], list[str]]:
    """Return the values that ``environ`` gives, by setting, and warnings of variables that look like ours.

    ``WEB_CONCURRENCY`` is ``workers.count`` unless that has its own variable. An unknown variable is only warned of:
    Kubernetes sets ``PYFORK_SERVICE_HOST`` for a service that is called pyfork.
    """
    given = {name: value for name, value in environ.items() if value}
    values = {}
    if "WEB_CONCURRENCY" in given:
        values["workers.count"] = _raw(given, "WEB_CONCURRENCY")
    known = {setting.variable: setting.name for setting in SETTINGS.values()}
    warnings = []
    for variable in given:
        if variable in known:
            values[known[variable]] = _raw(given, variable)
        elif variable.startswith(PREFIX):
            near = close_variable(variable)
            hint = f"; did you mean {near}?" if near else ""
            warnings.append(f"environment {variable}: there is no such setting, it is ignored{hint}")
    return values, warnings


def read_port(environ: Mapping[str, str]) -> dict[str, Raw]:
    """Return the bind that ``PORT`` asks for, by setting, where nothing else gives one.

    Raises:
        ConfigurationError: it is not a port.
    """
    port = environ.get("PORT", "")
    if not port:
        return {}
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) <= 65535):
        raise ConfigurationError(f"environment PORT: server.bind must have a port from 0 to 65535, not {show(port)}")
    return {"server.bind": Raw((f"0.0.0.0:{int(port)}",), "environment PORT", is_text=True)}


def read_forwarded_allow_ips(environ: Mapping[str, str]) -> dict[str, Raw]:
    """Return what ``FORWARDED_ALLOW_IPS`` trusts, by setting, where nothing else says it: it is gunicorn's default.

    Platforms set it for every application, so what an application's own file says is stronger.
    """
    addresses = environ.get("FORWARDED_ALLOW_IPS", "")
    if not addresses:
        return {}
    trusted = as_gunicorn_means((addresses,))
    return {"proxy.trusted": Raw(trusted, "environment FORWARDED_ALLOW_IPS", is_text=True)}


def _raw(environ: Mapping[str, str], variable: str) -> Raw:
    return Raw(environ[variable], f"environment {variable}", is_text=True)
