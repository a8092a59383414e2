"""The kernel's socket below TLS, as a script."""

import math
import socket


class Raw:
    """The kernel's socket: scripts of what comes, and room for what goes."""

    family = socket.AF_INET

    def __init__(self):
        self.come = []
        self.room = math.inf
        self.gone = b""
        self.calls = []

    def setblocking(self, flag):
        pass

    def fileno(self):
        return 9

    def recv(self, size, flags=0):
        if not self.come:
            raise BlockingIOError
        step = self.come[0] if flags else self.come.pop(0)
        if isinstance(step, OSError):
            raise step
        return step

    def send(self, data, flags=0):
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: min(self.room, len(data))])
        self.room -= len(taken)
        self.gone += taken
        return len(taken)

    def shutdown(self, how):
        self.calls.append("shutdown")
        if self.room < 0:
            raise OSError

    def close(self):
        self.calls.append("close")

    def taken(self):
        gone, self.gone = self.gone, b""
        return gone
