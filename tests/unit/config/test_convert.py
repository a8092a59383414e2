"""--convert: a gunicorn.conf.py is run, and what it set becomes a server.toml."""

import sys
import tomllib

import pytest
import toml

from pyfork.config.convert import convert
from pyfork.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _tidy(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("__config__", "shop_settings"):
        monkeypatch.setitem(sys.modules, name, sys)  # so that it is taken away again at the end
        del sys.modules[name]


def run(tmp_path, source, overrides=None):
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(source)
    return convert(str(path), "gunicorn.conf.py", overrides or {})


def test_settings_with_a_counterpart_are_carried_over(tmp_path):
    """With gunicorn's ways of writing: one address without a list, numbers as text, variables as KEY=VALUE."""
    converted = run(
        tmp_path,
        """
import os
bind = ":80"
workers = 2 * 2 + 1
worker_class = "sync"
keepalive = "7"
umask = 0o22
user = 1000
raw_env = ["A=1", "B=2,3"]
pythonpath = "/a,/b"
loglevel = "INFO"
accesslog = None
access_log_format = '%(h)s "%(r)s"'
limit_request_line = 0
reuse_port = True
wsgi_app = "shop.wsgi"
pidfile = os.path.join("/run", "a.pid")
forwarded_allow_ips = "10.0.0.1,10.1.0.0/16"
""",
    )
    assert converted.warnings == ()
    expected = {
        "server": {
            "app": "shop.wsgi",
            "bind": ["0.0.0.0:80"],
            "umask": "0o022",
            "user": "1000",
            "env": {"A": "1", "B": "2,3"},
            "pythonpath": ["/a", "/b"],
            "reuse_port": True,
            "pidfile": "/run/a.pid",
        },
        "workers": {"count": 5, "type": "sync"},
        "http": {"keep_alive": 7, "limit_request_line": 1_048_576},
        "proxy": {"trusted": ["10.0.0.1", "10.1.0.0/16", "unix:"]},
        "log": {"level": "info", "format": '%(h)s "%(r)s"'},
    }
    assert tomllib.loads(converted.text) == toml.loads(converted.text) == expected
    assert converted.values["workers.count"] == 5


def test_what_is_left_out_is_said_and_why(tmp_path):
    """Settings without a counterpart, hooks, slips, and values that are wrong; not what asks for nothing."""
    converted = run(
        tmp_path,
        """
import multiprocessing
_private = worker_clas = 1
cores = 4
spew = True
daemon = False
max_requests_jitter = 0
http_protocols = "h1"
config = "x"
timeout = -3
bind = ["8000"]
def post_fork(server, worker): pass
def helper(): pass
""",
    )
    text = "\n".join(converted.warnings)
    assert len(converted.warnings) == 5
    assert "gunicorn has no such setting; did you mean worker_class?" in text
    assert "spew is left out: use a debugger" in text
    assert "post_fork is left out: it is called with objects of gunicorn's" in text
    assert "left out: gunicorn.conf.py: timeout: workers.timeout must be a number of seconds" in text
    assert "left out: gunicorn.conf.py: bind: server.bind '8000'" in text
    assert tomllib.loads(converted.text) == {"workers": {"max_requests_jitter": 0}}


@pytest.mark.parametrize(("value", "protocol"), [("True", "auto"), ("False", "off"), ("'v2'", "v2")])
def test_the_proxy_protocol_was_a_switch(tmp_path, value, protocol):
    """Older files have it as one."""
    converted = run(tmp_path, f"proxy_protocol = {value}\nproxy_allow_ips = '10.0.0.1'")
    assert converted.values == {"proxy.protocol": protocol, "proxy.allow_from": ("10.0.0.1", "unix:")}
    assert converted.warnings == ()


def test_a_class_becomes_its_dotted_path(tmp_path):
    """gunicorn takes a worker's class itself."""
    converted = run(tmp_path, "class W: pass\nW.__module__ = 'shop.workers'\nworker_class = W")
    assert converted.values["workers.type"] == "shop.workers:W"


@pytest.mark.parametrize("name", ["gunicorn.workers.ggevent.GeventWorker", "egg:gunicorn#gevent"])
def test_gunicorns_worker_classes_become_our_types(tmp_path, name):
    """What they are called there means nothing to pyfork's users."""
    assert run(tmp_path, f"worker_class = '{name}'").values["workers.type"] == "gevent"


def test_flags_are_stronger_than_the_file(tmp_path):
    """The command line's and GUNICORN_CMD_ARGS', as with gunicorn."""
    converted = run(tmp_path, "workers = 2", {"workers.count": ("3", "command line --workers")})
    assert converted.values == {"workers.count": 3}


def test_the_file_can_import_what_lies_beside_pyfork(tmp_path, monkeypatch):
    """gunicorn puts the current directory first; and it has a name and a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_settings.py").write_text("WORKERS = 3")
    source = "import shop_settings\nworkers = shop_settings.WORKERS\nproc_name = __file__ + __name__"
    converted = run(tmp_path, source)
    assert converted.values["workers.count"] == 3
    assert converted.values["server.proc_name"].endswith("gunicorn.conf.py__config__")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("x = = 1", "SyntaxError"),
        ("x = '\0'", "null bytes"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_fails_shows_its_own_traceback(tmp_path, source, reason):
    """The user's frames, not ours."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        run(tmp_path, source)
    assert str(caught.value).startswith("gunicorn.conf.py: it fails when it is run:\n")
    assert "convert.py" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    """Is a configuration error like any other."""
    with pytest.raises(ConfigurationError, match=r"^x\.py: cannot be read: no such file or directory$"):
        convert(str(tmp_path / "x.py"), "x.py", {})


def test_what_the_file_prints_and_values_of_wrong_types_do_not_break_the_output(tmp_path, capsys):
    """The TOML stays TOML, and a value that gunicorn itself would refuse is named, not a crash."""
    converted = run(tmp_path, "print('Loading')\nworkers = 3\nraw_env = {'A': 'B'}\nbind = b'x'\n")
    assert tomllib.loads(converted.text)["workers"] == {"count": 3}
    assert any("bind" in warning for warning in converted.warnings)
    assert capsys.readouterr().out == ""
