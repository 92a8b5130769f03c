"""How long the network takes for one decision, from situation to action, on one core (p99 in µs).

A case is a number of candidate functions. Levels are random graphs of as many facts as functions,
each function with one to three edges of each relation; what the network answers does not matter
here, so weights are random too. `.../median` is the median of the same decisions.
"""

# ruff: noqa: E402 - the threads of NumPy are set before it is imported

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import random
import sys
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from benchlib import Result, parser, play

from symphony.fqg.game import Mechanics
from symphony.fqg.level import Function, Level
from symphony.fqg.network import Network, shapes
from symphony.fqg.policy import Dqn

CANDIDATES = (8, 32, 64, 256)
ROUNDS = 6
DECISIONS, WARM_UP = 1_000, 50
EXAMPLES = """
--json
--only 64"""


def level(functions: int) -> Level:
    """A random level whose functions can all be called from the start."""
    draw = random.Random(functions)  # noqa: S311 - no secret
    facts = range(functions + 1)

    def some() -> frozenset[int]:
        return frozenset(draw.sample(facts[:-1], draw.randint(1, 3)))

    return Level(
        id=str(functions),
        facts=tuple(f"fact {at}" for at in facts),
        init=frozenset(facts[:-1]),
        goal=frozenset(facts[-1:]),
        functions=tuple(
            Function(name=f"function {at}", pre=some(), add=some(), delete=frozenset())
            for at in range(functions)
        ),
        optimal_calls=functions,
        optimal_cost=float(functions),
    )


def measure(functions: int) -> Iterator[Result]:
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(0, 0.1, s).astype(np.float32) for name, s in shapes().items()}
    player, puzzle = Dqn(Network(weights, ROUNDS)), level(functions)
    player.begin(puzzle)
    situation = Mechanics(puzzle).start()
    times = []
    for _ in range(WARM_UP + DECISIONS):
        before = time.perf_counter_ns()
        player.choose(situation)
        times.append((time.perf_counter_ns() - before) / 1e3)
    p99, median = np.percentile(times[WARM_UP:], [99, 50])
    yield Result("decide", str(functions), "µs", round(float(p99), 1))
    yield Result("decide", f"{functions}/median", "µs", round(float(median), 1))


def main() -> int:
    options = parser("decide", __doc__ or "", EXAMPLES).parse_args()
    return play({str(n): partial(measure, n) for n in CANDIDATES}, options)


if __name__ == "__main__":
    sys.exit(main())
