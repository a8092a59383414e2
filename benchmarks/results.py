"""Keeps what a run found: the tables as Markdown, every figure as JSON, the chart as SVG."""

import datetime as dt
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chart
from limits import Verdict
from machine import without_paths
from rounds import Outcome

FOLDER = Path(__file__).resolve().parent / "results"


def keep_page(name: str, title: str, text: str) -> None:
    """Write the tables of a script that has nothing else to keep, and say where."""
    FOLDER.mkdir(exist_ok=True)
    page = FOLDER / f"{name}.md"
    page.write_text(f"# {title}\n\n{text}", "utf-8")
    print(f"kept in {without_paths(str(page))}")


def keep(
    name: str, facts: Mapping[str, Any], outcomes: Mapping[str, Outcome], verdicts: Sequence[Verdict], text: str
) -> list[Path]:
    """Write the files of a run.

    Args:
        name: of the files; "" for the time of day.
        facts: of the machine, the versions and the settings of the run.
        outcomes: what was measured, by the loads' names.
        verdicts: what the limits say of it.
        text: the tables.

    Returns:
        The files that were written.
    """
    now = dt.datetime.now(dt.UTC)
    stem = FOLDER / (name or f"{now:%Y%m%d-%H%M%S}")
    FOLDER.mkdir(exist_ok=True)
    files = [stem.with_suffix(suffix) for suffix in (".md", ".json", ".svg")]
    files[0].write_text(f"# Results of {now:%Y-%m-%d}\n\n{text}\n", "utf-8")
    document = {
        "time": now.isoformat(timespec="seconds"),
        **facts,
        "limits": [_verdict_facts(verdict) for verdict in verdicts if verdict.interval],
        "loads": {load: _outcome_facts(outcome) for load, outcome in outcomes.items()},
    }
    files[1].write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return files if chart.draw(outcomes, files[2]) else files[:2]


def _verdict_facts(verdict: Verdict) -> dict[str, Any]:
    interval = verdict.interval
    return {
        **asdict(verdict.limit),
        "verdict": verdict.word,
        "interval": {key: round(value, 4) for key, value in interval._asdict().items()} if interval else None,
    }


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": outcome.load.title,
        "commands": {name: without_paths(shlex.join(line)) for name, line in outcome.commands.items()},
        "pss_octets": outcome.memory,
        "left_out": outcome.failures,
        "errors": {server: outcome.errors(server) for server in outcome.servers()},
        "rounds": {server: _figures(outcome, server) for server in outcome.servers()},
    }


def _figures(outcome: Outcome, server: str) -> dict[str, list[float]]:
    """Return each figure of a server as the list of its rounds: short, and enough to reckon anew."""
    names = dict.fromkeys(name for each in outcome.measurements if each.server == server for name in each.figures)
    return {name: [round(value, 4) for _, value in sorted(outcome.of(server, name).items())] for name in names}
