"""The benchmark's arithmetic, its reading of reports and its verdicts: a wrong figure would be believed."""

import dataclasses
import importlib
import itertools
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.repo.files import ROOT, text

WRK = """Running 10m test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.76ms    2.20ms  15.27ms   85.10%
    Req/Sec    16.65k     2.36k   19.38k    66.67%
  Latency Distribution
     50%  484.00us
     75%    2.85ms
     90%    4.72ms
     99%    1.20s
  30123 requests in 899.60ms, 4.20MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 5
Requests/sec:  33484.00
"""
PIP = """  Preparing metadata (setup.py): started
  error: subprocess-exited-with-error
      bjoern/server.c:1:10: fatal error: ev.h: No such file or directory
ERROR: Failed building wheel for bjoern
[notice] A new release of pip is available
"""
NAMES = (
    *("figures", "loads", "wrk", "contestants", "limits", "processes", "machine", "idle", "servers", "rounds"),
    *("tables", "chart", "results", "bench", "install", "stages", "hotpath"),
    *("traffic", "launched", "memory", "respawn", "arbiter_memory", "slow", "probes", "strangers", "tls", "checkouts"),
)


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's modules by name: scripts that lie side by side."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def outcome(modules):
    """Three servers' rounds under the load "hello": async costs 8, 10, 12; granian-8 10, 10, 10; sync failed once."""
    load = next(load for load in modules.loads.LOADS if load.name == "hello")
    measured = modules.rounds.Outcome(load)
    costs = {"async": (8.0, 10.0, 12.0), "granian-8": (10.0, 10.0, 10.0), "sync": (60.0, None, 66.0)}
    for server, values in costs.items():
        for number, cost in enumerate(values):
            figures = {} if cost is None else {"cpu": cost, "rate": 1e6 / cost, "p50": 0.25, "p99": 1.0}
            measured.measurements.append(
                modules.rounds.Measurement(server, number, 0 if cost is None else 1000, int(cost is None), figures)
            )
    measured.memory["async"] = 24_400_000
    measured.failures["uwsgi"] = "does not start: no port"
    return measured


def test_wrk_reports_are_read(modules):
    """Errors of every kind are counted; latencies become milliseconds, whatever their unit."""
    wrk = modules.wrk
    assert dataclasses.astuple(wrk.parse(WRK)) == pytest.approx((30123, 11, 0.484, 1200.0, 0.8996))
    assert wrk.parse("  0 requests in 1.00s, 0B read\n") == wrk.Report(0, 0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="no report"):
        wrk.parse("unable to connect to 127.0.0.1:8000 Connection refused")


def test_closes_without_announcement_are_forgiven_once_a_request_and_nothing_else_is(modules):
    """uWSGI closes each connection without a word, and wrk calls that a read error."""
    report = WRK.replace("read 2", "read 30125")
    assert modules.wrk.parse(report, is_closing=True).errors == 11
    assert modules.wrk.parse(report).errors == 30134


def test_a_load_of_new_connections_says_so_and_the_others_keep_theirs(modules):
    """That is what is compared."""
    loads = {load.name: load for load in modules.loads.LOADS}
    assert "Connection: close" in modules.wrk.command(loads["connect"], "http://127.0.0.1/")
    assert "Connection: keep-alive" in modules.wrk.command(loads["hello"], "http://127.0.0.1/")
    assert len(loads["hello"].headers) + 1 == 10  # Host is wrk's


