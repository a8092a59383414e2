"""What tests plant in a server: a ``sitecustomize`` that does something when a function of pyfork's is called."""

import os
from pathlib import Path

_WATCH = """
import os, signal, sys
def watch(frame, what, argument):
    code = frame.f_code
    if what == {what!r} and code.co_name == {function!r} and code.co_filename.endswith({file!r}):
        sys.setprofile(None)
        {action}
sys.setprofile(watch)
"""


def plant(directory: Path, source: str) -> dict[str, str]:
    """Return the environment of a server whose processes run ``source`` when they begin."""
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text(source)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH", ""))))}


def plant_at(directory: Path, place: str, action: str, what: str = "call") -> dict[str, str]:
    """Return the environment of a server that does ``action`` the first time that it comes to ``place``.

    Args:
        directory: for the plant.
        place: ``"arbiter/pidfile.py:acquire"``.
        action: one line of Python; ``os``, ``signal`` and ``sys`` are imported.
        what: "call" or "return".
    """
    file, _, function = place.partition(":")
    return plant(directory, _WATCH.format(what=what, function=function, file=f"pyfork/{file}", action=action))
