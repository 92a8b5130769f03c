"""One HTML file, complete in itself: players side by side on sets of levels, paired per level.

For each set a table of scores, and a performance profile (Dolan and Moré 2002): for each player the
share of the games that it won within so many times the optimum. Then the same by the size of the
levels, and, where functions may fail, by their failure rate, with the share of what best play saves
over the fixed rule. Of a training, how its validation went.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .evaluate import Played, Score, gap_closed, score
from .plots import Axis, chart

FARTHEST = 3.0
"""Times the optimum, at the right end of a profile."""
SIZES = (16, 32, 64)
"""Functions up to which the levels of a band have; one band is beyond."""
RATES = (0.25, 0.45)
"""The same of the chance that a first call fails."""
CURVES = "scores.jsonl"
"""What a training leaves of its validations in its folder."""
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
Games = Mapping[str, Sequence[Played]]
"""Of each player; paired."""


def html(sets: Mapping[str, Games], notes: Sequence[str] = (), training: Path | None = None) -> str:
    """The page: per set and player the games that were played; notes; a training's folder."""
    parts = [_section(name, played) for name, played in sets.items()]
    if training is not None:
        parts.append(_curves(training))
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


def _section(name: str, played: Games) -> str:
    scores = {player: score(games) for player, games in played.items()}
    rows = {
        player: [_cell(found, name, form) for _, name, form in COLUMNS]
        for player, found in scores.items()
    }
    some = next(iter(scores.values()))
    parts = [
        f"<h2>{escape(name)}</h2><p>{some.levels} levels, {some.games} games of each player.</p>",
        _table("player", [title for title, *_ in COLUMNS], rows),
        _profiles(played),
        *(_banded(f"by functions of a level: {title}", played, SIZES, _size, name, form)
          for title, name, form in (COLUMNS[2], COLUMNS[6])),
    ]  # fmt: skip
    if any(game.fails for games in played.values() for game in games):
        parts += [
            *(_banded(f"by failure rate: {title}", played, RATES, _rate, name, form)
              for title, name, form in (COLUMNS[4], COLUMNS[5])),
            _gaps(played),
        ]  # fmt: skip
    return "".join(parts)


def _size(game: Played) -> float:
    return game.functions


def _rate(game: Played) -> float:
    return game.rate


def _banded(
    title: str,
    played: Games,
    bounds: Sequence[float],
    where: Callable[[Played], float],
    name: str,
    form: str,
) -> str:
    """One value of the score for the games of each band: above one bound, up to the next."""
    heads = [*(f"to {bound:g}" for bound in bounds), f"over {bounds[-1]:g}"]
    rows = {}
    for player, games in played.items():
        bands: list[list[Played]] = [[] for _ in heads]
        for game in games:
            bands[bisect_left(bounds, where(game))].append(game)
        rows[player] = [_cell(score(some), name, form) if some else "-" for some in bands]
    return f"<h3>{escape(title)}</h3>{_table('player', heads, rows)}"


def _gaps(played: Games) -> str:
    """How much of what best play saves over the fixed rule each player saves, on the levels where
    best play is known and differs: elsewhere `exact` plays as the rule does."""
    if not {"fixed", "exact"} <= played.keys():
        return ""
    pairs = zip(played["fixed"], played["exact"], strict=True)
    known = {rule.level for rule, best in pairs if rule.cost != best.cost}
    some = {
        player: [game for game in games if game.level in known] for player, games in played.items()
    }
    if not known:
        return ""
    found = {
        player: gap_closed(games, some["fixed"], some["exact"]) for player, games in some.items()
    }
    rows = {player: ["-" if gap is None else f"{gap:.1%}"] for player, gap in found.items()}
    title = f"closed of the gap between the fixed rule and best play ({len(known)} levels)"
    return f"<h3>{title}</h3>{_table('player', ['closed'], rows)}"


def _profiles(played: Games) -> str:
    series = {}
    for player, games in played.items():
        points, share = [(1.0, 0.0)], 0.0
        for ratio, more in profile(games):
            points += [(ratio, share), (ratio, more)]
            share = more
        series[player] = [*points, (FARTHEST, share)]
    times = [(at, f"{at:g}") for at in (1, 1.5, 2, 2.5, 3)]
    shares = [(at / 100, f"{at} %") for at in (0, 50, 100)]
    label = "share won within so many times the optimum"
    return chart(series, Axis(1, FARTHEST, times), Axis(0, 1, shares), label)


def _curves(training: Path) -> str:
    rows: dict[int, Any] = {}
    for line in (training / CURVES).read_text("utf-8").splitlines():
        row = json.loads(line)
        rows[row["step"]] = row
    last = max(rows)
    across = Axis(0, last, [(0, "0"), (last / 2, f"{last / 2:g}"), (last, f"{last}")])
    parts = [f"<h2>training, by gradient steps ({escape(training.name)})</h2>"]
    for title, name, up in (
        ("solved", "solved", Axis(0.5, 1, [(0.5, "50 %"), (1, "100 %")])),
        ("cost ÷ optimum", "ratio", Axis(1, 2, [(1, "1"), (1.5, "1.5"), (2, "2")])),
    ):
        kinds = rows[last]["scores"]
        series = {
            kind: [(step, row["scores"][kind][name]) for step, row in sorted(rows.items())]
            for kind in kinds
        }
        parts.append(f"<h3>{title}</h3>{chart(series, across, up, title)}")
    return "".join(parts)


def _cell(found: Score, name: str, form: str) -> str:
    value = getattr(found, name)
    return "-" if value is None else form.format(value)


def _table(corner: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in (corner, *heads))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in (name, *cells))}</tr>"
        for name, cells in rows.items()
    )
    return f"<table><tr>{head}</tr>{body}</table>"
