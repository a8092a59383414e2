"""Finds and imports what is the user's: in the worker or the scratch process of ``--check-config``, never the arbiter.

``app`` is one of ``module``, ``module:attribute``, ``module:factory(1, name="x")``, ``path/to/file.py`` and
``path/to/file.py:attribute``. Without an attribute, ``application`` and then ``app`` are looked for. The arguments of a
factory are literals; nothing is evaluated.

Every way in which it can fail has a message of its own, and a traceback begins with the user's first frame.
"""

import ast
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import Any

from pyfork.config.nearest import nearest_names
from pyfork.config.schema import ServerSettings
from pyfork.errors import ApplicationLoadError, BootError, QuitNow, describe_code, describe_exception, text_of
from pyfork.process.privileges import find_closed, name_user

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

DEFAULT_ATTRIBUTES = ("application", "app")
ARBITER_ONLY = ("click", "tomlkit", "typing_extensions")
"""Pure-Python packages that the arbiter and the command line use: the application imports its own from disk.

msgspec, setproctitle and httptools stay, as the worker uses them and two copies of an extension in one process are
unsafe.
"""


def drop_ghosts() -> None:
    """Forget the modules of others that came with the arbiter, and what the import system remembers of directories.

    An application upgraded on disk would otherwise get the arbiter's old copies.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] in ARBITER_ONLY]:
        del sys.modules[name]
    # Not importlib.invalidate_caches(): since 3.13 it imports modules that the workers' user may not be able to read.
    sys.path_importer_cache.clear()


def enter_application_directory(settings: ServerSettings, environ: Mapping[str, str] | None = None) -> str:
    """Make the process ready for the import: directory, environment and ``sys.path``.

    The directory is ``chdir`` or the one pyfork was started in, as the user wrote it ($PWD): a symbolic link in it is
    followed anew by each worker, so a deploy that switches a link is seen. It comes first in ``sys.path``.

    Returns:
        The directory.

    Raises:
        BootError: the directory is not there or cannot be entered.
    """
    directory = settings.chdir or logical_directory(os.environ if environ is None else environ)
    try:
        os.chdir(directory)
    except OSError as error:
        raise BootError(f"server.chdir: cannot enter {directory}: {error.strerror}") from error
    os.environ["PWD"] = directory
    os.environ.update(settings.env)
    leading = list(dict.fromkeys([directory, *(os.path.join(directory, path) for path in settings.pythonpath)]))
    sys.path[:] = leading + [path for path in sys.path if path not in leading]
    drop_ghosts()
    return directory


def logical_directory(environ: Mapping[str, str]) -> str:
    """Return the current directory as the shell shows it: $PWD where it leads here (POSIX, pwd -L)."""
    shown = environ.get("PWD", "")
    with suppress(OSError):  # $PWD leads nowhere: the kernel's name is the only one
        if os.path.isabs(shown) and os.path.samestat(os.stat(shown), os.stat(".")):
            return shown
    return os.getcwd()


def load_application(specification: str) -> Application:
    """Import what ``specification`` names.

    Raises:
        ApplicationLoadError: it cannot be imported, found or called; the message says which.
    """
    target, attribute = _split(specification)
    module = _import_target(target, specification)
    found = _find_attribute(module, target, attribute, specification)
    if not callable(found):
        raise ApplicationLoadError(
            f"{specification!r} is not callable: it is {describe_kind(found)}; name the WSGI application itself"
        )
    return found


def load_named(specification: str, what: str) -> object:
    """Import what ``specification``, ``module:name`` or ``path/to/file.py:name``, names.

    Args:
        specification: a worker class, or a hook.
        what: which of them, for the message.

    Raises:
        ApplicationLoadError: it cannot be imported or found; the message says which.
    """
    target, _, name = specification.rpartition(":")
    return _walk(_import_target(target, specification, what), target, name)


def _split(specification: str) -> tuple[str, str]:
    """Cut at the colon that ends the module or path; a factory's arguments may contain more of them."""
    head, _, call = specification.partition("(")
    target, colon, name = head.rpartition(":")
    if not colon:
        target, name = head, ""
    attribute = name + ("(" + call if call else "")
    if not target or (colon and not attribute):
        raise ApplicationLoadError(
            f"{specification!r} does not name an application; write module:attribute, as in 'mysite.wsgi:application'"
        )
    return target, attribute


# The import.


def _import_target(target: str, specification: str, what: str = "app") -> ModuleType:
    is_path = target.endswith(".py") or "/" in target
    try:
        return _import_file(target, what) if is_path else importlib.import_module(target)
    except ApplicationLoadError:
        raise
    except ModuleNotFoundError as error:
        if isinstance(error.name, str) and f"{target}.".startswith(f"{error.name}."):
            raise ApplicationLoadError(
                f"the module {target!r} of {what} {specification!r} cannot be found: there is no {error.name!r} in "
                f"{sys.path[0]} (the working directory, which leads sys.path) nor on the rest of the path; "
                f"check the name, server.chdir and server.pythonpath{tell_unreadable(error)}"
            ) from error
        raise _import_failed(target, what, error) from error
    except (TypeError, ValueError) as error:
        if not is_path and error.__traceback__ is not None and not user_traceback(error):
            raise ApplicationLoadError(f"{target!r} is not a module's name: {text_of(error)}") from error
        raise _import_failed(target, what, error) from error
    except QuitNow:
        raise
    except BaseException as error:  # an import may raise anything, SystemExit included
        raise _import_failed(target, what, error) from error


