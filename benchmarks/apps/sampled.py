"""Serves another application, and samples where the worker's main thread spends its CPU time meanwhile.

A timer sends a signal every millisecond; the handler notes which line of Python runs, and with it the CPU time that
the thread has used since the last one. (A timer of CPU time would be simpler, but the kernel looks at it only at its
own tick, every 10 ms on many systems.) Time inside a C function counts for the line that called it. Signals are
handled between two instructions, at calls and jumps: so a function's figure is right, and a line's may be its
neighbour's.

The application is named by SAMPLED_APP, the file for the figures by SAMPLED_FILE.
"""

import atexit
import importlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.001
_nanoseconds: Counter[tuple[str, str, int]] = Counter()
_last = time.thread_time_ns()


def _note(_number: int, frame: FrameType | None) -> None:
    global _last  # noqa: PLW0603 (one timer, one handler)
    now = time.thread_time_ns()
    if frame is not None:
        code = frame.f_code
        line = frame.f_lineno or code.co_firstlineno  # None between lines
        _nanoseconds[code.co_filename, code.co_qualname, line] += now - _last
    _last = now


def _write() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    rows = [[*place, spent] for place, spent in _nanoseconds.most_common()]
    Path(os.environ["SAMPLED_FILE"]).write_text(json.dumps(rows))


module, _, attribute = os.environ["SAMPLED_APP"].partition(":")
app = getattr(importlib.import_module(module), attribute)
signal.signal(signal.SIGALRM, _note)  # noqa: TID251 (a tool of its own, in a worker that is thrown away)
signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
_last = time.thread_time_ns()
atexit.register(_write)
