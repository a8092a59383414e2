"""The chart: CPU per request of every server under the loads of small requests, as SVG."""

import statistics
from collections.abc import Mapping
from pathlib import Path

from rounds import Outcome

DRAWN = ("hello", "falcon", "connect")


def draw(outcomes: Mapping[str, Outcome], path: Path) -> bool:
    """Write the chart; return False when there is nothing to draw."""
    import pygal  # noqa: PLC0415 (only the benchmarks' environment has it)
    from pygal.style import LightSolarizedStyle  # noqa: PLC0415 (as above)

    drawn = [outcomes[name] for name in DRAWN if name in outcomes and outcomes[name].measurements]
    if not drawn:
        return False
    servers = by_cost(drawn[0])
    chart = pygal.HorizontalBar(
        style=LightSolarizedStyle,
        js=(),
        title="CPU per request, microseconds: less is better (one worker, one core)",
        height=120 + 24 * len(servers) * len(drawn),
        width=900,
        legend_at_bottom=True,
        print_values=True,
        value_formatter="{:.1f}".format,
        disable_xml_declaration=False,
    )
    chart.x_labels = servers
    for outcome in drawn:
        chart.add(outcome.load.name, [_median(outcome, server) for server in servers])
    chart.render_to_file(str(path))
    return True


def by_cost(outcome: Outcome) -> list[str]:
    """Return the servers of a load, the dearest first: a horizontal chart begins at the bottom."""
    costs = {server: _median(outcome, server) for server in outcome.servers()}
    return sorted(costs, key=lambda server: -(costs[server] or 0.0))


def _median(outcome: Outcome, server: str) -> float | None:
    values = outcome.of(server, "cpu")
    return statistics.median(values.values()) if values else None
