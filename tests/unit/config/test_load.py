"""The sources together: who overrides whom, where paths lead, and that all problems come at once."""

import os

import pytest

from pyfork.config.load import Loaded, LoadRequest, absolute, examine, load
from pyfork.errors import ConfigurationError


def ask(tmp_path, toml=None, environ=None, overrides=None, file=None) -> Loaded:
    if toml is not None:
        (tmp_path / (file or "server.toml")).write_text(toml)
    return load(LoadRequest(str(tmp_path), environ or {}, overrides or {}, file))


def test_the_later_source_overrides_the_earlier(tmp_path):
    """defaults < file < environment < command line, each with its origin."""
    toml = "[workers]\ncount = 2\ntimeout = 2\nboot_timeout = 2\n"
    environ = {"PYFORK_WORKERS_TIMEOUT": "3", "PYFORK_WORKERS_BOOT_TIMEOUT": "3"}
    overrides = {"workers.boot_timeout": ("4", "command line --boot-timeout")}
    loaded = ask(tmp_path, toml, environ, overrides)
    workers = loaded.settings.workers
    assert (workers.graceful_timeout, workers.count, workers.timeout, workers.boot_timeout) == (30, 2, 3, 4)
    assert loaded.origins["workers.graceful_timeout"] == "default"
    assert loaded.origins["workers.count"] == "server.toml"
    assert loaded.origins["workers.timeout"] == "environment PYFORK_WORKERS_TIMEOUT"
    assert loaded.origins["workers.boot_timeout"] == "command line --boot-timeout"


def test_server_toml_is_read_when_it_is_there(tmp_path):
    """Without it, the defaults serve; with another file, it is not looked at."""
    assert ask(tmp_path).file is None
    assert ask(tmp_path, "[workers]\ncount = 2").settings.workers.count == 2
    loaded = ask(tmp_path, "[workers]\ncount = 3", file="other.toml")
    assert loaded.settings.workers.count == 3
    assert loaded.file == str(tmp_path / "other.toml")


def test_a_dangling_server_toml_is_a_mistake(tmp_path):
    """Serving the defaults because a link leads nowhere would hide it."""
    os.symlink("gone.toml", tmp_path / "server.toml")
    with pytest.raises(ConfigurationError, match=r"server\.toml: there is no such configuration file"):
        ask(tmp_path)


def test_port_is_used_only_without_any_bind(tmp_path):
    """Not even a wrong PORT matters when somebody else says where to listen."""
    loaded = ask(tmp_path, environ={"PORT": "8080"})
    assert loaded.settings.server.bind == ("0.0.0.0:8080",)
    assert loaded.origins["server.bind"] == "environment PORT"
    for source in ({"environ": {"PORT": "x", "PYFORK_SERVER_BIND": ":1"}}, {"toml": "[server]\nbind = [':1']"}):
        given = {"environ": {"PORT": "x"}, **source}
        assert ask(tmp_path, **given).settings.server.bind == ("0.0.0.0:1",)


def test_forwarded_allow_ips_is_gunicorns_default(tmp_path):
    """Platforms set it for everybody, so it is used only where the application has not said whom it trusts."""
    environ = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8, 10.0.0.1"}
    loaded = ask(tmp_path, environ=environ)
    assert loaded.settings.proxy.trusted == ("10.0.0.0/8", "10.0.0.1", "unix:")
    assert loaded.origins["proxy.trusted"] == "environment FORWARDED_ALLOW_IPS"
    loaded = ask(tmp_path, "[proxy]\ntrusted = []", environ)
    assert loaded.settings.proxy.trusted == ()
    assert ask(tmp_path, environ={**environ, "PYFORK_PROXY_TRUSTED": "*"}).settings.proxy.trusted == ("*",)


def test_all_problems_are_reported_at_once(tmp_path):
    """Of every source, also of one that a stronger source replaces; the file's name is as short as it can be."""
    toml = "[workers]\ncount = 'x'\ntype = ''\nfoo = 1\n"
    with pytest.raises(ConfigurationError) as caught:
        ask(tmp_path, toml, {"PORT": "x", "PYFORK_WORKERS_COUNT": "3"}, {"http.keep_alive": ("-1", "command line")})
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == [
        "server.toml:",  # the unknown key
        "environment",  # PORT
        "server.toml:",
        "server.toml:",
        "command",
    ]


def test_a_file_that_cannot_be_read_does_not_hide_the_rest(tmp_path):
    """Its problem and the others' come together; whether it names an application cannot be known."""
    examined = examine(LoadRequest(str(tmp_path), {"PYFORK_WORKERS_COUNT": "0"}, {}, "gone.toml"))
    assert len(examined.problems) == 2
    assert examined.has_application
    assert not examine(LoadRequest(str(tmp_path), {}, {})).has_application


