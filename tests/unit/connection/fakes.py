"""A socket and a worker that are scripts: no kernel, no time."""

from pyfork.config.schema import HttpSettings
from pyfork.connection.answer import Answer
from pyfork.connection.context import ConnectionContext, WallClock
from pyfork.gateway.environ import base_environ
from pyfork.gateway.errors import ErrorStream
from pyfork.http1.limits import Limits


class FakeSocket:
    """Receives what the script says, and sends as much at once as it says; None is "not yet"."""

    def __init__(self, *receives, sends=()):
        self.receives = list(receives)
        self.sends = list(sends)
        self.sent = b""
        self.calls = []

    def recv(self, size):
        self.calls.append("recv")
        return self._play(self.receives, b"")

    def send(self, data, flags=0):
        self.calls.append("send")
        count = min(self._play(self.sends, len(data)), len(data))
        self.sent += bytes(data[:count])
        return count

    def fileno(self):
        raise OSError  # there is no kernel to ask

    @staticmethod
    def _play(script, default):
        step = script.pop(0) if script else default
        if step is None:
            raise BlockingIOError
        if isinstance(step, BaseException):
            raise step
        return step

    def setblocking(self, flag):
        self.calls.append("setblocking")

    def setsockopt(self, *option):
        self.calls.append("setsockopt")

    def shutdown(self, how):
        self.calls.append("shutdown")

    def close(self):
        self.calls.append("close")


class FakeProgress:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def begin_request(self, method, path):
        self.told.append("begin")

    def enter_application(self):
        self.told.append("enter")

    def leave_application(self):
        self.told.append("leave")

    def end_request(self, octets, *, is_error):
        self.told.append("end")


def make_context(application=None, *, waits=(), **changes):
    """Return a context whose waits end as ``waits`` says: True in time, and so they all do beyond its end."""
    script = list(waits)

    def wait(connection, events, deadline):
        return script.pop(0) if script else True

    progress = FakeProgress()
    return ConnectionContext(
        application=application,
        make_answer=Answer,
        http=HttpSettings(),
        limits=Limits(),
        base_environ=base_environ(
            server_name="a", server_port="80", errors=ErrorStream(), is_multithread=False, is_multiprocess=True
        ),
        wait=wait,
        make_progress=lambda: progress,
        **{"clock": WallClock(lambda: 0.0), **changes},
    )
