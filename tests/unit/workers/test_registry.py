"""Worker types by name."""

import pytest

from pyfork.errors import ConfigurationError
from pyfork.workers.registry import TYPES, resolve_type


def test_every_type_is_its_own_name() -> None:
    """The canonical names resolve to themselves."""
    assert [resolve_type(name) for name in TYPES] == list(TYPES)


def test_unknown_type_lists_the_known() -> None:
    """The message names the type asked for, the nearest and all there are."""
    with pytest.raises(ConfigurationError, match=r"'snyc'; did you mean 'sync'\? \(known: sync") as caught:
        resolve_type("snyc")
    assert len(caught.value.problems) == 1
    with pytest.raises(ConfigurationError, match=r"'tornado' \(known"):
        resolve_type("tornado")
