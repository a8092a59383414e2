"""The command line: argv in, exit status out. ``serve`` is the composition root."""
