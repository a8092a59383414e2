"""docs/sequences.md shows what happens: it is drawn anew, from new runs."""

import pytest

from tests.repo.files import made_by, text

SEQUENCES = made_by("make_sequences")


@pytest.mark.slow
def test_the_sequences_are_what_happens() -> None:
    """Each message, in this order; `make docs` draws them."""
    assert SEQUENCES.render() == text("docs/sequences.md")


def test_a_line_that_no_rule_knows_is_no_part_of_a_diagram() -> None:
    """It would be left out in silence, and the diagram would lie."""
    with pytest.raises(ValueError, match=r"no rule knows this line of the log: .*something new"):
        SEQUENCES.draw("", "[2026-01-01 00:00:00 +0000] [1] [INFO] [arbiter] something new happens")
