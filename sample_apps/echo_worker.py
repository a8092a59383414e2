"""A worker class of one's own: a raw TCP echo server (docs/custom_workers.md).

cd sample_apps && pyfork -k echo_worker:EchoWorker -b 127.0.0.1:7000 -w 2     then: nc 127.0.0.1 7000
"""

from pyfork.workers.base import Worker


class EchoWorker(Worker):
    """Gives back what it gets, to many clients on one loop."""

    needs_application = False

    def run(self):
        """Serve until told to drain, then until the last client has gone."""
        clients, listeners = {}, {listener.fileno() for listener, _ in self.sockets}
        self.begin_serving()
        while not self.is_orphaned and (clients or listeners):
            ready = self.wait([*clients, *listeners])
            for fd in ready:
                if fd not in listeners:
                    self.echo(fd, clients)
                elif client := self.accept(fd):
                    client.settimeout(5)
                    clients[client.fileno()] = client
            if self.is_draining and not (self.is_stopping and listeners.intersection(ready)):
                listeners.clear()
            self.slot.set_connections(len(clients))

    def echo(self, fd, clients):
        """Answer what has come; let go of a client that has gone or takes nothing for 5 s."""
        try:
            octets = clients[fd].recv(65536)
            clients[fd].sendall(octets)
        except OSError:
            octets = b""
        if not octets:
            clients.pop(fd).close()
