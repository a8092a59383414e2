"""Who fails what of the HTTP corpus: pyfork's worker types and six other servers, over real sockets.

    make compare-http                                            a few minutes; results/compare-http.md
    make compare-http ARGS='--servers cheroot --cases chunk'     some of it, printed only

Each case is sent on a connection of its own, with a further request behind it unless it is left unfinished. Who answers
nothing for a while has not answered; it gets a second, longer chance, since the machine may be busy.
"""

import argparse
import importlib.metadata
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from contestants import LEFT_OUT
from http_exchange import CANARY, exchange
from http_peers import PEERS, Peer
from http_verdicts import CHOICES, GOES_ON, HANGS, KINDS, Choices, Fault, find_fault, is_refused
from launched import Launched, LaunchError, launched

from tests.corpus_files import Case, load_cases

HERE = Path(__file__).resolve().parent
SECONDS = 1.0
"""How long a server may be silent."""
AGAIN_SECONDS = 4.0
"""And how long when it is asked again."""


@dataclass
class Outcome:
    """What one server made of the cases.

    Attributes:
        name: the server's, with its version.
        faults: by the case's name.
        failure: why there is nothing else, "" if there is.
    """

    name: str
    faults: dict[str, Fault] = field(default_factory=dict)
    failure: str = ""


def main() -> int:
    """Run, print and write the results."""
    arguments = _arguments()
    choices = Choices(CHOICES.read_text())
    cases, others = split(load_cases())
    cases = [case for case in cases if arguments.cases in f"{case.family}: {case.name}"]
    outcomes = []
    for peer in PEERS:
        if arguments.servers and not any(name in peer.name for name in arguments.servers.split(",")):
            continue
        outcomes.append(run(peer, cases, choices))
        print(f"{outcomes[-1].name}: {outcomes[-1].failure or len(outcomes[-1].faults)}", flush=True)
    page = render(cases, outcomes, choices, len(others))
    print(page)
    if not arguments.servers and not arguments.cases:
        (HERE / "results" / "compare-http.md").write_text(page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="", help="parts of their names, with commas between them")
    parser.add_argument("--cases", default="", help='a part of "family: name"')
    return parser.parse_args()


def split(cases: list[Case]) -> tuple[list[Case], list[Case]]:
    """Return the cases that any server can be asked, and those that are about limits set for the case."""
    return [case for case in cases if not case.limits], [case for case in cases if case.limits]


def run(peer: Peer, cases: Sequence[Case], choices: Choices) -> Outcome:
    """Start a server, send it the cases, stop it."""
    reasons = json.loads(LEFT_OUT.read_text()) if LEFT_OUT.exists() else {}
    if peer.distribution in reasons:
        return Outcome(peer.name, failure=reasons[peer.distribution])
    outcome = Outcome(f"{peer.name} {importlib.metadata.version(peer.distribution)}")
    command = [argument.replace("{scripts}", str(Path(sys.executable).parent)) for argument in peer.arguments]
    try:
        with launched(command) as server:
            server.wait_until(lambda: _is_serving(server), "it serves")
            for case in cases:
                fault = ask(server.port, case, choices.find(case.name), answers_once=peer.answers_once)
                if fault is not None:
                    outcome.faults[case.name] = fault
                if server.process.poll() is not None:
                    outcome.failure = f"it ended with {case.name}: {server.last_words()}"
                    break
    except (LaunchError, OSError) as error:
        outcome.failure = str(error)
    return outcome


def _is_serving(server: Launched) -> bool:
    try:
        return exchange(server.port, CANARY, SECONDS).octets.startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def ask(port: int, case: Case, choice: str | None, *, answers_once: bool) -> Fault | None:
    """Send a case and judge the answers; ask again when there is none.

    A client that has asked for the end of the connection sends nothing behind that. So the case must be served as it
    is; and with the canary behind it, the canary must not be.
    """
    canaries = [CANARY]
    if case.state == "waiting":
        canaries = [b""]
    elif case.state == "closed" and not is_refused(case):
        canaries = [b"", CANARY]
    for canary in canaries:
        for seconds in (SECONDS, AGAIN_SECONDS):
            answers = exchange(port, case.octets + canary, seconds, ends=case.state == "waiting")
            fault = find_fault(case, answers, choice, answers_once=answers_once)
            if fault is None or fault.kind != HANGS:
                break
        if fault is not None and (canary == canaries[0] or fault.kind == GOES_ON):
            return fault
    return None


def render(cases: Sequence[Case], outcomes: Sequence[Outcome], choices: Choices, left_out: int) -> str:
    """Return the page: a table by family, one by kind of fault, and the names."""
    by_name = {case.name: case for case in cases}
    free = sum(choices.find(case.name) is not None for case in cases)
    lines = [
        "# Who fails what of the HTTP corpus",
        "",
        f"{len(cases)} cases of `tests/corpus/http1/`, sent over sockets by `make compare-http`. In {free} of them",
        "the RFCs leave a choice, and any server may make it as it likes (`benchmarks/http_choices.txt`).",
        f"{left_out} further cases are about limits that are set for the case, and left out.",
        "`benchmarks/http_verdicts.py` has the rules, `benchmarks/http_peers.py` the command lines.",
        "",
        *_count("family", lambda case: case.family, cases, outcomes),
        *_count("section", section_of, cases, outcomes),
    ]
    lines += ["", "## Faults by kind", "", _row(["kind", *(each.name for each in outcomes)])]
    lines.append(_row(["---", *["---:"] * len(outcomes)]))
    for kind in KINDS:
        lines.append(_row([kind, *(sum(fault.kind == kind for fault in each.faults.values()) for each in outcomes)]))
    for each in outcomes:
        lines += ["", f"## {each.name}", "", each.failure or ("" if each.faults else "None.")]
        lines += [f"- {by_name[name].family}: {name}: {fault}" for name, fault in each.faults.items()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def section_of(case: Case) -> str:
    """Return the section of an RFC that a case names first, to its second level."""
    match = re.search(r"(RFC \d+) section (\d+(?:\.\d+)?)", case.reason)
    return f"{match[1]}, {match[2]}" if match else "no section"


def _count(what: str, group_of: Callable[[Case], str], cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[str]:
    """Return the table of faults by what `group_of` says."""
    groups = {case.name: group_of(case) for case in cases}
    lines = [
        f"## Faults by {what}",
        "",
        _row([what, "cases", *(each.name for each in outcomes)]),
        _row(["---", *["---:"] * (len(outcomes) + 1)]),
    ]
    for group, size in sorted(Counter(groups.values()).items(), key=lambda item: _in_order(item[0])):
        lines.append(_row([group, size, *(sum(groups[name] == group for name in each.faults) for each in outcomes)]))
    lines.append(_row(["**all**", len(cases), *(f"**{each.failure or len(each.faults)}**" for each in outcomes)]))
    return [*lines, ""]


def _in_order(group: str) -> list[int | str]:
    """Sort "RFC 9112, 10.1" behind "RFC 9112, 2.2"."""
    return [int(word) if word.isdigit() else word for word in re.split(r"[ ,.]+", group)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    sys.exit(main())
