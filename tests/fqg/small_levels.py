"""Small random levels for tests that hold solvers against each other."""

import random

from symphony.fqg.level import Function, Level


def small_level(seed: int, facts: int = 8, functions: int = 8, spread: int = 1) -> Level:
    """A level that may or may not be solvable; `spread` leaves gaps between the facts' indexes."""
    rng = random.Random(seed)  # noqa: S311 (not for secrets)

    def some(most: int) -> frozenset[int]:
        return frozenset(spread * rng.randrange(facts) for _ in range(rng.randint(0, most)))

    return Level(
        id=f"small-{seed}",
        facts=tuple(f"fact {at}" for at in range(spread * facts)),
        init=some(3),
        goal=some(3),
        functions=tuple(
            Function(
                name=f"call {at}",
                pre=some(2),
                add=some(2),
                delete=some(2),
                cost=float(rng.choice((0, 1, 1, 2, 5))),
            )
            for at in range(rng.randint(0, functions))
        ),
    )
