"""Lines on two axes, as SVG."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, EDGE = 460, 240, 36
"""Of a plot, in pixels; the edge is for its axes."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


class Axis(NamedTuple):
    """From where to where, and what stands beside it."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


def chart(series: Mapping[str, Points], across: Axis, up: Axis, label: str) -> str:
    """A line for each name; what lies outside of the axes is drawn at their ends."""

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            EDGE + _share(x, across) * (WIDTH - 2 * EDGE),
            HEIGHT - EDGE - _share(y, up) * (HEIGHT - 2 * EDGE),
        )

    lines = []
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH + 8}" y="{EDGE + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    for tick, text in across.ticks:
        x, y = at(tick, up.low)
        lines.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{text}</text>')
    for tick, text in up.ticks:
        x, y = at(across.low, tick)
        lines.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    (left, bottom), (right, top) = at(across.low, up.low), at(across.high, up.high)
    return (
        f'<svg width="{WIDTH + 110}" height="{HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<polyline points="{left},{top} {left},{bottom} {right},{bottom}" fill="none" '
        f'stroke="#888"/>{"".join(lines)}</svg>'
    )


def _share(value: float, axis: Axis) -> float:
    return (min(max(value, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
