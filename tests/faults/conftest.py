"""Where the servers of the faults live: pytest's own directories are closed to the user that they run as."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let the fixture know whether the test has failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def new_directory(request: pytest.FixtureRequest) -> Iterator[Callable[[], Path]]:
    """Make directories that everybody may read; those of a test that fails are kept."""
    made: list[Path] = []

    def make() -> Path:
        if made:  # the one before went well
            shutil.rmtree(made.pop())
        made.append(Path(tempfile.mkdtemp(prefix="pyfork-faults-")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    if not request.node.stash.get(_FAILED, False):
        for directory in made:
            shutil.rmtree(directory)
