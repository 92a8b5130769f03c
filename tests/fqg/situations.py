"""Levels that are shuffled and renamed, and the features of their starts, for tests of what the
network sees."""

import random
from dataclasses import replace

import numpy as np

from symphony.fqg.encode import Features, Floats, features, moment, structure
from symphony.fqg.failure import Chances, Failure
from symphony.fqg.game import Mechanics, Situation
from symphony.fqg.level import Function, Level
from symphony.fqg.network import Network


def some_level(seed: int, functions: int = 9, facts: int = 7) -> Level:
    """A random level with alternatives, optional functions, costs and failures."""
    draw = random.Random(seed)  # noqa: S311 - no secret

    def some(least: int) -> frozenset[int]:
        return frozenset(draw.sample(range(facts), draw.randint(least, 3)))

    def function(at: int) -> Function:
        return Function(
            name=f"function {at}",
            pre=some(0),
            add=some(1),
            delete=some(0),
            cost=float(draw.choice((1, 2, 5))),
            optional=draw.random() < 0.3,
            alternatives_of=(0,) if at == 3 else (),
            failure=Failure(Chances(0.5, 0.5), known=(4, 2)) if at % 2 else None,
        )

    return Level(
        id=f"some {seed}",
        facts=tuple(f"fact {at}" for at in range(facts)),
        init=some(2),
        goal=some(2),
        functions=tuple(function(at) for at in range(functions)),
        optimal_calls=5,
        optimal_cost=9.0,
    )


def shuffled(level: Level, functions: list[int], facts: list[int]) -> Level:
    """The level with other names, its new function i being the old functions[i]; facts alike."""
    fact = {old: new for new, old in enumerate(facts)}
    place = {old: new for new, old in enumerate(functions)}

    def moved(indexes: frozenset[int]) -> frozenset[int]:
        return frozenset(fact[at] for at in indexes)

    return replace(
        level,
        facts=tuple(f"renamed {at}" for at in facts),
        init=moved(level.init),
        goal=moved(level.goal),
        functions=tuple(
            replace(
                level.functions[old],
                name=f"renamed {old}",
                pre=moved(level.functions[old].pre),
                add=moved(level.functions[old].add),
                delete=moved(level.functions[old].delete),
                alternatives_of=tuple(place[at] for at in level.functions[old].alternatives_of),
            )
            for old in functions
        ),
    )


def seen(situation: Situation) -> Features:
    """The features of a situation."""
    level = situation.level
    return features(np, structure(level), moment(situation, legal(situation)))


def legal(situation: Situation) -> "np.typing.NDArray[np.bool_]":
    """[2N + 1]"""
    mask = np.zeros(2 * len(situation.level.functions) + 1, np.bool_)
    mask[Mechanics(situation.level).legal(situation)] = True
    return mask


def values(network: Network, situation: Situation) -> Floats:
    """A copy of the network's values."""
    return network.bind(structure(situation.level)).values(seen(situation)).copy()
