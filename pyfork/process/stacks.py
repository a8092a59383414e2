"""The stacks of all threads on demand: ``kill -URG`` to a worker writes them to the error log.

``faulthandler`` does it in C, so it works while the interpreter is busy in C or in an endless loop. SIGURG is what the
kernel ignores by default: one sent too early or to the wrong process harms nobody.
"""

import faulthandler
import signal

STACKS_SIGNAL = signal.SIGURG


def register_stacks(fd: int) -> None:
    """Write the stacks to ``fd`` when SIGURG arrives; called in the worker and in the mold.

    Once: a log that is opened anew keeps the number of its descriptor.
    """
    faulthandler.register(STACKS_SIGNAL, file=fd, all_threads=True, chain=False)
