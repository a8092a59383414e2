"""docs/sequences.md shows what happens: it is drawn anew, from new runs."""

import pytest

from docs.sequence_diagrams import draw
from tests.repo.files import made_by, text

SEQUENCES = made_by("make_sequences")


@pytest.mark.slow
def test_the_sequences_are_what_happens() -> None:
    """Each message, in this order; `make docs` draws them."""
    assert SEQUENCES.render() == text("docs/sequences.md")


LOG = """\
[2026-01-01 00:00:00 +0000] [1] [DEBUG] [arbiter] worker 0 gen 1 (pid 2) is sent SIGTERM
[2026-01-01 00:00:00 +0000] [1] [INFO] [arbiter] worker 0 gen 1 (pid 3) is booting
[2026-01-01 00:00:00 +0000] [1] [INFO] [arbiter] worker 0 gen 1 (pid 2) has ended
"""


def test_who_has_the_name_of_another_is_the_next() -> None:
    """Two processes are two columns; and what no gate holds is drawn where its cause is."""
    follows = [("arbiter ->> worker0gen1: TERM", "worker0gen1 -->> arbiter: exits")]
    drawn = [line.strip() for line in draw("", LOG, follows).splitlines()]
    assert "participant nextworker0gen1 as next worker 0 gen 1" in drawn
    assert drawn[-4:-1] == [
        "arbiter ->> worker0gen1: TERM (finish and end)",
        "worker0gen1 -->> arbiter: exits",
        "arbiter ->> nextworker0gen1: fork",
    ]


def test_nothing_is_drawn_before_its_cause() -> None:
    """It was not brought about by that, and the diagram would lie."""
    with pytest.raises(ValueError, match="does not follow"):
        draw("", LOG, [("worker0gen1 -->> arbiter: exits", "arbiter ->> worker0gen1: TERM")])


def test_a_line_that_no_rule_knows_is_no_part_of_a_diagram() -> None:
    """It would be left out in silence, and the diagram would lie."""
    with pytest.raises(ValueError, match=r"no rule knows this line of the log: .*something new"):
        draw("", "[2026-01-01 00:00:00 +0000] [1] [INFO] [arbiter] something new happens")
