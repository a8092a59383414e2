"""How pyfork is started once more: by the words that the user wrote."""

import os
import sys
from pathlib import Path

import pytest

from pyfork.arbiter import launch
from pyfork.errors import LaunchError


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script as pip writes it."""
    path = tmp_path / "pyfork"
    path.write_text("#!/srv/current/bin/python\nmain()\n")
    path.chmod(0o755)
    return path


def test_a_script_is_executed_itself(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line may name another interpreter by then. The interpreter's own options come from there too."""
    monkeypatch.setattr(sys, "orig_argv", ["/srv/current/bin/python", "-P", str(script), "-w", "2"])
    monkeypatch.setattr(sys, "argv", [str(script), "-w", "2"])
    remembered = launch.remember("/srv", {"A": "b"})
    assert remembered == launch.Launch((str(script), "-w", "2"), "/srv", {"A": "b"})


@pytest.mark.parametrize("fault", ["no shebang", "another interpreter", "not executable", "no path", "gone"])
def test_an_interpreter_that_the_user_named_is_kept(script: Path, fault: str) -> None:
    """`python3.13 bin/pyfork` means that Python, whatever the script's first line says."""
    interpreter, name = "/srv/current/bin/python", str(script)
    if fault == "no shebang":
        script.write_text("/srv/current/bin/python\n")
    elif fault == "another interpreter":
        interpreter = sys.executable
    elif fault == "not executable":
        script.chmod(0o644)
    elif fault == "no path":
        name = "pyfork"
    else:
        script.unlink()
    assert not launch._names_interpreter(name, interpreter)


def test_a_module_is_run_by_its_interpreter() -> None:
    """As it was named; one that cannot be found by that name (exec -a) is the one that runs."""
    original = ["python3", "-m", "pyfork", "-w", "2"]
    found = launch._command(original, "/site/pyfork/__main__.py", {"PATH": os.path.dirname(sys.executable)})
    assert found == tuple(original)
    found = launch._command(["-odd-", *original[1:]], "/site/pyfork/__main__.py", {"PATH": "/nowhere"})
    assert found == (sys.executable, *original[1:])


def test_the_surroundings_are_those_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what names a process: the sockets of LISTEN_FDS come another way, and the watchdog means the new one."""
    calls: list[object] = []
    monkeypatch.setattr(os, "chdir", calls.append)
    monkeypatch.setattr(os, "execvpe", lambda *arguments: calls.append(arguments))
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "WATCHDOG_PID": "1", "NOTIFY_SOCKET": "/n", "A": "b"}
    launch.Launch(("pyfork", "x"), "/srv", environ).become({"PYFORK_UPGRADE": "{}"})
    expected = {"WATCHDOG_PID": str(os.getpid()), "NOTIFY_SOCKET": "/n", "A": "b", "PYFORK_UPGRADE": "{}"}
    assert calls == ["/srv", ("pyfork", ("pyfork", "x"), expected)]
    del environ["WATCHDOG_PID"]
    launch.Launch(("pyfork",), "/srv", environ).become({})
    assert calls[-1] == ("pyfork", ("pyfork",), {"NOTIFY_SOCKET": "/n", "A": "b"})


def test_what_is_gone_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory, the program, or only the interpreter of a script: Python's own words tell none of them."""

    def refusal(program: str, directory: Path) -> str:
        with pytest.raises(LaunchError) as caught:
            launch.Launch((program,), str(directory), {"PATH": str(tmp_path)}).become({})
        return str(caught.value)

    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    assert refusal("/bin/true", gone) == (
        f"the directory that pyfork was started in, {gone}, cannot be entered: no such file or directory; put it (or the "
        "link) back and send USR2 again, or restart pyfork in another"
    )
    way_out = "; put it back and send USR2 again, or restart pyfork from where it is now"
    for program in (str(gone), "no-such-program"):
        expected = f"the program {program} cannot be started: no such file or directory{way_out}"
        assert refusal(program, tmp_path) == expected
    script = tmp_path / "pyfork"
    script.write_text(f"#!{gone}/python\n")
    script.chmod(0o755)
    expected = f"the program {script} cannot be started: the interpreter in its first line is not there{way_out}"
    assert refusal(str(script), tmp_path) == expected
    script.chmod(0o644)
    assert refusal(str(script), tmp_path) == f"the program {script} cannot be started: permission denied{way_out}"
