"""Draws docs/scaling.svg: what `pyfork.arbiter.scaling` makes of two loads, as the simulation of the tests has it.

Run it by ``make docs``. There is no drawing library: the picture is a few polylines, and the same each time.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.simulation.queueing import Model, Second, recorded

WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 150, 50, 40, 60
STYLE = (
    "text{font:12px sans-serif;fill:#444}.title{font-weight:bold}.axis{stroke:#999}.grid{stroke:#e4e4e4}"
    ".offered{fill:#cfe3f3;stroke:none}.wanted{fill:none;stroke:#c0392b;stroke-width:2}"
    ".ready{fill:none;stroke:#27ae60;stroke-width:1.5}.queue{fill:#8e44ad;fill-opacity:.35;stroke:none}"
)


def made_up(now: int) -> float:
    """Return a load with a step, a lull, a crowd of ten seconds and a tooth that returns every minute."""
    if now < 60:
        return 0.5
    if now < 180:
        return 6.0
    if now < 300:
        return 1.0
    if now < 310:
        return 8.0
    if now < 420:
        return 1.0
    return 1 + 5 * (now % 60) / 60


def render() -> str:
    """Return the picture."""
    visitors = recorded("visitors")
    panels = [
        (
            "Made up: a step, a lull, a crowd, a sawtooth (1 to 12 workers, a boot takes 2 s)",
            Model(made_up, 1, 12, boot=2.0, service=0.1).run(780),
        ),
        (
            "Recorded: visitors who come and go (1 to 16 workers, a boot takes 1 s)",
            Model(lambda now: visitors[now], 1, 16, service=0.15).run(len(visitors)),
        ),
    ]
    total = TOP + len(panels) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} {total + 20}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH + 2 * LEFT}" height="{total + 20}" fill="#fff"/>',
    ]
    for number, (title, seconds) in enumerate(panels):
        parts += _panel(title, seconds, TOP + number * (HEIGHT + GAP))
    parts += [_legend(total), "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(title: str, seconds: Sequence[Second], top: int) -> list[str]:
    most = max(*(one.wanted for one in seconds), *(one.offered for one in seconds))
    step = WIDTH / len(seconds)

    def y(value: float) -> float:
        return round(top + HEIGHT - HEIGHT * value / most, 1)

    def area(values: Sequence[float]) -> str:
        return f"{LEFT},{top + HEIGHT} {_stairs(values, step, y)} {LEFT + WIDTH},{top + HEIGHT}"

    longest = max(1, *(one.queued for one in seconds))
    queue = [one.queued / longest * most / 4 for one in seconds]
    parts = [f'<text class="title" x="{LEFT}" y="{top - 10}">{title}</text>']
    for workers in range(0, int(most) + 1, 4):
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y(workers)}" x2="{LEFT + WIDTH}" y2="{y(workers)}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(workers) + 4}" text-anchor="end">{workers}</text>')
    parts += [
        f'<polygon class="offered" points="{area([one.offered for one in seconds])}"/>',
        f'<polygon class="queue" points="{area(queue)}"/>',
        f'<polyline class="ready" points="{_stairs([one.ready for one in seconds], step, y)}"/>',
        f'<polyline class="wanted" points="{_stairs([one.wanted for one in seconds], step, y)}"/>',
        f'<line class="axis" x1="{LEFT}" y1="{top + HEIGHT}" x2="{LEFT + WIDTH}" y2="{top + HEIGHT}"/>',
        f'<text x="{LEFT + WIDTH}" y="{top - 10}" text-anchor="end">longest queue: {longest} requests</text>',
    ]
    for second in range(0, len(seconds) + 1, 60):
        x = round(LEFT + second * step, 1)
        parts.append(f'<text x="{x}" y="{top + HEIGHT + 16}" text-anchor="middle">{second} s</text>')
    return parts


def _stairs(values: Sequence[float], step: float, y: Callable[[float], float]) -> str:
    """Return the points of a line that holds each value for a second; where it does not change there are none."""
    points = []
    for second, value in enumerate(values):
        if second and value == values[second - 1]:
            continue
        if second:
            points.append(f"{LEFT + second * step:.1f},{y(values[second - 1])}")
        points.append(f"{LEFT + second * step:.1f},{y(value)}")
    points.append(f"{LEFT + len(values) * step:.1f},{y(values[-1])}")
    return " ".join(points)


def _legend(y: int) -> str:
    words = [
        ("#cfe3f3", "offered load, in workers"),
        ("#c0392b", "wanted"),
        ("#27ae60", "ready"),
        ("#c7a1d7", "queue (its own scale)"),
    ]
    parts = []
    for number, (colour, text) in enumerate(words):
        x = LEFT + number * 200
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{y}">{text}</text>')
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "scaling.svg").write_text(render(), encoding="utf-8")
