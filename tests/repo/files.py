"""Finds the repository's own files: those that git knows or would take."""

import ast
import importlib.util
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@cache
def own_files(suffix=""):
    """Return all files with the suffix, as paths from the root; without git (a source archive), by walking."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if result.returncode == 0:
        names = [Path(name) for name in result.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return sorted(name for name in names if name.suffix.endswith(suffix) and (ROOT / name).is_file())


def python_files(*folders):
    """Return the Python files below these folders."""
    return [name for name in own_files(".py") if name.parts[0] in folders]


@cache
def text(name):
    """Return a file's text."""
    return (ROOT / name).read_text("utf-8")


@cache
def tree(name):
    """Return a Python file's syntax tree."""
    return ast.parse(text(name), str(name))


def made_by(script):
    """Return the module of a script in docs/."""
    specification = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
