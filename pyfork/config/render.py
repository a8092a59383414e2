"""Writes settings: the effective ones as TOML, and the documents that follow from their declaration.

``python -m pyfork.config.render settings`` prints docs/settings.md, ``... example`` prints server.toml.example;
``make docs`` writes both, and a test holds them equal.
"""

import sys

from pyfork.config.catalogue import SETTINGS
from pyfork.config.load import Loaded
from pyfork.config.pages import example_page, settings_page
from pyfork.config.toml_text import write_settings

PAGES = {"settings": settings_page, "example": example_page}


def to_toml(loaded: Loaded) -> str:
    """Return the effective settings as a server.toml, each with where it comes from as a comment.

    A setting without a value is a comment: TOML has no word for it.
    """
    values = {name: getattr(getattr(loaded.settings, setting.table), setting.key) for name, setting in SETTINGS.items()}
    return "# The settings in effect, and where each comes from.\n" + write_settings(values, loaded.origins)


def main(arguments: list[str]) -> int:
    """Print one of the pages; returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in PAGES:
        sys.stderr.write(f"usage: python -m pyfork.config.render {'|'.join(PAGES)}\n")
        return 2
    sys.stdout.write(PAGES[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
