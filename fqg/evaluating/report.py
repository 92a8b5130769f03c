"""One HTML file, complete in itself: players side by side on sets of levels, paired per level.

For each set a table of scores, and a performance profile (Dolan and Moré 2002): for each player the
share of the games that it won within so many times the optimum.
"""

from collections.abc import Mapping, Sequence
from html import escape

from .evaluate import Played, Score, score

WIDTH, HEIGHT, EDGE = 460, 240, 36
"""Of a plot, in pixels; the edge is for its axes."""
FARTHEST = 3.0
"""Times the optimum, at the right end of a profile."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
COLUMNS = (
    ("solved", "solved", "{:.1%}"),
    ("calls ÷ optimum", "calls_ratio", "{:.3f}"),
    ("with unsolved", "calls_ratio_all", "{:.3f}"),
    ("optimal", "optimal_hits", "{:.1%}"),
    ("cost", "cost", "{:.2f}"),
    ("recovered", "recovery", "{:.1%}"),
    ("median µs", "decision_us_median", "{:.0f}"),
    ("p99 µs", "decision_us_p99", "{:.0f}"),
)
STYLE = """body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{margin:1em 0}svg text{font:12px sans-serif}"""


def html(sets: Mapping[str, Mapping[str, Sequence[Played]]], notes: Sequence[str] = ()) -> str:
    """The page: per set and player the games that were played."""
    parts = [_section(name, played) for name, played in sets.items()]
    remarks = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Function Quest</title>'
        f"<style>{STYLE}</style></head><body><h1>Function Quest: how players do</h1>{remarks}"
        f"{''.join(parts)}</body></html>\n"
    )


def profile(played: Sequence[Played]) -> list[tuple[float, float]]:
    """Corners (times the optimum, share won within) of a player's profile, ascending."""
    known = [game for game in played if game.optimal_calls]
    ratios = sorted(game.calls / (game.optimal_calls or 1) for game in known if game.won)
    return [(ratio, at / len(known)) for at, ratio in enumerate(ratios, 1)]


def _section(name: str, played: Mapping[str, Sequence[Played]]) -> str:
    scores = {player: score(games) for player, games in played.items()}
    head = "".join(f"<th>{escape(title)}</th>" for title, _, _ in COLUMNS)
    rows = "".join(_row(player, found) for player, found in scores.items())
    some = next(iter(scores.values()))
    return (
        f"<h2>{escape(name)}</h2><p>{some.levels} levels, {some.games} games of each player.</p>"
        f"<table><tr><th>player</th>{head}</tr>{rows}</table>{_plot(played)}"
    )


def _row(player: str, found: Score) -> str:
    values = [(getattr(found, name), form) for _, name, form in COLUMNS]
    cells = ["-" if value is None else form.format(value) for value, form in values]
    return f"<tr><td>{escape(player)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _plot(played: Mapping[str, Sequence[Played]]) -> str:
    lines = []
    for at, (player, games) in enumerate(played.items()):
        colour = COLOURS[at % len(COLOURS)]
        corners, share = [_at(1, 0)], 0.0
        for ratio, more in profile(games):
            corners += [_at(min(ratio, FARTHEST), share), _at(min(ratio, FARTHEST), more)]
            share = more
        corners.append(_at(FARTHEST, share))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        row = EDGE + 16 * at
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{WIDTH + 8}" y="{row}" fill="{colour}">{escape(player)}</text>'
        )
    for ratio in (1, 1.5, 2, 2.5, 3):
        x, y = _at(ratio, 0)
        lines.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{ratio:g}</text>')
    for percent in (0, 50, 100):
        x, y = _at(1, percent / 100)
        lines.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{percent} %</text>')
    (left, bottom), (right, top) = _at(1, 0), _at(FARTHEST, 1)
    axes = f"{left},{top} {left},{bottom} {right},{bottom}"
    return (
        f'<svg width="{WIDTH + 110}" height="{HEIGHT}" role="img" '
        'aria-label="share won within so many times the optimum">'
        f'<polyline points="{axes}" fill="none" stroke="#888"/>{"".join(lines)}</svg>'
    )


def _at(ratio: float, share: float) -> tuple[float, float]:
    width, height = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    return EDGE + (ratio - 1) / (FARTHEST - 1) * width, HEIGHT - EDGE - share * height
