"""Settings that nothing follows from are doubted, and those that fit together are not."""

import pytest

from pyfork.config.idle import find_idle

NOTHING = {
    "workers.max_requests": 0,
    "workers.max_requests_jitter": 0,
    "workers.max_lifetime": 0,
    "workers.max_lifetime_jitter": 0,
    "workers.refork_after": (),
}


def idle(**workers):
    return find_idle({**NOTHING, **{f"workers.{name}": value for name, value in workers.items()}})


@pytest.mark.parametrize("what", ["max_requests", "max_lifetime"])
def test_a_jitter_needs_what_it_is_added_to(what):
    """Alone, it replaces nobody."""
    jitter = f"{what}_jitter"
    assert idle(**{jitter: 2_000_000}) == [
        f"workers.{jitter} = 2000000 is not used: there is no workers.{what}, which it is added to"
    ]
    assert idle(**{jitter: 5, what: 50}) == []


@pytest.mark.parametrize(
    ("refork_after", "most", "jitter", "missed"),
    [
        ((500,), 501, 0, None),
        ((500,), 500, 0, 500),
        ((500,), 400, 100, 500),
        ((500,), 400, 101, None),
        ((50, 500, "..."), 500, 0, 500),
        ((50, "..."), 500, 0, None),
        ((500,), 0, 0, None),
        ((), 500, 0, None),
    ],
)
def test_a_worker_that_is_replaced_before_becomes_no_mold(refork_after, most, jitter, missed):
    """Unless the jitter lets some live long enough; 0 is no limit."""
    found = idle(refork_after=refork_after, max_requests=most, max_requests_jitter=jitter)
    assert bool(found) is (missed is not None)
    if missed is not None:
        assert found[0].startswith(f"workers.refork_after: no worker becomes a mold after {missed} requests")
        assert f"workers.max_requests is {most}" in found[0]
        assert (f"its jitter {jitter}" in found[0]) is (jitter > 0)
