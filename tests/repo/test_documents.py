"""Documents that are made from the code say what the code says."""

import re

from pyfork.arbiter import scaling
from pyfork.config.pages import example_page, settings_page
from pyfork.hooks.catalogue import KINDS
from pyfork.log.atoms import NAMED_ATOMS, NUMBER_ATOMS, TEXT_ATOMS
from tests.repo.files import ROOT, made_by, text


def test_the_settings_page_is_up_to_date():
    """`make docs` writes it from the declarations."""
    assert text("docs/settings.md") == settings_page()


def test_the_example_configuration_is_up_to_date():
    """As above; it shows every setting with its default."""
    assert text("server.toml.example") == example_page()


def test_the_signals_page_is_up_to_date():
    """It is made from the tables that the arbiter and the workers obey."""
    assert text("docs/signals.md") == made_by("make_signals").render()


def test_the_lifecycle_page_is_up_to_date():
    """It is drawn from the tables of legal moves."""
    assert text("docs/lifecycle.md") == made_by("make_lifecycle").render()


def test_the_table_of_hooks_is_that_of_the_code():
    """Each with where it runs and what it is given."""
    rows = [line.split("|") for line in text("docs/hooks.md").splitlines() if line.startswith("| `")]
    assert [[cell.strip(" `") for cell in row[1:4]] for row in rows] == [
        [kind.name, kind.side.value, ", ".join(kind.arguments)] for kind in KINDS.values()
    ]


def test_the_picture_of_scaling_is_up_to_date():
    """It is drawn from the simulation, with the policy as it is."""
    assert text("docs/scaling.svg") == made_by("make_scaling").render()


def test_the_rules_of_scaling_are_told_as_they_are():
    """docs/scaling.md has the numbers in words."""
    page = " ".join(text("docs/scaling.md").split())
    for words in (
        f"busy for more than {scaling.HIGH:.0%} of the time".replace("%", " %"),
        f"busy for {scaling.GOAL:.0%}".replace("%", " %"),
        f"more than {scaling.LOW:.0%} at any time of the last {scaling.PATIENCE:.0f} s".replace("%", " %"),
        f"the next one {scaling.DOWN_INTERVAL:.0f} s later",
        f"1.5 + 2/{scaling.QUEUE_PER_WORKER} = 2",
    ):
        assert words in page
    assert (scaling.UP_WINDOW, scaling.QUEUE_WINDOW, scaling.LONGEST_PATIENCE) == (3, 2, 240)


def test_every_atom_of_the_access_log_is_explained():
    """In docs/logs.md, where a configuration error sends its reader."""
    page = text("docs/logs.md")
    named = [f"{{name}}{source}" for source in NAMED_ATOMS]
    assert not [atom for atom in [*TEXT_ATOMS, *NUMBER_ATOMS, *named] if f"`%({atom})s`" not in page]


def test_the_worked_sample_of_a_worker_class_is_the_one_that_runs():
    """docs/custom_workers.md shows sample_apps/echo_worker.py whole, and it stays short."""
    sample = text("sample_apps/echo_worker.py")
    assert sample in text("docs/custom_workers.md")
    assert len(sample.splitlines()) < 40


def test_every_row_on_http_names_code_and_tests_that_exist():
    """docs/http.md is only worth what it points to."""
    rows = [
        row for row in map(cells, text("docs/http.md").splitlines()) if len(row) == 5 and re.match("9|names", row[0])
    ]
    assert len(rows) > 80
    for requirement, level, _, code, tests in rows:
        assert level in {"M", "S", "c"}, requirement
        assert [name for name in named(code) if not (ROOT / "pyfork" / name).is_file()] == []
        assert [name for name in named(tests) if not any((ROOT / place / name).is_file() for place in HOLDS)] == []
        assert named(code), requirement
        assert named(tests), requirement


def test_every_file_of_the_corpus_belongs_to_a_requirement():
    """What is not in docs/http.md does not say why it must be so."""
    page = text("docs/http.md")
    corpus = ROOT / HOLDS[0]
    names = [str(path.relative_to(corpus)) for path in corpus.glob("*/*.txt")]
    assert [name for name in names if f"`{name}`" not in page] == []


HOLDS = ("tests/corpus/http1", "tests")
"""What the last column of docs/http.md is relative to."""


def cells(line):
    """Return the cells of a table's row; of any other line nothing."""
    return [cell.strip() for cell in line[2:].removesuffix(" |").split(" | ")] if line.startswith("| ") else []


def named(cell):
    """Return the paths in a cell."""
    return re.findall(r"`([^`]+\.(?:py|txt))`", cell)
