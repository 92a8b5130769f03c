"""Learns the table of the bandit baseline on levels of training seeds, and writes it.

`python -m symphony.fqg.evaluating.banditlearning FILE`
"""

import json
import sys
from pathlib import Path

from ..baselines.bandit import Bandit
from ..making.failurelabels import dials
from ..making.failures import make
from .evaluate import play

FIRST_SEED, LEVELS, ROUNDS = 1_100_000, 1_500, 60
"""Training seeds that label no level; every level is played once a round."""


def learn() -> dict[str, dict[str, tuple[float, int]]]:
    """The table; exploration falls from 1 to 0.04 over the rounds."""
    table: dict[str, dict[str, tuple[float, int]]] = {}
    levels = [make(seed, dials(seed)) for seed in range(FIRST_SEED, FIRST_SEED + LEVELS)]
    for number in range(ROUNDS):
        bandit = Bandit(table, epsilon=max(0.04, 1 - number / (ROUNDS / 3)), seed=number)
        for level in levels:
            game = play(bandit, level, number)
            for choice in bandit.choices:
                beyond = game.cost - choice.spent - choice.planned
                arms = table.setdefault(str(choice.context), {})
                mean, times = arms.get(choice.arm, (0.0, 0))
                step = max(1 / (times + 1), 0.004)  # later play is better: it counts for more
                arms[choice.arm] = (mean + step * (beyond - mean), times + 1)
    return table


def main() -> None:
    """Writes the table."""
    table = {
        context: {arm: (round(mean, 4), times) for arm, (mean, times) in sorted(arms.items())}
        for context, arms in sorted(learn().items())
    }
    Path(sys.argv[1]).write_text(json.dumps(table, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
