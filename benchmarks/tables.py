"""The tables, as text that reads well in a terminal and is Markdown at the same time."""

import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from figures import Interval, median_interval, paired_ratios
from limits import Verdict
from loads import Load
from machine import without_paths
from rounds import Outcome

NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """A figure's median over the rounds: its heading, and how it is written."""

    heading: str
    figure: str
    form: str


USUAL = (
    Column("CPU µs/request", "cpu", "{:.1f}"),
    Column("requests/s", "rate", "{:,.0f}"),
    Column("p50 ms", "p50", "{:.2f}"),
    Column("p99 ms", "p99", "{:.2f}"),
)
IDLE = (
    Column("octets each", "octets", "{:,.0f}"),
    Column("held", "held", "{:,.0f}"),
    Column("fresh request ms, without", "alone", "{:.3f}"),
    Column("with them", "crowded", "{:.3f}"),
    Column("growth", "growth", "{:.2f} x"),
)


def load_table(outcome: Outcome) -> str:
    """Return a load's title, table and failures."""
    load = outcome.load
    columns = IDLE if load.name == "idle" else USUAL
    # Every figure of a load with a reference is put in relation to that server's cost.
    has_ratio = load.name != "idle" and load.reference in outcome.servers()
    headings = ["server", *(column.heading for column in columns), "PSS MB", "errors"]
    headings += [f"CPU / {load.reference} [95 %]"] if has_ratio else []
    rows = [_row(outcome, server, columns, has_ratio=has_ratio) for server in outcome.servers()]
    lines = [f"### {load.name}: {load.title}", "", *align(headings, rows), ""]
    lines += [f"- {server} left out: {reason}" for server, reason in outcome.failures.items()]
    return "\n".join(lines)


def _row(outcome: Outcome, server: str, columns: Sequence[Column], *, has_ratio: bool) -> list[str]:
    cells = [server]
    for column in columns:
        values = outcome.of(server, column.figure)
        cells.append(column.form.format(statistics.median(values.values())) if values else NOTHING)
    cells.append(f"{outcome.memory[server] / 1e6:.0f}" if server in outcome.memory else NOTHING)
    cells.append(str(outcome.errors(server)))
    if has_ratio:
        ratios = paired_ratios(outcome.of(server, "cpu"), outcome.of(outcome.load.reference, "cpu"))
        cells.append(write_interval(median_interval(ratios)) if ratios else NOTHING)
    return cells


def limits_table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts of what was measured."""
    measured = [each for each in verdicts if each.interval is not None]
    rows = [[str(each.limit), write_interval(each.interval), each.word] for each in measured if each.interval]
    lines = ["### limits: met when the upper end of the interval is within them", ""]
    lines += align(["limit", "median [95 %]", "verdict"], rows, last_is_text=True)
    absent = len(verdicts) - len(measured)
    return "\n".join([*lines, "", f"{absent} limits were not measured in this run."] if absent else lines)


def command_lines(outcomes: Sequence[Outcome], loads: Callable[[Load], Sequence[str]]) -> str:
    """Return every server's command line, and wrk's for each load; a line that several loads share is there once."""
    lines = ["### command lines (the servers' run in the folder of their application)", ""]
    for outcome in outcomes:
        lines.append(f"{outcome.load.name}, in {without_paths(str(outcome.load.folder))}:")
        lines.append("")
        commands = {**outcome.commands, "(client)": list(loads(outcome.load))}
        lines += [f"    {name:17} {without_paths(shlex.join(line))}" for name, line in commands.items() if line]
        lines.append("")
    return "\n".join(lines)


def write_interval(interval: Interval | None) -> str:
    """Return a median with the ends of its interval."""
    if interval is None:
        return NOTHING
    return f"{_short(interval.median)} [{_short(interval.low)}, {_short(interval.high)}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"


def align(headings: Sequence[str], rows: Sequence[Sequence[str]], *, last_is_text: bool = False) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[index]) for row in [headings, *rows]) for index in range(len(headings))]
    to_left = {0, len(headings) - 1} if last_is_text else {0}

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index in to_left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        f":{'-' * (width + 1)}" if index in to_left else f"{'-' * (width + 1)}:" for index, width in enumerate(widths)
    )
    return [line(headings), f"|{rule}|", *(line(row) for row in rows)]
