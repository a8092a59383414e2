"""Finding and importing the application."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyfork.config.schema import ServerSettings
from pyfork.errors import ApplicationLoadError, BootError, QuitNow
from pyfork.workers import loader

MUTE = "raise type('Mute', (Exception,), {'__str__': lambda self: int('no number')})"
GOOD = "def app(environ, start_response):\n    return []\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that leads sys.path; modules imported by a test are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def refused(specification: str) -> ApplicationLoadError:
    """Return the error that loading ``specification`` raises."""
    with pytest.raises(ApplicationLoadError) as caught:
        loader.load_application(specification)
    return caught.value


@pytest.mark.parametrize(
    ("specification", "source"),
    [
        ("site1:app", GOOD),
        ("site1", GOOD),
        ("site1", GOOD + "application = app\ndel app"),
        ("site1.py:app", GOOD),
        ("./site1.py", GOOD),
        ("site1:holder.app", "class holder:\n    app = staticmethod(lambda e, s: [])"),
        ("site1:make()", "def make():\n    return lambda e, s: []"),
        ("site1:make(1, 'a:b', flag=True, more={'x': [1]})", "def make(*a, **k):\n    return lambda e, s: [a, k]"),
        ("site1:holder.make('x')", "class holder:\n    make = staticmethod(lambda x: lambda e, s: [])"),
    ],
)
def test_every_form_of_app_loads(project: Path, specification: str, source: str) -> None:
    """module, module:attribute, module:factory(literals) and paths all lead to a callable."""
    (project / "site1.py").write_text(source)
    assert callable(loader.load_application(specification))


def test_application_is_looked_for_before_app(project: Path) -> None:
    """Of two attributes without a name, ``application`` is PEP 3333's."""
    (project / "both.py").write_text("app = print\napplication = repr\n")
    assert loader.load_application("both") is repr


def test_factory_gets_its_literals(project: Path) -> None:
    """Arguments arrive as they are written."""
    (project / "fact.py").write_text("def make(*a, **k):\n    return lambda: (a, k)\n")
    made = loader.load_application("fact:make(1, -2.5, ['x', None], name='a(b):c')")
    assert made() == ((1, -2.5, ["x", None]), {"name": "a(b):c"})  # type: ignore[call-arg]


def test_file_path_finds_its_neighbours(project: Path) -> None:
    """A file in a folder can import what lies beside it, and its package's name is not needed."""
    folder = project / "deep" / "down"
    folder.mkdir(parents=True)
    (folder / "neighbour.py").write_text(GOOD)
    (folder / "main9.py").write_text("from neighbour import app\n")
    assert callable(loader.load_application("deep/down/main9.py:app"))


@pytest.mark.parametrize(
    ("specification", "source", "message"),
    [
        ("nowhere:app", None, r"module 'nowhere' of app 'nowhere:app' cannot be found: there is no 'nowhere' in "),
        ("a.b.c:app", None, "there is no 'a' in"),
        ("gone.py:app", None, r"file 'gone\.py' does not exist in"),
        ("site2:ap", GOOD, r"the module 'site2' has no attribute 'ap'; did you mean 'app'\?"),
        ("site2:zzz", GOOD, r"has no attribute 'zzz'$"),
        ("site2:app.nothing", GOOD, r"a function has no attribute 'nothing'"),
        ("site2", "x = 1", r"neither 'application' nor 'app'; write site2:NAME"),
        ("site2:value", "value = {}", r"'site2:value' is not callable: it is a dict"),
        ("site2:value()", "value = 1", r"site2:value is not callable: it is an int, not a factory"),
        ("site2:make()", "def make():\n    return 3", r"is not callable: it is an int"),
        ("site2:make()", "def make(x):\n    pass", r"the factory 'site2:make\(\)' failed: TypeError"),
        ("site2:make()", "def make():\n    raise SystemExit(4)", r"factory 'site2:make\(\)' failed: SystemExit: 4"),
        ("site2:make(x)", "def make(x):\n    pass", r"must be literals"),
        ("site2:make(**{})", "def make():\n    pass", r"must be literals"),
        ("site2:1 + 1", GOOD, r"must name an attribute or call one"),
        ("site2:(((", GOOD, r"neither a name nor a call"),
        ("site2:", GOOD, r"does not name an application"),
        (":app", GOOD, r"does not name an application"),
        ("", GOOD, r"does not name an application"),
        ("..:app", GOOD, r"is not a module's name"),
    ],
)
def test_each_mistake_has_its_message(project: Path, specification: str, source: str | None, message: str) -> None:
    """What cannot be loaded is named, with the way out; nothing of ours is in a traceback."""
    if source is not None:
        (project / "site2.py").write_text(source)
    error = refused(specification)
    assert re.search(message, str(error)), str(error)
    assert "pyfork/workers" not in error.traceback_text


