"""The rules are the tools' (ruff, mypy, import-linter); here stands that nobody loosens them in silence."""

import re
import tomllib

import pytest

from tests.repo.files import python_files, text

RULES = tomllib.loads(text("pyproject.toml"))["tool"]
MARK = "no" + "qa"  # not a mark itself


@pytest.mark.parametrize("name", python_files("pyfork", "tests", "sample_apps", "benchmarks", "docs"), ids=str)
def test_every_exception_from_a_rule_says_which_and_why(name):
    """A bare mark hides the next mistake on its line too, and nobody dares to remove it."""
    for number, line in enumerate(text(name).splitlines(), start=1):
        for rest in re.findall(rf"#\s*{MARK}\b(.*)", line):
            match = re.fullmatch(r": [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)*(.*)", rest)
            assert match, f"{name}:{number} names no rule"
            assert len(re.findall(r"[a-z]{2,}", match[1])) >= 2, f"{name}:{number} gives no reason"
        assert not re.search(r"#\s*type:\s*ignore(?!\[)", line), f"{name}:{number} ignores every type error"


def test_every_rule_that_is_left_out_has_its_reason():
    """In pyproject.toml, on its line."""
    ignored = re.search(r"\nignore = \[\n(.*?)\n\]", text("pyproject.toml"), re.DOTALL)[1]
    for line in ignored.splitlines():
        assert re.fullmatch(r'    "[A-Z]+[0-9]*",? +# .{10,}', line), line


def test_all_rules_are_selected():
    """New rules of a new ruff are met when it is updated, not years later."""
    assert RULES["ruff"]["lint"]["select"] == ["ALL"]
    assert RULES["mypy"]["strict"] is True
    assert RULES["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    assert RULES["pytest"]["ini_options"]["xfail_strict"] is True
    assert RULES["coverage"]["run"]["branch"] is True


def test_functions_stay_small():
    """Complexity 10, 40 statements, 6 parameters: ruff holds them, this holds ruff."""
    lint = RULES["ruff"]["lint"]
    assert lint["mccabe"]["max-complexity"] <= 10
    assert lint["pylint"]["max-statements"] <= 40
    assert lint["pylint"]["max-args"] <= 6
    for rule in ("C901", "PLR0915", "PLR0913"):
        assert rule not in lint["ignore"]


def test_every_pure_module_is_declared_pure():
    """What the core and the parser import must be as free of I/O as they are."""
    contracts = {contract["name"]: contract for contract in RULES["importlinter"]["contracts"]}
    pure = contracts["Pure rooms: no I/O, no clock, no process"]
    assert {"pyfork.http1", "pyfork.arbiter.core", "pyfork.config.schema", "pyfork.ipc.messages"} <= set(
        pure["source_modules"]
    )
    assert {"os", "select", "selectors", "signal", "socket", "subprocess", "threading", "time"} <= set(
        pure["forbidden_modules"]
    )
