"""How exceptions that others raise are told."""

import pytest

from pyfork.errors import QuitNow, describe_code, describe_exception, text_of


def muted(failure: BaseException) -> Exception:
    """Return an exception whose text cannot be had."""

    class Muted(Exception):  # noqa: N818 - an error by nobody's intention
        def __str__(self) -> str:
            raise failure

    return Muted()


def test_an_exception_is_told_by_class_and_text() -> None:
    """As the last line of a traceback does."""
    assert describe_exception(ValueError("no")) == "ValueError: no"
    assert text_of(ValueError()) == ""


@pytest.mark.parametrize("failure", [RuntimeError("no text"), SystemExit(3)])
def test_a_text_that_cannot_be_had_hides_nothing(failure: BaseException) -> None:
    """The class is told, and why there is no more."""
    assert describe_exception(muted(failure)) == f"Muted: (its __str__ raised {type(failure).__name__})"


def test_an_order_to_end_is_obeyed_while_a_text_is_made() -> None:
    """It is not the exception's."""
    with pytest.raises(QuitNow):
        text_of(muted(QuitNow()))


@pytest.mark.parametrize(("code", "told"), [(3, "3"), ("no", "'no'"), (None, "None"), (object(), "'object'")])
def test_what_sys_exit_was_called_with(code: object, told: str) -> None:
    """A value of any other kind may not let itself be told."""
    assert describe_code(SystemExit(code)) == told
