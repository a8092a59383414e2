"""The limit of descriptors."""

import resource

import pytest

from pyfork.process import fds

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "needed", "result", "wanted"),
    [
        ((1024, 4096), 500, 1024, None),
        ((1024, 4096), 2000, 2000, (2000, 4096)),
        ((1024, 4096), 9000, 4096, (4096, 4096)),
        ((4096, 4096), 9000, 4096, None),
        ((1024, INFINITY), 9000, 9000, (9000, INFINITY)),
        ((INFINITY, INFINITY), 9000, 9000, None),
    ],
)
def test_limit_is_raised_as_far_as_allowed(
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    needed: int,
    result: int,
    wanted: tuple[int, int] | None,
) -> None:
    """The soft limit goes up to what is needed, never down, and never above the hard one."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: calls.append(new))
    assert fds.raise_descriptor_limit(needed) == result
    assert calls == ([wanted] if wanted else [])
