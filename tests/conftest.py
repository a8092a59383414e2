"""What all tests share."""

import compileall
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, Server

WORKER_TYPES = ["sync", "threadpool", "async", "gevent"]
"""Every worker type joins the contract tests by its name here."""

SUMMARIES = {"faults", "play again", "simulated"}
"""Properties that tests record to have them in the closing lines of a run, from every process of xdist's."""


@pytest.fixture(params=WORKER_TYPES)
def worker_type(request: pytest.FixtureRequest) -> str:
    """Each worker type in turn."""
    name: str = request.param
    return name


def pytest_configure(config: pytest.Config) -> None:
    """Compile pyfork once: with PYTHONDONTWRITEBYTECODE, each of a thousand servers would do so, for 0.4 s.

    The applications are not compiled: a test may change one twice within a second, which their dates would not tell.
    """
    if not hasattr(config, "workerinput"):  # xdist's processes find it done
        compileall.compile_dir(ROOT / "pyfork", quiet=2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which faults were injected by which seeds, and how far was simulated, also when all went well."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, [])]
    lines = [f"{name}: {value}" for report in reports for name, value in report.user_properties if name in SUMMARIES]
    if lines:
        terminalreporter.section("faults and simulations")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that are stopped, checked and cleaned up at the end of the test."""
    servers: list[Server] = []

    def start_server(app: str | None = "hello:app", **keywords: Any) -> Server:
        directory = tmp_path / f"server{len(servers)}"
        directory.mkdir()
        server = Server(directory, app, **keywords)
        servers.append(server)
        return server.start()

    yield start_server
    _end(servers)


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers that the tests of a module share, for tests that leave them as they were.

    The first test that asks for a server starts it; who asks with the same arguments gets the same one, with the log
    from then on. They are stopped, checked and cleaned up at the end of the module.
    """
    servers: dict[str, Server] = {}

    def share_server(app: str | None = "hello:app", **keywords: Any) -> Server:
        key = repr((app, sorted(keywords.items())))
        if key not in servers:
            servers[key] = Server(tmp_path_factory.mktemp("shared"), app, **keywords).start()
        servers[key].turn_page()
        return servers[key]

    yield share_server
    _end(list(servers.values()))


def _end(servers: list[Server]) -> None:
    """Stop servers, check their logs and clean up; fail for the first that has something to object to."""
    failures = []
    running = [server for server in servers if server.is_running]
    for server in running:
        server.begin_to_stop()
    for server in servers:
        try:
            if server in running:
                server.stop()
            server.check_log()
        except AssertionError as error:
            failures.append(error)
        finally:
            server.kill()
            if server.listener is not None:
                server.listener.close()
    assert not failures, failures[0]
