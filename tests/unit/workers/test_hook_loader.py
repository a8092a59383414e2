"""What a hook must be: imported with the words of the application's loader, all that is wrong at once."""

import sys

import pytest

from pyfork.config.schema_hooks import HookSettings
from pyfork.errors import ApplicationLoadError, HookError
from pyfork.workers.hook_loader import NO_HOOKS, call_boot_hook, load_hook, load_hooks, load_worker_hooks

MODULE = """
called = []
NUMBER = 1

def birth(number, generation, pid):
    called.append((number, generation, pid))

def failing(number, generation, pid):
    raise ValueError("no")

def request(environ):
    pass

def anything(*arguments, **more):
    pass

class Hooks:
    @staticmethod
    def request(environ):
        pass
"""


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """A module with hooks, and one that cannot be imported."""
    (tmp_path / "shop_hooks.py").write_text(MODULE)
    (tmp_path / "broken_hooks.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("shop_hooks", "broken_hooks"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_hooks_of_a_worker_are_loaded():
    """Those that are set; post_fork comes earlier."""
    settings = HookSettings(
        post_fork="nothing:here",
        pre_request="shop_hooks:request",
        post_request="shop_hooks:anything",
        child_exit="nothing:here",
    )
    hooks = load_worker_hooks(settings)
    assert hooks.pre_request is not None
    assert hooks.pre_request.function is sys.modules["shop_hooks"].request
    assert hooks.worker_ready is hooks.worker_exit is None
    assert load_worker_hooks(HookSettings()) == NO_HOOKS


def test_a_file_is_imported_once():
    """However many hooks it has: they share what is in it."""
    first, second = load_hook("post_fork", "shop_hooks.py:birth"), load_hook("pre_request", "shop_hooks.py:request")
    assert first.function.__globals__ is second.function.__globals__


def test_a_method_will_do():
    """A path may have dots."""
    load_hook("pre_request", "shop_hooks:Hooks.request")
    load_hook("pre_request", "builtins:print")


@pytest.mark.parametrize(
    ("name", "specification", "message"),
    [
        ("pre_request", "nothing_here:a", r"^hooks\.pre_request: the module 'nothing_here' of hook 'nothing_here:a' c"),
        ("pre_request", "nothing.py:a", r"^hooks\.pre_request: the hook's file 'nothing.py' does not exist in "),
        ("pre_request", "broken_hooks:a", r"^hooks\.pre_request: the hook 'broken_hooks' cannot be imported: ZeroDiv"),
        ("pre_request", "shop_hooks:requests", r"has no attribute 'requests'; did you mean 'request'\?"),
        ("pre_request", "shop_hooks:NUMBER", r"^hooks\.pre_request: 'shop_hooks:NUMBER' is not callable: it is an int"),
        ("pre_request", "shop_hooks:birth", r"must take 1 positional argument, \(environ\): missing a required arg"),
        ("post_request", "shop_hooks:request", r"must take 4 positional arguments, \(environ, status, octets, seconds"),
    ],
)
def test_what_is_no_hook_is_refused(name, specification, message):
    """Now, and not when it is called."""
    with pytest.raises(ApplicationLoadError, match=message):
        load_hook(name, specification)


def test_all_that_is_wrong_is_told_at_once():
    """With each traceback once."""
    settings = HookSettings(pre_request="broken_hooks:a", post_request="broken_hooks:b", worker_exit="shop_hooks:exit")
    with pytest.raises(ApplicationLoadError) as found:
        load_hooks(settings, ["pre_request", "post_request", "worker_exit"])
    assert [line.partition(":")[0] for line in str(found.value).splitlines()] == [
        "hooks.pre_request",
        "hooks.post_request",
        "hooks.worker_exit",
    ]
    assert found.value.traceback_text.count("Traceback") == 1


def test_a_hook_of_the_boot_is_called():
    """If it is set; what it raises ends the boot."""
    call_boot_hook(HookSettings(), "post_fork", 0, 1, 2)
    call_boot_hook(HookSettings(post_fork="shop_hooks:birth"), "post_fork", 0, 1, 2)
    assert sys.modules["shop_hooks"].called == [(0, 1, 2)]
    with pytest.raises(HookError, match="raised ValueError: no"):
        call_boot_hook(HookSettings(post_fork="shop_hooks:failing"), "post_fork", 0, 1, 2)
