"""Levels with failures whose situations are labelled by Bayes-optimal play, for learning.

The situations are met in games that go well most of the time and astray now and then. Levels that
are too wide for exact labels are left out and counted. Here the cost of an action may be above that
of giving up, by the action's own: a hopeless retry is worse than to give up at once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from multiprocessing import Pool
from random import Random

import numpy as np

from ..canonical import canonical_hash
from ..game import Game, Situation
from ..level import Level
from ..solving.belief import Belief, Solver, TooLargeError
from .failures import RATES, Dials, make
from .labelling import SITUATIONS, Costs, Labelled

STATES = 3_000
"""Belief states of a level that is still labelled."""
GAMES = 4
ASTRAY = 0.3
"""The chance of a random action in these games."""
AT_ONCE = 128
"""Levels that several processes are given together."""


def labelled_failures(
    seeds: Iterable[int], discards: Counter[str], count: int = SITUATIONS, workers: int = 1
) -> Iterator[Labelled]:
    """The labelled levels of these seeds, in their order; the reasons of those left out go to
    `discards`. So many processes work at it."""
    seen: set[int] = set()
    for found in _in_order(seeds, count, workers):
        if found is None:
            discards["too wide for exact labels"] += 1
        elif found.hash in seen:
            discards["repeated"] += 1
        else:
            seen.add(found.hash)
            yield found


def _in_order(seeds: Iterable[int], count: int, workers: int) -> Iterator[Labelled | None]:
    label = partial(_labelled, count=count)
    if workers == 1:
        yield from map(label, seeds)
        return
    waiting = iter(seeds)  # perhaps without end: a pool would take them all at once
    with Pool(workers) as pool:
        while some := list(islice(waiting, AT_ONCE)):
            yield from pool.map(label, some, chunksize=4)


def _labelled(seed: int, count: int) -> Labelled | None:
    """The level of a seed with its labels; None if it is too wide."""
    level = make(seed, dials(seed))
    try:
        situations = _met(level, seed, count)
    except TooLargeError:
        return None
    return Labelled(
        seed=seed,
        kind="failures",
        hash=canonical_hash(level),
        level=level,
        states=tuple(situation.state for situation, _ in situations),
        q=tuple(q for _, q in situations),
        waived=tuple(situation.waived for situation, _ in situations),
        tallies=tuple(situation.tallies for situation, _ in situations),
    )


def dials(seed: int) -> Dials:
    """How the level of a seed is to be: at each of the failure rates in turn."""
    return Dials(rate=tuple(RATES.values())[seed % len(RATES)])


def _met(level: Level, seed: int, count: int) -> list[tuple[Situation, Costs]]:
    dice = Random(seed ^ 0x5EED)  # noqa: S311 - a game
    solver, game = Solver(level, STATES), Game(level)
    met: dict[tuple[object, ...], tuple[Situation, Belief]] = {}
    for number in range(GAMES):
        situation, belief = game.reset(seed * GAMES + number), solver.start()
        over = False
        while not over:
            met.setdefault(
                (situation.state, situation.waived, situation.tallies), (situation, belief)
            )
            values = solver.q_values(belief)
            legal = game.mechanics.legal(situation)
            action = min(legal, key=values.__getitem__)
            if dice.random() < ASTRAY and len(legal) > 1:
                action = dice.choice(legal[:-1])
            outcome = game.step(action)
            over, situation = outcome.over or outcome.truncated, outcome.situation
            if action < game.mechanics.count:
                belief = solver.after_call(belief, action, outcome.error)
            elif action < game.mechanics.give_up:
                belief = solver.after_skip(belief, action - game.mechanics.count)
    chosen = dice.sample(list(met.values()), min(count, len(met)))
    return [
        (situation, np.array(solver.q_values(belief), np.float32)) for situation, belief in chosen
    ]


def optimum(level: Level, states: int = STATES) -> float:
    """The expected cost of best play from the start; NaN for a level that is too wide."""
    solver = Solver(level, states)
    try:
        return solver.value(solver.start())
    except TooLargeError:
        return math.nan
