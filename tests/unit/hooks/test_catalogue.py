"""The table of hooks, and how they are called in a log."""

from pyfork.config.schema_hooks import HookSettings
from pyfork.hooks.catalogue import KINDS, Side, chosen, describe, describe_failure


def test_every_setting_is_a_hook_and_every_hook_a_setting():
    """But for the one that is a number."""
    assert {*KINDS} == {*HookSettings.__struct_fields__} - {"timeout"}


def test_each_side_has_its_hooks():
    """What runs in a process of its own gets values that mean something without the arbiter."""
    own = [name for name, kind in KINDS.items() if kind.side is Side.OWN]
    assert own == ["on_starting", "when_ready", "on_reload", "pre_fork", "worker_stuck", "child_exit", "on_exit"]
    assert {KINDS[name].arguments for name in own} == {("event", "pid", "status")}
    assert KINDS["before_mold_freeze"].side is Side.MOLD


def test_those_that_are_set_are_chosen():
    """Of all sides."""
    settings = HookSettings(post_fork="a:b", child_exit="c:d")
    assert chosen(settings) == {"post_fork": "a:b", "child_exit": "c:d"}
    assert chosen(HookSettings()) == {}


def test_a_failure_is_described():
    """By the hook's name and path, and by what it did."""
    assert describe("on_exit", "a:b") == "the hook on_exit (a:b)"
    assert describe_failure("on_exit", "a:b", ValueError("no")) == "the hook on_exit (a:b) raised ValueError: no"
    assert describe_failure("on_exit", "a:b", ValueError()) == "the hook on_exit (a:b) raised ValueError"
    assert describe_failure("on_exit", "a:b", SystemExit(2)) == "the hook on_exit (a:b) called sys.exit(2)"
    mute = type("Mute", (Exception,), {"__str__": lambda _: int("no number")})()
    assert describe_failure("on_exit", "a:b", mute) == (
        "the hook on_exit (a:b) raised Mute: (its __str__ raised ValueError)"
    )
    assert describe_failure("on_exit", "a:b", SystemExit([])) == "the hook on_exit (a:b) called sys.exit('list')"


def test_the_consequence_is_always_told():
    """Also that there is none."""
    assert KINDS["on_starting"].consequence == "pyfork does not start"
    assert KINDS["child_exit"].consequence == "nothing is stopped by that"
