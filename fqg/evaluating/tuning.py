"""Tunes the fixed rule per failure rate, on levels of training seeds: see `baselines/rule.py`.

`python -m symphony.fqg.evaluating.tuning` prints the numbers. Coordinate descent from the usual
ones, over all values of one number at a time, until nothing gets better.
"""

from collections.abc import Sequence
from statistics import fmean, quantiles
from typing import Any

from ..baselines.rule import Retries, Rule, failure_rate
from ..level import Level
from ..making.failurelabels import dials
from ..making.failures import make
from .evaluate import play_all

FIRST_SEED, LEVELS, GAMES = 1_000_000, 300, 6
"""Training seeds that label no level."""
VALUES: dict[str, Sequence[Any]] = {
    "unavailable": (0, 1, 2, 3, 4, 6),
    "refused": (0, 1, 2, 3),
    "bad_output": (0, 1, 2, 3, 4, 6),
    "timeout": (0, 1, 2, 3, 4),
    "patience": (0, 1, 2, 3, 5, 8),
    "wary": (0.0, 0.5, 1.0, 1.5, 2.0),
    "renounce": (1, 2, 3, 4, 99),
}


def tune(levels: Sequence[Level]) -> tuple[Retries, float]:
    """The best numbers found for these levels, and the mean cost of play with them."""
    best, cost = Retries(), _cost(Retries(), levels)
    while True:
        before = cost
        for name, values in VALUES.items():
            for value in values:
                tried = best._replace(**{name: value})
                if tried != best and (found := _cost(tried, levels)) < cost:
                    best, cost = tried, found
        if cost == before:
            return best, cost


def _cost(retries: Retries, levels: Sequence[Level]) -> float:
    return fmean(game.cost for game in play_all(Rule("tried", retries), levels, GAMES))


def main() -> None:
    """Prints a table for rule.TUNED: up to which rate, which numbers."""
    levels = [make(seed, dials(seed)) for seed in range(FIRST_SEED, FIRST_SEED + LEVELS)]
    levels.sort(key=failure_rate)
    bounds = [*quantiles(map(failure_rate, levels), n=3), 1.0]
    low = 0.0
    for bound in bounds:
        group = [level for level in levels if low <= failure_rate(level) <= bound]
        retries, cost = tune(group)
        print(f"({bound:.3f}, {retries}),  # {len(group)} levels, mean cost {cost:.2f}", flush=True)
        low = bound


if __name__ == "__main__":
    main()