def test_relative_paths_start_at_chdir_and_that_where_pyfork_started(tmp_path):
    """As in gunicorn; and links and dots stay as they were written, for the next reload may see them otherwise."""
    toml = """
    [server]
    chdir = "./current/app"
    bind = ["unix:run/a.sock", "unix:@name", ":80", "unix:/abs.sock"]
    pythonpath = ["lib", "/usr/lib", "."]
    pidfile = "../a.pid"
    [log]
    error = "log/error.log"
    access = "-"
    config = "logging.ini"
    """
    settings = ask(tmp_path, toml).settings
    base = f"{tmp_path}/current/app"
    assert settings.server.chdir == base
    assert settings.server.bind == (f"unix:{base}/run/a.sock", "unix:@name", "0.0.0.0:80", "unix:/abs.sock")
    assert settings.server.pythonpath == (f"{base}/lib", "/usr/lib", base)
    assert settings.server.pidfile == f"{base}/../a.pid"
    assert (settings.log.error, settings.log.access) == (f"{base}/log/error.log", "-")
    assert settings.log.config == f"{base}/logging.ini"


def test_chdir_is_the_start_directory_by_default(tmp_path):
    """So that a worker returns there by its name: the link in it may lead elsewhere by then."""
    loaded = ask(tmp_path)
    assert loaded.settings.server.chdir == str(tmp_path)
    assert loaded.origins["server.chdir"] == "default"
    assert loaded.settings.log.access is None


def test_a_socket_path_must_fit_when_it_is_absolute(tmp_path):
    """What the user wrote is short enough, what the kernel gets is not."""
    with pytest.raises(ConfigurationError, match="at most 107 octets"):
        ask(tmp_path, "[server]\nchdir = '/" + "a" * 100 + "'\nbind = ['unix:name.sock']")


def test_values_that_do_nothing_are_doubted(tmp_path):
    """async has no threads, and an unknown variable may be a slip."""
    overrides = {"workers.threads": ("2", "-"), "workers.type": ("async", "-")}
    loaded = ask(tmp_path, environ={"PYFORK_SERVICE_HOST": "x"}, overrides=overrides)
    assert len(loaded.warnings) == 2
    assert loaded.warnings[1] == "workers.threads = 2 is not used: a worker of type async has no threads"
    assert loaded.settings.workers.type == "async"
    [warning] = ask(tmp_path, "[workers]\nmax_lifetime_jitter = 5").warnings
    assert warning.startswith("workers.max_lifetime_jitter = 5 is not used")
    assert ask(tmp_path, "").warnings == ()


def test_threads_choose_the_threadpool(tmp_path):
    """As in gunicorn, from whatever source; the origin says why."""
    loaded = ask(tmp_path, environ={"PYFORK_WORKERS_THREADS": "4"})
    assert loaded.settings.workers.type == "threadpool"
    assert loaded.origins["workers.type"] == "because of workers.threads, from environment PYFORK_WORKERS_THREADS"
    assert loaded.warnings == ()
    assert ask(tmp_path, "[workers]\nthreads = 1").settings.workers.type == "sync"
    assert ask(tmp_path, "[workers]\nthreads = 4\ntype = 'thread'").settings.workers.type == "thread"


@pytest.mark.parametrize("name", ["threadpool", "thread", "gthread"])
def test_one_thread_is_warned_of(tmp_path, name):
    """It is the default, as in gunicorn, and hardly what is meant."""
    overrides = {"workers.type": (name, "command line --worker-class")}
    assert ask(tmp_path, overrides=overrides).warnings == (
        f"{name} with threads = 1 serves one request at a time; set workers.threads",
    )
    assert ask(tmp_path, "[workers]\nthreads = 2", overrides=overrides).warnings == ()


def test_sync_with_threads_is_the_threadpool_too(tmp_path):
    """gunicorn takes gthread for an explicit sync with threads; here a warning says so."""
    loaded = ask(tmp_path, "[workers]\nthreads = 4\ntype = 'sync'")
    assert loaded.settings.workers.type == "threadpool"
    assert loaded.warnings == (
        "workers.type is sync and workers.threads is 4: threadpool serves, as gthread does in gunicorn",
    )


@pytest.mark.parametrize(
    ("name", "worker_type"),
    [
        ("egg:gunicorn#sync", "sync"),
        ("egg:gunicorn#gthread", "gthread"),
        ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
        ("gunicorn.workers.gthread:ThreadWorker", "threadpool"),
        ("gevent_pywsgi", "gevent"),
    ],
)
def test_gunicorns_worker_classes_stand_for_our_types(tmp_path, name, worker_type):
    """With a warning that says so; a class of the user's own stays."""
    loaded = ask(tmp_path, overrides={"workers.type": (name, "command line --worker-class")})
    assert loaded.settings.workers.type == worker_type
    assert (
        loaded.warnings[0]
        == f"command line --worker-class: workers.type {name} is gunicorn's; {worker_type} takes its place"
    )
    assert ask(tmp_path, overrides={"workers.type": ("shop.Own", "-")}).settings.workers.type == "shop.Own"


@pytest.mark.parametrize(
    ("path", "result"),
    [("a", "/b/a"), ("/a", "/a"), (".", "/b"), ("./", "/b"), ("././/a/../c", "/b/a/../c"), ("..", "/b/..")],
)
def test_paths_are_joined_as_text(path, result):
    """No link is resolved, no dots are folded."""
    assert absolute(path, "/b") == result