def test_an_interval_of_the_median_covers_it_with_95_percent(modules):
    """For ten values: from the second to the ninth (97.9 %; one rank further in would be 89.1 %)."""
    figures = modules.figures
    assert figures.median_interval(list(range(10))) == (4.5, 1, 8)
    assert figures.median_interval([3, 1, 2]) == (2, 1, 3)
    assert figures.median_interval([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_of_the_same_round(modules):
    """A round that one of them missed says nothing."""
    assert modules.figures.paired_ratios({0: 8.0, 1: 9.0, 3: 1.0}, {0: 10.0, 2: 1.0, 3: 2.0}) == [0.8, 0.5]


def test_a_limit_is_met_when_the_upper_end_of_the_interval_is(modules, outcome):
    """The median alone would be met half of the time by luck."""
    limit, judge = modules.limits.Limit, modules.limits.judge
    limits = [
        limit("hello", "async", "cpu", "granian-8", 1.0),
        limit("hello", "async", "cpu", "granian-8", 1.2),
        limit("hello", "async", "cpu", "granian-8", 0.5, is_aim=True),
        limit("hello", "async", "p99", "", 1.0),
        limit("hello", "gevent", "cpu", "granian-8", 1.0),
        limit("falcon", "async", "cpu", "granian-8", 1.0),
        limit("hello", "sync", "cpu", "async", 100),
    ]
    verdicts = judge(limits, {"hello": outcome})
    assert [verdict.word for verdict in verdicts] == [
        "NOT MET",
        "met",
        "not reached (an aim)",
        "met",
        "not measured",
        "not measured",
        "NOT MET (1 errors)",
    ]
    assert verdicts[0].interval == (1.0, 0.8, 1.2)


def test_every_limit_names_what_exists(modules):
    """A limit with a slip in a name would never be measured, and nobody would see."""
    loads = {load.name: load for load in modules.loads.LOADS}
    contestants = {each.name: each for each in modules.contestants.CONTESTANTS}
    for limit in modules.limits.LIMITS:
        for server in filter(None, (limit.server, limit.against)):
            assert loads[limit.load].takes_part(contestants[server]), str(limit)
        assert limit.against or limit.figure in modules.limits.SINGLE_FIGURES


def test_the_quick_plan_measures_the_limits_of_its_loads(modules):
    """But for the aim, which takes bjoern."""
    quick = modules.bench.QUICK_SERVERS
    for limit in modules.limits.LIMITS:
        if limit.load in quick and not limit.is_aim:
            assert {limit.server, limit.against} <= set(quick[limit.load])


def test_the_table_shows_medians_ratios_errors_and_who_failed(modules, outcome):
    """All of it in one place: a fast server that lost requests must not look well."""
    table = modules.tables.load_table(outcome)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    assert rows[0][0] == "server"
    assert rows[2] == ["async", "10.0", "100,000", "0.25", "1.00", "24", "0", "1.000 [1.000, 1.000]"]
    assert rows[4] == ["sync", "63.0", "15,909", "0.25", "1.00", "-", "1", "6.500 [5.500, 7.500]"]
    assert "- uwsgi left out: does not start: no port" in table


def test_the_arguments_choose_loads_and_servers(modules):
    """And a slip in one of them is told, with what there is."""
    options = modules.bench.parse_options(["--loads", "hello", "--servers", "sync,granian-8", "--rounds", "20"])
    plan, _ = modules.bench.make_plan(options)
    assert [load.name for load, _ in plan] == ["hello"]
    assert {each.name for each in plan[0][1]} <= {"sync", "granian-8"}
    assert options.rounds == 20
    with pytest.raises(SystemExit):
        modules.bench.parse_options(["--servers", "apache"])


def test_whole_and_quick_runs_end_in_the_time_that_is_promised(modules):
    """40 minutes and two, with every server there is."""
    all_of_them = modules.contestants.CONTESTANTS
    options = modules.bench.parse_options([])
    plan = [(load, [each for each in all_of_them if load.takes_part(each)]) for load in modules.loads.LOADS]
    assert 10 * 60 < modules.bench.expected_seconds(plan, options) < 40 * 60
    options = modules.bench.parse_options(["--quick"])
    quick = modules.bench.QUICK_SERVERS
    plan = [(load, [each for each in all_of_them if each.name in quick.get(load.name, ())]) for load, _ in plan]
    assert modules.bench.expected_seconds(plan, options) < 2 * 60


def test_every_peer_is_required_by_a_version(modules):
    """One that is not pinned changes under the figures."""
    pinned = {line.lower() for line in modules.install.read_requirements(text("benchmarks/requirements.txt"))}
    names = {re.fullmatch(r"([a-z0-9-]+)==[0-9.]+", line)[1] for line in pinned}
    peers = {each.distribution.lower() for each in modules.contestants.CONTESTANTS} - {"pyfork"}
    assert peers | {*modules.install.NEEDED} <= names


def test_the_reason_why_a_peer_does_not_install_is_pips_own(modules):
    """Where we have no better one."""
    assert modules.install.last_error(PIP) == "ERROR: Failed building wheel for bjoern"
    assert modules.install.last_error("") == "pip gives no reason"


def test_results_name_no_ones_directories(modules):
    """They are published."""
    assert modules.machine.without_paths(f"{ROOT}/benchmarks/bench.py") == "benchmarks/bench.py"


def test_lines_belong_to_the_stage_that_their_file_or_system_call_says(modules):
    """A profile that calls sending parsing would send its reader the wrong way."""
    stage_of = modules.stages.stage_of
    assert stage_of("/x/pyfork/connection/nonblocking.py", "sent = self.sock.send(data)\n") == "send"
    assert stage_of("/x/pyfork/connection/nonblocking.py", "self._send(data, answer)\n") == "connection"
    assert stage_of("/x/pyfork/connection/nonblocking.py", "data = self.sock.recv(65536)\n") == "receive"
    assert stage_of("/x/pyfork/workers/event_loop.py", "ready = self.poller.poll(1)\n") == "wait"
    assert stage_of("/x/lib/python3.11/socket.py", "fd, addr = self._accept()\n") == "accept"
    assert stage_of("/x/pyfork/http1/response.py", "return head\n") == "encode"
    assert stage_of("/x/pyfork/http1/parser.py", "") == "parse"
    assert stage_of("/x/falcon/app.py", "client.send(x)\n") == "application"


def test_parts_of_a_profile_are_of_the_whole(modules):
    """In the order of the stages; functions by what they took."""
    samples = [
        modules.stages.Sample("/x/falcon/app.py", "App.__call__", 1, 600),
        modules.stages.Sample("/x/pyfork/http1/parser.py", "feed", 1, 300),
        modules.stages.Sample("/x/pyfork/http1/parser.py", "feed", 2, 100),
    ]
    assert modules.stages.by_stage(samples) == [("parse", 0.4), ("application", 0.6)]
    assert modules.stages.by_function(samples)[0] == ("/x/falcon/app.py", "App.__call__", 0.6)
    assert {stage for stage, _ in modules.stages.PLACES} <= set(modules.stages.STAGES)
    assert {stage for stage, _ in modules.stages.SYSTEM_CALLS} <= set(modules.stages.STAGES)
    assert modules.stages.by_stage([]) == []


def test_workers_are_warm_when_each_has_answered_each_request(modules):
    """One that has never rendered a page would take less, and nobody would see."""
    one, two = (modules.traffic.Request(path) for path in ("/1", "/2"))
    assert modules.traffic.missing([one, two], [], 2) == [one, two]
    assert modules.traffic.missing([one, two], [{one, two}, {one}], 2) == [two]
    assert modules.traffic.missing([one, two], [{one, two}, {two, one}], 2) == []


@pytest.fixture
def memory_outcomes(modules):
    """Two rounds of every row of a kind: each by itself 500 and 520 MB, reforked 200 and 260, gunicorn's 400."""
    totals = {
        modules.memory.EACH: (500, 520),
        modules.memory.REFORKED: (200, 260),
        modules.memory.PEER_PRELOADED: (400, 400),
    }
    outcomes = [modules.memory.Outcome(setup) for setup in modules.memory.setups(["sync"])]
    for outcome in outcomes:
        for number, total in enumerate(totals.get(outcome.setup.name, ())):
            outcome.readings[number] = modules.memory.Reading(10_000_000, 0, (total - 10) * 1_000_000)
        outcome.failure = "" if outcome.readings else "not available: there is no mold"
    return outcomes


def test_a_limit_of_memory_is_met_by_the_worst_of_few_rounds(modules, memory_outcomes):
    """The ratios are of the same round: 0.4 and 0.5 of each by itself, 0.5 and 0.65 of gunicorn's."""
    verdicts = modules.memory.judge(memory_outcomes, "sync")
    assert [(limit.at_most, ratio, word) for limit, ratio, word in verdicts] == [
        (0.45, "0.450 [0.400, 0.500]", "NOT MET"),
        (0.65, "0.575 [0.500, 0.650]", "met"),
    ]


def test_the_memory_of_what_is_not_there_is_said_to_be_unmeasured(modules, memory_outcomes):
    """A row without figures must not look like one of zeros."""
    page = modules.memory.write_text(memory_outcomes, {"rounds": "2"})
    assert "- pyfork, preload: not available: there is no mold" in page
    empty = [modules.memory.Outcome(setup) for setup in modules.memory.setups(["sync"])]
    assert [word for _, _, word in modules.memory.judge(empty, "sync")] == ["not measured"] * 2


def test_a_killed_worker_takes_one_request_with_it_and_the_others_none(modules):
    """Two between one kill and the next: one of them was another worker's. Before the first, all were."""
    count = modules.respawn.failures_of_others
    assert count([10.0, 20.0], []) == 0
    assert count([10.0, 20.0], [10.1, 20.2]) == 0
    assert count([10.0, 20.0], [10.1, 10.2]) == 1
    assert count([10.0, 20.0], [9.0, 10.1]) == 1


def test_a_late_replacement_from_a_mold_is_told(modules):
    """The limit is on each time, not on their median; without a mold the import rules."""
    outcome, verdict = modules.respawn.Outcome, modules.respawn.verdict
    mold, none = modules.respawn.ROWS
    assert verdict(mold, outcome((0.02, 0.09))) == "met"
    assert verdict(mold, outcome((0.02, 0.11))) == "NOT MET"
    assert verdict(none, outcome((3.1,))) == "met"
    assert verdict(none, outcome((3.1,), failures=1)) == "NOT MET"
    assert verdict(mold, outcome(problem="not available")) == "not measured"


def test_fresh_requests_among_slow_clients_are_judged_where_there_is_room(modules):
    """By the slowest of them, and by those that were not answered; a crowded server only has figures."""
    slow = modules.slow
    rows = list(slow.rows(["async", "sync"], ["head"], 2000))
    assert rows == [slow.Row("async", "head", 2000), slow.Row("async", "head", 250), slow.Row("sync", "head", 2000)]
    roomy, crowded, sync = rows

    def outcome(*seconds, failures=0):
        return slow.Outcome(slow.Sample([0.001]), slow.Sample(list(seconds), failures))

    assert slow.verdict(roomy, outcome(0.001, 0.1), 2000) == "met"
    assert slow.verdict(roomy, outcome(0.101, *[0.001] * 999), 2000) == "NOT MET"
    assert slow.verdict(roomy, outcome(0.001, failures=1), 2000) == "NOT MET"
    assert slow.verdict(roomy, outcome(), 2000) == "not measured"
    assert slow.verdict(crowded, outcome(3.0), 2000) == slow.verdict(sync, outcome(3.0), 2000) == "-"
    cells = slow.cells(roomy, outcome(0.004, 0.003, 0.002, 0.001, failures=2), 2000)
    assert cells == ["async, head", "2000", "1.0", "1.0", "3.0", "4.0", "4.0", "4", "2", "NOT MET"]
    assert slow.cells(sync, outcome(0.001), 2000)[1] == "1"
    assert slow.cells(sync, slow.Outcome(problem="why"), 2000) == ["sync, head", "1", *"-------", "not measured"]
    text = slow.write_text({roomy: outcome(0.001), sync: slow.Outcome(problem="why")}, 2000, 20)
    assert "- sync, head: why" in text
    assert "slowhttptest -H" in text


def test_the_arbiter_is_judged_by_its_memory_alone(modules):
    """Among its children it shares most of it with them."""
    reading, verdict = modules.arbiter_memory.Reading, modules.arbiter_memory.verdict
    assert verdict(reading(among_children=8_000_000, alone=19_900_000)) == "met"
    assert verdict(reading(among_children=8_000_000, alone=20_000_000)) == "NOT MET"
    assert verdict(reading(problem="there is no mold")) == "not measured"


def test_the_verdicts_on_tls_follow_from_the_rounds(modules):
    """Costs by the interval's upper end; latencies by the ratio of the percentiles, if there was a storm."""
    tls = modules.tls
    verdicts = []
    costs = {"async": {0: 10.0, 1: 12.0}, "threadpool": {0: 10.0, 1: 60.0}, "gunicorn-gthread": {0: 100.0, 1: 100.0}}
    lines = tls.cost_table(costs, verdicts)
    assert verdicts == ["met", "NOT MET", ""]
    assert "0.110 (0.100 to 0.120)" in lines[2]
    calm, loud = tls.Stretch([1.0] * 90 + [2.0] * 10), tls.Stretch([1.0] * 90 + [3.0] * 10, 350.0)
    verdicts.clear()
    lines = tls.storm_table({"async": (400.0, [(calm, loud)] * 3), "gevent": (600.0, [(calm, loud)])}, verdicts)
    assert verdicts == ["met", "not measured: too few handshakes"]
    assert "2.00 |" in lines[2]
    assert "3.00 | 1.50 (1.50 to 1.50)" in lines[2]


def test_a_storm_is_judged_by_the_percentile_of_all_its_requests(modules):
    """A stretch by itself has too few of them: one bad second in ten would be a tenth of the ratios, and no request."""
    tls, estimate = modules.tls, modules.figures.Estimate
    calm, bad = tls.Stretch([1.0] * 1000), tls.Stretch([1.0] * 950 + [9.0] * 50)
    assert tls.p99_ratio([(calm, calm)] * 9 + [(calm, bad)]) == 1.0
    assert tls.p99_ratio([(calm, calm)] * 3 + [(calm, bad)]) == 9.0
    assert tls.storm_verdict(estimate(1.2, 1.0, 1.9), 300, 290) == "met"
    assert tls.storm_verdict(estimate(1.2, 1.0, 2.1), 300, 290) == "met, but its interval goes beyond"
    assert tls.storm_verdict(estimate(2.1, 1.9, 2.3), 300, 290) == "NOT MET"
    assert tls.storm_verdict(estimate(1.2, 1.0, 1.9), 300, 200) == "not measured: too few handshakes"
    options = modules.tls.argparse.Namespace(rounds=None, seconds=0.5)
    assert tls.extent(options, "storm") == (tls.ROUNDS["storm"], 0.5)


def test_rounds_are_drawn_anew_as_wholes(modules):
    """What disturbs a request disturbs its neighbours: as many values as there are rounds are independent, no more."""
    figures = modules.figures
    assert figures.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert figures.percentile([1.0, 2.0, 3.0, 4.0], 1.0) == 4.0
    seen = []

    def mean(rounds):
        seen.append([tuple(each) for each in rounds])
        return sum(map(sum, rounds)) / sum(map(len, rounds))

    rounds = [[number, number] for number in range(20)]
    value, low, high = figures.resampled_interval(rounds, mean)
    assert value == 9.5
    assert 6.5 < low < 7.6
    assert 11.4 < high < 12.5  # 9.5, and twice its standard error of 1.3 to both sides
    assert all(len(drawn) == 20 and {*drawn} <= {(number, number) for number in range(20)} for drawn in seen)
    assert figures.resampled_interval(rounds, mean) == (value, low, high)
    assert figures.resampled_interval([[1.0]], mean) == (1.0, 1.0, 1.0)


def test_a_late_answer_counts_for_all_that_it_holds_up_and_a_late_clock_does_not(modules):
    """The one would flatter the server ("coordinated omission"), the other blame it for the client's machine."""
    waits_since = modules.probes.waits_since
    assert waits_since(due=10.0, freed=9.0, woken=10.0) == 10.0
    assert waits_since(due=10.0, freed=9.0, woken=10.3) == 10.3
    assert waits_since(due=10.0, freed=10.2, woken=10.3) == 10.0


def test_strangers_come_by_chance_and_as_often_as_was_said(modules):
    """At the same moments for every server: none has the worse luck."""
    moments = [next_one for next_one, _ in zip(modules.strangers.moments(300.0, 7), range(3000), strict=False)]
    assert moments == sorted(moments)
    assert moments[-1] == pytest.approx(10.0, rel=0.1)
    assert sum(later - one < 0.001 for one, later in itertools.pairwise(moments)) > 600  # steady ones would never
    again = modules.strangers.moments(300.0, 7)
    assert [next(again) for _ in range(3)] == moments[:3]
    assert next(modules.strangers.moments(300.0, 8)) != moments[0]


@pytest.fixture
def repository(tmp_path):
    """A git repository with a revision without ``pyfork/``, and one with, tagged v1."""
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")

    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    (tmp_path / "README").write_text("nothing yet")
    git("add", ".")
    git("commit", "-m", "without")
    (tmp_path / "pyfork").mkdir()
    (tmp_path / "pyfork" / "__init__.py").write_text("old = True\n")
    git("add", ".")
    git("commit", "-m", "with")
    git("tag", "v1")
    return tmp_path


def test_another_revision_is_unpacked_and_removed(modules, repository):
    """However the run ends: nothing of it stays on the machine, nor in the repository."""
    checkouts = modules.checkouts
    assert checkouts.last_tag(repository) == "v1"
    assert not checkouts.describe_this(repository).endswith("with changes")
    (repository / "pyfork" / "__init__.py").write_text("old = False\n")
    assert checkouts.describe_this(repository).endswith("with changes")
    seen = []
    with pytest.raises(KeyboardInterrupt), checkouts.unpacked("v1", repository) as other:  # noqa: PT012 (it must be unpacked first)
        assert (other.root / "pyfork" / "__init__.py").read_text() == "old = True\n"
        assert other.title == f"v1 ({checkouts.find_revision('v1', repository)[:7]})"
        seen.append(other.root)
        raise KeyboardInterrupt
    assert not seen[0].exists()
    revision = checkouts.find_revision("v1", repository)
    with checkouts.unpacked(revision, repository) as other:
        assert other.title == revision[:7]


@pytest.mark.parametrize(
    ("name", "reason"), [("nothing", "git knows no revision nothing"), ("--all", "no revision"), ("v1~1", "pathspec")]
)
def test_a_revision_that_cannot_be_measured_is_told_in_a_line(modules, repository, name, reason):
    """A traceback would not say that it was a slip."""
    with (
        pytest.raises(modules.checkouts.CheckoutError, match=reason) as caught,
        modules.checkouts.unpacked(name, repository),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_directory_without_git_is_told_in_a_line(modules, tmp_path):
    """An archive of the sources has none; and a repository may have no tags."""
    with pytest.raises(modules.checkouts.CheckoutError, match="not a git repository"):
        modules.checkouts.find_revision("HEAD", tmp_path)
    subprocess.run(["git", "-C", str(tmp_path), "init", "--quiet"], check=True)
    with pytest.raises(modules.checkouts.CheckoutError, match="no tag"):
        modules.checkouts.last_tag(tmp_path)


def test_a_server_of_another_checkout_is_found_out(modules, tmp_path):
    """The environment has an editable install: without a check both might be the same, and equal."""
    own, foreign = str(tmp_path / "pyfork" / "cli" / "serve.py"), str(tmp_path / "pyfork-old" / "errors.py")
    assert modules.checkouts.strangers([own, foreign], tmp_path) == [foreign]


def test_the_arguments_choose_what_two_checkouts_serve(modules, capsys):
    """And a slip in one of them is a line with what there is."""
    parse = modules.checkouts.parse_options
    options = parse(["v1", "--types", "sync,async", "--rounds", "3"])
    assert (options.other, options.types, options.loads) == ("v1", ("sync", "async"), ("hello", "falcon"))
    assert (options.rounds, options.launches, options.foreign) == (3, 3, math.inf)
    for arguments in (["--loads", "idle"], ["--types", "tornado"], ["--rounds", "0"]):
        with pytest.raises(SystemExit) as caught:
            parse(arguments)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_two_checkouts_are_judged_by_the_whole_interval(modules):
    """Between the two nobody knows; rounds that others disturbed are left out where that was asked for."""
    checkouts = modules.checkouts
    judge = checkouts.judge
    assert judge([0.98, 0.99, 1.0, 1.0, 1.01, 1.02], 1.03) == "met"
    assert judge([1.04, 1.04, 1.05, 1.05, 1.06, 1.06], 1.03) == "NOT MET"
    assert judge([0.9, 0.9, 1.0, 1.0, 1.0, 1.1], 1.03) == judge([1.02, *[1.2] * 5], 1.03) == "undecided"
    assert judge([1.0] * 5, 1.03) == judge([2.0] * 5, 1.03) == "undecided: fewer than 6 rounds"
    load = next(load for load in modules.loads.LOADS if load.name == "hello")
    turns = [
        modules.rounds.Measurement(name, number, 100, 0, {"cpu": cpu, "foreign": foreign})
        for number, this, foreign in ((0, 10.0, 0.01), (1, 11.0, 0.02), (2, 40.0, 0.5))
        for name, cpu in (("this", this), ("other", 10.0))
    ]
    comparison = checkouts.Comparison("async", load, turns)
    lines, verdicts = checkouts.table([comparison], checkouts.parse_options(["v1"]))
    assert verdicts == ["undecided: fewer than 6 rounds"]
    assert "1.100 [1.000, 4.000]" in lines[2]
    options = checkouts.parse_options(["v1", "--foreign", "0.1"])
    lines, verdicts = checkouts.table([comparison], options)
    assert "1.050 [1.000, 1.100]" in lines[2]
    assert "- async, hello: 1.000 1.100 (1 rounds left out: others' work)" in checkouts.details([comparison], options)
    _, verdicts = checkouts.table([comparison], checkouts.parse_options(["v1", "--foreign", "0.001"]))
    assert verdicts == ["not measured"]


def test_the_command_lines_of_two_checkouts_have_old_settings_only(modules):
    """A revision need not know those of today."""
    for kind in modules.checkouts.TYPES:
        flags = {word for word in modules.checkouts.command(kind) if word.startswith("-")}
        assert flags <= {"-m", "-b", "-w", "-k", "--threads"}
