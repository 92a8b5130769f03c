"""Situations of a made level with the exact cost of every action: what supervised learning reads.

Half of them lie on a cheapest path, a quarter a few random calls off it, the rest anywhere.
"""

import math
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

from ..game import Tally
from ..level import Level
from ..prices import price
from .maker import Made

SITUATIONS = 16
"""Labelled situations of a level, where it has as many."""
ASTRAY = 4
"""Random calls at most by which a situation lies off a cheapest path."""
Costs = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """A level and some of its situations."""

    seed: int
    kind: str
    hash: int
    level: Level
    states: tuple[int, ...]
    q: tuple[Costs, ...]
    """Per state [2N + 1]: calls, skips, give up; NaN where that is illegal."""
    waived: tuple[int, ...] = ()
    """Per state; empty: nothing was waived anywhere."""
    tallies: tuple[tuple[Tally, ...], ...] = ()
    """Per state and function; empty: nothing has failed anywhere."""


def labelled(made: Made, count: int = SITUATIONS) -> Labelled:
    """The level with up to `count` of its situations; the same for the same level."""
    rng = Random(made.seed ^ 0x5EED)  # noqa: S311 (not for secrets)
    chosen = sorted(_chosen(rng, made, count))
    return Labelled(
        made.seed,
        made.kind,
        made.hash,
        made.level,
        tuple(made.space.state(at) for at in chosen),
        tuple(_q(made, at) for at in chosen),
    )


def _chosen(rng: Random, made: Made, count: int) -> set[int]:
    """Indexes of states that have not won; of those that cannot win any more, one at most."""
    path = _path(rng, made)
    chosen = set(rng.sample(path, min(len(path), count // 2)))
    for _ in range(2 * count):
        if len(chosen) >= count * 3 // 4:
            break
        at = rng.choice(path)
        for _ in range(rng.randint(1, ASTRAY)):
            at = rng.choice([after for _, after in made.space.edges(at)] or [at])
        if 0 < made.to_go[at] < math.inf:
            chosen.add(at)
    lost = False
    for _ in range(4 * count):
        if len(chosen) >= count:
            break
        at = rng.randrange(len(made.space))
        if made.to_go[at] > 0 and not (lost and math.isinf(made.to_go[at])):
            lost |= math.isinf(made.to_go[at])
            chosen.add(at)
    return chosen


def _path(rng: Random, made: Made) -> list[int]:
    """The states of a cheapest plan, of equally good calls a random one, without the last."""
    at, path = 0, [0]
    while True:
        left = made.to_go[at]
        at = rng.choice(
            [
                after
                for call, after in made.space.edges(at)
                if after not in path and made.level.functions[call].cost + made.to_go[after] <= left
            ]
        )
        if made.to_go[at] == 0:
            return path
        path.append(at)


def _q(made: Made, at: int) -> Costs:
    functions = made.level.functions
    give_up = price(made.level).give_up
    q = np.full(2 * len(functions) + 1, np.nan, np.float32)
    for call, after in made.space.edges(at):
        q[call] = min(functions[call].cost + made.to_go[after], give_up)
    q[-1] = give_up
    return q