@pytest.mark.parametrize(
    ("source", "message", "last"),
    [
        ("import does_not_exist_xyz", "ModuleNotFoundError", "No module named 'does_not_exist_xyz'"),
        ("def broken(:", "SyntaxError", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError", "ZeroDivisionError: division by zero"),
        ("int('x')", "ValueError", "ValueError: "),
        ("import sys; sys.exit(3)", r"called sys.exit\(3\) while it was imported", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        (MUTE, r"cannot be imported: Mute: \(its __str__ raised ValueError\)", "Mute: <exception str() failed>"),
        ("raise ModuleNotFoundError(name=5)", "cannot be imported: ModuleNotFoundError: ", "ModuleNotFoundError"),
        ("import sys; sys.exit(object())", r"called sys.exit\('object'\)", "SystemExit: <object"),
    ],
)
def test_traceback_begins_with_the_users_frame(project: Path, source: str, message: str, last: str) -> None:
    """A module that fails while it is imported shows its own lines first."""
    (project / "broken1.py").write_text("import os\n\n" + source + "\n")
    for specification in ("broken1:app", "broken1.py:app"):
        error = refused(specification)
        sys.modules.pop("broken1", None)
        assert error.args[0].startswith("the application 'broken1")
        assert re.search(message, str(error))
        assert last in error.traceback_text
        first_frame = next(line for line in error.traceback_text.splitlines() if "File " in line)
        assert "broken1.py" in first_frame, error.traceback_text
        assert "line 3" in error.traceback_text


def test_an_order_to_quit_is_no_failure_of_the_application(project: Path) -> None:
    """SIGQUIT during the import unwinds it and is not reported as the application's error."""
    (project / "quits.py").write_text("from pyfork.errors import QuitNow\nraise QuitNow\n")
    with pytest.raises(QuitNow):
        loader.load_application("quits:app")
    (project / "quits2.py").write_text("from pyfork.errors import QuitNow\ndef make():\n    raise QuitNow\n")
    with pytest.raises(QuitNow):
        loader.load_application("quits2:make()")


def test_a_file_that_is_no_python_is_named(project: Path) -> None:
    """A path to something else is told, not imported."""
    (project / "page.txt").write_text("x")
    (project / "folder").mkdir()
    (project / "folder" / "page.txt").write_text("x")
    assert "is not a Python file" in str(refused("folder/page.txt:app"))


def test_application_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """chdir, environment and sys.path are set; a link keeps the name that the user wrote."""
    (project / "release1").mkdir()
    (project / "current").symlink_to("release1")
    monkeypatch.setenv("MARK", "old")
    monkeypatch.setenv("PWD", str(project))
    settings = ServerSettings(chdir=str(project / "current"), pythonpath=("lib", "/abs"), env={"MARK": "new"})
    monkeypatch.setattr(sys, "modules", {**sys.modules, "click.core": sys, "tomlkit": sys})
    assert loader.enter_application_directory(settings) == str(project / "current")
    assert sys.path[:3] == [str(project / "current"), str(project / "current" / "lib"), "/abs"]
    assert os.environ["MARK"] == "new"
    assert os.environ["PWD"] == str(project / "current")
    assert not [name for name in sys.modules if name.partition(".")[0] in loader.ARBITER_ONLY]
    monkeypatch.chdir(project)


def test_directory_that_is_not_there(project: Path) -> None:
    """A missing chdir names the setting."""
    with pytest.raises(BootError, match=r"server\.chdir: cannot enter .*: No such file"):
        loader.enter_application_directory(ServerSettings(chdir=str(project / "nowhere")))


def test_logical_directory(project: Path) -> None:
    """$PWD is believed where it leads to the directory we are in, and only there."""
    (project / "link").symlink_to(project)
    assert loader.logical_directory({"PWD": str(project / "link")}) == str(project / "link")
    for wrong in ({}, {"PWD": "/"}, {"PWD": str(project / "gone")}, {"PWD": "."}):
        assert loader.logical_directory(wrong) == str(project.resolve())


def test_worker_class_by_module_and_by_file(project: Path) -> None:
    """The same two ways as for applications."""
    (project / "own.py").write_text("class Holder:\n    class Own:\n        pass\n")
    assert isinstance(loader.load_named("own:Holder.Own", "worker class"), type)
    assert isinstance(loader.load_named("own.py:Holder", "worker class"), type)


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("gone:Own", "the module 'gone' of worker class 'gone:Own' cannot be found"),
        ("broken2:Own", "the worker class 'broken2' cannot be imported: ZeroDivisionError"),
        ("fine2:Owm", "the module 'fine2' has no attribute 'Owm'; did you mean 'Own'?"),
    ],
)
def test_worker_class_that_cannot_be_loaded(project: Path, specification: str, message: str) -> None:
    """The message says that it is about the worker class."""
    (project / "broken2.py").write_text("1 / 0\n")
    (project / "fine2.py").write_text("class Own:\n    pass\n")
    with pytest.raises(ApplicationLoadError, match=re.escape(message)):
        loader.load_named(specification, "worker class")


def test_a_name_is_told_without_the_library_that_compares(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' user may not be able to read it: that must not take the place of what is wrong."""
    monkeypatch.setitem(sys.modules, "difflib", None)
    (project / "site3.py").write_text(GOOD)
    assert str(refused("site3:ap")) == "the module 'site3' has no attribute 'ap'"


def test_what_cannot_be_read_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's import takes it for what is not there."""
    library = os.path.dirname(os.__file__)
    closed = {library: "/closed", str(project / "vendor"): "/vendor"}
    monkeypatch.setattr(loader, "find_closed", closed.get)
    monkeypatch.setattr(loader, "name_user", lambda: "user 'shop'")
    hint = "; user 'shop' cannot read /closed, where Python's library is: give that user the right to, or move what it "
    (project / "site4.py").write_text("import does_not_exist_xyz")
    error = refused("site4:app")
    assert "No module named 'does_not_exist_xyz'" + hint in str(error)
    (project / "site5.py").write_text("raise OSError('no database')")
    assert str(refused("site5:app")).endswith("OSError: no database")
    monkeypatch.syspath_prepend(str(project / "vendor"))
    monkeypatch.delitem(closed, library)
    assert "; user 'shop' cannot read /vendor: give" in str(refused("nowhere:app"))
    closed.clear()
    assert "cannot read" not in str(refused("nowhere:app"))
