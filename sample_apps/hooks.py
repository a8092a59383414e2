"""Every hook of pyfork's, each telling when it is called, where, and with what (docs/hooks.md).

Run it from the directory sample_apps::

    export HOOKS_LOG=/tmp/hooks.txt
    pyfork --on-starting hooks:on_starting --post-fork hooks:post_fork --post-request hooks:post_request hooks:app

and try::

    curl http://127.0.0.1:8000/
    cat /tmp/hooks.txt

Each line begins with the process that wrote it: those of a worker have its pid, the others one of their own each.
"""

import os


def tell(*values):
    """Add a line to the file that HOOKS_LOG names: one write, so that lines of several processes do not mix."""
    line = " ".join(map(str, (os.getpid(), *values))) + "\n"
    log = os.open(os.environ["HOOKS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(log, line.encode())
    os.close(log)


# In processes of their own. What came before them matters more than when they run: they hold up nobody, but for the
# first and the last.


def on_starting(event, pid, status):
    """Run before the first worker: what it raises ends the start. The place for migrations and checks."""
    tell(event, pid, status)


def when_ready(event, pid, status):
    """Run when the first worker serves: tell a load balancer."""
    tell(event, pid, status)


def on_reload(event, pid, status):
    """Run when HUP begins to load."""
    tell(event, pid, status)


def pre_fork(event, pid, status):
    """Run when a worker is about to be started; it has no pid yet."""
    tell(event, pid, status)


def worker_stuck(event, pid, status):
    """Run when a worker has missed its deadline: alert somebody."""
    tell(event, pid, status)


def child_exit(event, pid, status):
    """Run when a worker has ended: ``status`` is its exit status, or the name of the signal that ended it."""
    tell(event, pid, status)


def on_exit(event, pid, status):
    """Run when all workers have ended; ``status`` is what pyfork exits with."""
    tell(event, pid, status)


# In the worker (or the mold).


def post_fork(number, generation, pid):
    """Run at the worker's birth: seed, open connections, set up tracing; what it raises ends the boot."""
    tell("post_fork", number, generation, pid)


def before_mold_freeze(serial, generation, pid):
    """Run in a mold when the application is there: close the connections that workers must not share."""
    tell("before_mold_freeze", serial, generation, pid)


def worker_ready(number, generation, pid):
    """Run before the worker accepts: warm up; what it raises ends the boot."""
    tell("worker_ready", number, generation, pid)


def pre_request(environ):
    """Run before the application, which sees what is changed in ``environ``."""
    environ["hooks.greeting"] = "Hello from pre_request"
    tell("pre_request", environ["PATH_INFO"])


def post_request(environ, status, octets, seconds):
    """Run when the response has been sent: count, measure."""
    assert seconds >= 0
    tell("post_request", environ["PATH_INFO"], status, octets)


def worker_exit(number, generation, pid):
    """Run after the worker's last request: flush what it has gathered."""
    tell("worker_exit", number, generation, pid)


def application(environ, start_response):
    """Say what a hook has left in the environ."""
    body = f"{environ.get('hooks.greeting', 'no hook was here')}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


app = application

if "HOOKS_LOG" in os.environ:
    tell("imported")
