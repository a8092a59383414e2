"""Serves another application, and writes down where the pyfork comes from that serves it.

The application is named by ORIGIN_APP; the files of all of pyfork's modules go to ORIGIN_FILE, a line each. What is
served is the application itself: a request meets nothing of this.
"""

import importlib
import os
import sys
from pathlib import Path

_files = {str(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "pyfork"}
Path(os.environ["ORIGIN_FILE"]).write_text("\n".join(sorted(_files)), "utf-8")
_module, _, _attribute = os.environ["ORIGIN_APP"].partition(":")
app = getattr(importlib.import_module(_module), _attribute)
