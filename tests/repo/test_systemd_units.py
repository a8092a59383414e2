"""The units of deploy/systemd/: systemd takes them as they are, and the documentation explains them."""

import re
import shutil
import subprocess

import pytest

from tests.repo.files import ROOT, text

UNITS = ROOT / "deploy" / "systemd"
NAMES = ["pyfork.service", "pyfork.socket", "pyfork@.service", "pyfork@.socket"]
DROP_IN = "pyfork.service.d/notify-reload.conf"
KNOWN = {
    "Unit": {"Description", "After"},
    "Install": {"WantedBy"},
    "Socket": {"ListenStream", "Backlog", "NoDelay", "SocketUser", "SocketGroup", "SocketMode"},
    "Service": {
        "Type", "NotifyAccess", "ExecStart", "ExecReload", "KillMode", "TimeoutStopSec", "Restart", "RestartSec",
        "RestartPreventExitStatus", "WatchdogSec", "FileDescriptorStoreMax", "OOMPolicy", "User", "Group",
        "WorkingDirectory", "EnvironmentFile", "RuntimeDirectory", "RuntimeDirectoryPreserve", "StateDirectory",
        "LogsDirectory", "UMask", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem",
        "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectProc", "ProtectClock", "ProtectHostname",
        "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectControlGroups",
        "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
        "RemoveIPC", "KeyringMode", "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber",
    },
}  # fmt: skip
"""Each was looked up in systemd.unit(5), .service(5), .socket(5), .exec(5) or .kill(5) of systemd 252."""
ANALYZE = shutil.which("systemd-analyze")
needs_tool = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed; the syntax is checked anyway"
)


def unit(name):
    return text(f"deploy/systemd/{name}")


def directives(name):
    """Return (section, name, value) of each line that is one; fail on a line that is nothing."""
    found, section = [], None
    for line in unit(name).splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            match = re.fullmatch(r"(\w+)=(.*)", line)
            assert match, f"{name}: {line!r} is neither a section nor an assignment"
            found.append((section, match[1], match[2]))
    return found


def version():
    """Return systemd's version, a number."""
    return int(
        re.match(r"systemd (\d+)", subprocess.run([ANALYZE, "--version"], capture_output=True, text=True).stdout)[1]
    )


def install(directory, *names):
    """Copy units as they are installed; only the program is one that exists here."""
    paths = []
    for name in names:
        path = directory / name.replace("@.", "@shop.")
        path.parent.mkdir(exist_ok=True)
        path.write_text(unit(name).replace("/opt/pyfork/bin/pyfork", "/bin/true"))
        paths.append(str(path))
    return paths


def verify(*paths):
    """Return what systemd-analyze has to say; its status is 0 for directives that it ignores."""
    result = subprocess.run([ANALYZE, "verify", "--man=no", *paths], capture_output=True, text=True)
    return result.stderr.strip()


@pytest.mark.parametrize("name", [*NAMES, DROP_IN])
def test_every_line_is_a_directive_that_systemd_knows_there(name):
    """systemd ignores a misspelt one with no more than a line in its log, and the hardening is not there."""
    for section, directive, _ in directives(name):
        assert directive in KNOWN[section], f"{name}: [{section}] {directive}="


def test_all_units_are_tested():
    """None is forgotten."""
    assert sorted(str(path.relative_to(UNITS)) for path in UNITS.rglob("*") if path.is_file()) == sorted(
        [*NAMES, DROP_IN]
    )


@needs_tool
@pytest.mark.parametrize("name", NAMES)
def test_systemd_analyze_finds_nothing(name, tmp_path):
    """Not even a warning."""
    paths = install(tmp_path, *NAMES)
    assert verify(paths[NAMES.index(name)]) == ""


@needs_tool
def test_systemd_analyze_takes_the_drop_in_where_it_is_new_enough(tmp_path):
    """Before 253 it says that it ignores that type, and nothing else."""
    path, _, _ = install(tmp_path, "pyfork.service", "pyfork.socket", DROP_IN)
    found = verify(path)
    if version() >= 253:
        assert found == ""
    else:
        assert re.fullmatch(r".*notify-reload\.conf:\d+: Failed to parse service type, ignoring: notify-reload", found)


@needs_tool
@pytest.mark.parametrize("name", ["pyfork.service", "pyfork@.service"])
def test_the_exposure_is_low(name, tmp_path):
    """docs/systemd.md shows the figure; another version of systemd may add a row to it."""
    [path] = install(tmp_path, name)
    command = [ANALYZE, "security", "--offline=true", "--no-pager", path]
    result = subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"})
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)[1])
    assert exposure <= 2.0
    if version() == 252:
        assert f"Overall exposure level for pyfork.service: {exposure}" in text("docs/systemd.md")


def test_the_template_is_the_unit_but_for_its_names():
    """What one learns, the other must not lack."""
    plain = {(section, name): value for section, name, value in directives("pyfork.service")}
    template = {(section, name): value for section, name, value in directives("pyfork@.service")}
    differing = {name for (section, name) in plain if plain[section, name] != template[section, name]}
    assert plain.keys() == template.keys()
    named = {"Description", "WorkingDirectory", "EnvironmentFile", "ExecStart"}
    assert differing == named | {"RuntimeDirectory", "StateDirectory", "LogsDirectory"}


def test_every_directive_is_explained():
    """Somebody whose application does not run under one of them looks there."""
    page = text("docs/systemd.md")
    missing = {name for _, name, _ in directives("pyfork.service") if f"`{name}=" not in page}
    assert missing - {"Description", "After", "WantedBy"} == set()
