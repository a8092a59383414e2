"""``python -m pyfork``: the same as the command ``pyfork``.

``-m`` puts the current directory at the head of ``sys.path``, from where the arbiter would import the user's modules
in place of its own libraries' (a ``click.py`` that lies there). The package itself is found already, so it goes.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]

from pyfork.cli.command import main

main()
