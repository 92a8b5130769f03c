"""Static relations over objects: what can be next to, above or before what, drawn at random."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

SHAPES = ("path", "cycle", "tree", "star", "order", "random")


def related(rng: Random, shape: str, objects: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Pairs of objects. All shapes but `order` (each with all that follow it) go both ways."""
    mixed = rng.sample(objects, len(objects))
    neighbours = list(pairwise(mixed))
    if shape == "order":
        return frozenset((a, b) for at, a in enumerate(mixed) for b in mixed[at + 1 :])
    if shape == "cycle":
        neighbours.append((mixed[-1], mixed[0]))
    elif shape == "tree":
        neighbours = [(mixed[rng.randrange(at)], mixed[at]) for at in range(1, len(mixed))]
    elif shape == "star":
        neighbours = [(mixed[0], other) for other in mixed[1:]]
    elif shape == "random":
        extra = rng.randint(0, len(mixed))
        neighbours += [(rng.choice(mixed), rng.choice(mixed)) for _ in range(extra)]
    both = neighbours + [(b, a) for a, b in neighbours]
    return frozenset((a, b) for a, b in both if a != b)


def density(shape: str, size: int) -> float:
    """About the share of all ordered pairs that are related."""
    if shape == "order":
        return 0.5
    return min(1.0, (3.0 if shape == "random" else 2.0) / max(1, size - 1))
