"""Starts a server that is a library and has no command line of its own: bjoern, fastwsgi.

python embedded.py bjoern hello:app 8000
"""

import importlib
import sys


def main() -> None:
    """Serve the application until a signal ends the process."""
    server_name, application_name, port = sys.argv[1:]
    sys.path.insert(0, "")  # the working directory, as every other server has it
    module, _, attribute = application_name.partition(":")
    application = getattr(importlib.import_module(module), attribute)
    server = importlib.import_module(server_name)
    server.run(application, "127.0.0.1", int(port))


if __name__ == "__main__":
    main()
