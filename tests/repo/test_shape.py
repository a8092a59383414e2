"""The repository keeps its shape: sizes, names, and where things may be."""

import ast
import re

import pytest

from tests.repo.files import ROOT, own_files, python_files, text, tree

MOST_LINES = 500
CODE = ("pyfork", "sample_apps", "benchmarks", "docs")
NOT_IN_THE_ARBITER = {"pyfork.cli.options", "pyfork.cli.conversion", "pyfork.config.render"}
"""What only a command line that ends at once needs: leaves, and too heavy to be kept for months."""


@pytest.mark.parametrize("name", python_files(*CODE), ids=str)
def test_a_module_fits_in_a_head(name):
    """Aim at 300 lines; at 500 it is two modules."""
    assert len(text(name).splitlines()) <= MOST_LINES


def test_no_module_is_a_drawer():
    """utils.py and its like collect what has no place; each thing has one."""
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py", "tools.py"}
    assert [name for name in python_files("pyfork") if name.name in drawers] == []


@pytest.mark.parametrize("name", [name for name in python_files("pyfork") if name.name == "__init__.py"], ids=str)
def test_a_package_file_holds_a_docstring_and_re_exports(name):
    """Code in __init__.py runs for whoever imports anything beside it."""
    for node in tree(name).body[1:]:
        assert isinstance(node, ast.ImportFrom | ast.Assign | ast.AnnAssign), f"{name}:{node.lineno}"
    assert ast.get_docstring(tree(name))


@pytest.mark.parametrize("name", python_files("pyfork"), ids=str)
def test_our_own_modules_are_imported_at_the_top(name):
    """An import inside a function hides a circle that the rules on rooms would show."""
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef)]
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not [
                module for module in modules if module.startswith("pyfork") and module not in NOT_IN_THE_ARBITER
            ], f"{name}:{node.lineno}"


def test_no_two_test_files_have_one_name():
    """Their folders are no packages: pytest would take the second one for the first, and not run it."""
    names = [name.name for name in python_files("tests") if name.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", python_files("tests"), ids=str)
def test_no_test_sleeps(name):
    """A sleep is too long on a fast machine and too short on a slow one: tests wait for a condition."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"time.sleep", "sleep"}, f"{name}:{node.lineno}"


@pytest.mark.parametrize("name", python_files("tests"), ids=str)
def test_every_test_states_the_truth_that_it_guards(name):
    """Its docstring; the name says what, the docstring why it matters."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{name}:{node.lineno} {node.name}"


@pytest.mark.parametrize(
    "name",
    [name for name in python_files("tests") if name.parts[1] == "unit" and name.name.startswith("test_")],
    ids=str,
)
def test_unit_tests_mirror_the_package(name):
    """tests/unit/log/test_sink.py is about pyfork/log/sink.py; test_core_reload.py about a part of core.py."""
    room = ROOT / "pyfork" / "/".join(name.parts[2:-1])
    subject = name.stem.removeprefix("test_")
    words = subject.split("_")
    candidates = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    if subject not in {"corpus", "properties"}:  # these are about the whole room
        assert any((room / f"{candidate}.py").is_file() for candidate in candidates), f"nothing is called {subject}"


@pytest.mark.parametrize("name", python_files("sample_apps"), ids=str)
def test_a_sample_says_how_to_run_it_and_what_to_try(name):
    """Somebody opens one file, and not the manual; both names that servers look for are there."""
    docstring = ast.get_docstring(tree(name))
    if name.stem == "echo_worker":  # a worker class, not an application
        assert "pyfork -k echo_worker:EchoWorker" in docstring
        return
    assert re.search(rf"\n    pyfork .*{name.stem}:app\n", docstring)
    assert "http://127.0.0.1:8000/" in docstring
    assert re.search(r"^(app = application = |def application|app = application$)", text(name), re.MULTILINE)


def test_documents_stay_short():
    """ARCHITECTURE.md is read in five minutes, a decision in one."""
    assert len(text("ARCHITECTURE.md").splitlines()) <= 100
    decisions = [name for name in own_files(".md") if name.parts[:2] == ("docs", "adr")]
    for name in decisions:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name.name), name
        assert len(text(name).splitlines()) <= 40, name
    numbers = [name.name[:4] for name in decisions]
    assert len(set(numbers)) == len(numbers), "two decisions have one number"


def test_the_documents_that_people_look_for_are_there():
    """Under the names by which they look."""
    missing = {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"} - {
        path.name for path in ROOT.iterdir()
    }
    assert not missing
    assert text("LICENSE").startswith("MIT License\n")


@pytest.mark.parametrize("name", own_files(".md"), ids=str)
def test_links_between_documents_lead_somewhere(name):
    """A document that moved takes its links along."""
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text(name)):
        assert (ROOT / name.parent / target).exists(), f"{name}: {target}"
