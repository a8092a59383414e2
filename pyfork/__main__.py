"""``python -m pyfork``: the same as the command ``pyfork``."""

from pyfork.cli.command import main

main()