def _import_file(path: str, what: str) -> ModuleType:
    full = os.path.join(sys.path[0], path)
    if not os.path.isfile(full):
        raise ApplicationLoadError(f"{_call_it(what)}'s file {path!r} does not exist in {sys.path[0]}")
    name = os.path.splitext(os.path.basename(full))[0]
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == full:
        return loaded  # the application and its hooks, in one file
    directory = os.path.dirname(full)
    if directory not in sys.path:
        sys.path.insert(1, directory)  # what lies beside the file can be imported, but does not hide the user's own
    specification = importlib.util.spec_from_file_location(name, full)
    if specification is None or specification.loader is None:
        raise ApplicationLoadError(f"{_call_it(what)}'s file {path!r} is not a Python file (.py)")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)  # as the import statement does: nobody gets half a module
        raise
    return module


def _import_failed(target: str, what: str, error: BaseException) -> ApplicationLoadError:
    named = f"{_call_it(what)} {target!r}"
    if isinstance(error, SystemExit):
        message = f"{named} called sys.exit({describe_code(error)}) while it was imported"
    else:
        message = f"{named} cannot be imported: {describe_exception(error)}{tell_unreadable(error)}"
    return ApplicationLoadError(message, user_traceback(error))


def _call_it(what: str) -> str:
    return "the application" if what == "app" else f"the {what}"


# The attribute.


def _find_attribute(module: ModuleType, target: str, attribute: str, specification: str) -> object:
    if not attribute:
        for name in DEFAULT_ATTRIBUTES:
            if hasattr(module, name):
                return getattr(module, name)
        raise ApplicationLoadError(
            f"the module {target!r} has neither {' nor '.join(map(repr, DEFAULT_ATTRIBUTES))}; "
            f"write {target}:NAME to say which object is the application"
        )
    path, positional, keywords = _parse_attribute(attribute, specification)
    found = _walk(module, target, path)
    if positional is None:
        return found
    if not callable(found):
        raise ApplicationLoadError(f"{target}:{path} is not callable: it is {describe_kind(found)}, not a factory")
    try:
        return found(*positional, **keywords)
    except QuitNow:
        raise
    except BaseException as error:  # a factory may raise anything, SystemExit included
        message = f"the factory {specification!r} failed: {describe_exception(error)}{tell_unreadable(error)}"
        raise ApplicationLoadError(message, user_traceback(error)) from error


def _parse_attribute(attribute: str, specification: str) -> tuple[str, list[object] | None, dict[str, object]]:
    try:
        node = ast.parse(attribute, mode="eval").body
    except SyntaxError as error:
        raise ApplicationLoadError(
            f"{attribute!r} in {specification!r} is neither a name nor a call: {error.msg}"
        ) from error
    if not isinstance(node, ast.Call):
        return _dotted_name(node, specification), None, {}
    try:
        positional: list[object] = [ast.literal_eval(argument) for argument in node.args]
        keywords: dict[str, object] = {
            keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg is not None
        }
        is_plain = len(keywords) == len(node.keywords)
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ApplicationLoadError(
            f"the arguments of the factory in {specification!r} must be literals: strings, numbers, True, None, lists, "
            "dictionaries of them"
        )
    return _dotted_name(node.func, specification), positional, keywords


def _dotted_name(node: ast.expr, specification: str) -> str:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ApplicationLoadError(f"{specification!r} must name an attribute or call one, as in 'module:create_app()'")
    return ".".join([node.id, *reversed(names)])


def _walk(module: ModuleType, target: str, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            hint = _suggest(name, dir(found))
            where = f"the module {target!r}" if found is module else f"{describe_kind(found)}"
            raise ApplicationLoadError(f"{where} has no attribute {name!r}{hint}")
        found = getattr(found, name)
    return found


def _suggest(name: str, known: Iterable[str]) -> str:
    try:
        near = nearest_names(name, known)
    except ImportError:  # what compares names is Python's library, which the workers' user may not be able to read
        return ""
    return f"; did you mean {near[0]!r}?" if near else ""


def describe_kind(value: object) -> str:
    """Return what kind of thing a value is, with its article: never the value itself."""
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def tell_unreadable(error: BaseException) -> str:
    """Return why ``error`` may be no fault of who raised it, as the rest of a sentence about it.

    Python's import takes what it may not read for what is not there: "" when nothing is like that, or for other errors.
    """
    if not isinstance(error, ImportError):
        return ""
    library = os.path.dirname(os.__file__)
    closed = list(dict.fromkeys(filter(None, map(find_closed, [library, *sys.path]))))
    if not closed:
        return ""
    named = ", ".join(f"{path}, where Python's library is" if path == find_closed(library) else path for path in closed)
    return f"; {name_user()} cannot read {named}: give that user the right to, or move what it needs to where it can"


# The traceback.


def user_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` from the first frame that is neither ours nor the import system's ("" if none).

    A syntax error has no frame of the user's, but says its file and line itself.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    frames: TracebackType | None = error.__traceback__
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if not name.startswith(own) and not name.startswith("<frozen importlib") and not _is_importlib(name):
            break
        frames = frames.tb_next
    if frames is None and not isinstance(error, SyntaxError):
        return ""
    return "".join(traceback.format_exception(type(error), error, frames))


def _is_importlib(filename: str) -> bool:
    return filename == importlib.__file__
