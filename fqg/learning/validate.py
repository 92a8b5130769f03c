"""How well weights play on labelled levels: the policy as shipped, on levels never trained on."""

from typing import NamedTuple

import numpy as np

from ..game import Game
from ..level import Function, Level
from ..network import Network
from ..policy import Dqn
from .dataset import Graph, Situations


class Score(NamedTuple):
    """Shares and means over the levels."""

    levels: int
    solved: float
    ratio: float
    """Cost ÷ optimum, over the solved levels."""


def score(network: Network, situations: Situations, count: int) -> dict[str, Score]:
    """Greedy play on the first `count` levels without failures, by kind and as `all`."""
    found: dict[str, list[float]] = {}
    levels = [graph for graph in situations.graphs if graph.kind != "failures"]
    for at, graph in enumerate(levels[:count]):
        level = level_of(graph, at)
        ratio = play(network, level) / max(graph.optimum, 1e-9)
        for kind in (graph.kind, "all"):
            found.setdefault(kind, []).append(ratio)
    return {kind: _score(ratios) for kind, ratios in sorted(found.items())}


def play(network: Network, level: Level) -> float:
    """What a game costs; infinite if it is not won."""
    game, player = Game(level), Dqn(network)
    player.begin(level)
    situation, cost = game.reset(0), 0.0
    if game.won():
        return 0.0
    while True:
        outcome = game.step(player.choose(situation))
        situation, cost = outcome.situation, cost - outcome.reward
        if outcome.won:
            return cost
        if outcome.over or outcome.truncated:
            return float("inf")


def level_of(graph: Graph, at: int) -> Level:
    """A level without failures from the arrays of a shard; names are numbers."""
    arrays = graph.structure
    facts = [
        [frozenset(np.flatnonzero(row).tolist()) for row in relation]
        for relation in arrays.relations
    ]
    costs = (arrays.cost * np.float32(graph.unit)).tolist()
    functions = tuple(
        Function(name=str(number), pre=pre, add=add, delete=delete, cost=cost)
        for number, (pre, add, delete, cost) in enumerate(zip(*facts, costs, strict=True))
    )
    return Level(
        id=str(at),
        facts=tuple(map(str, range(len(arrays.goal)))),
        init=frozenset(np.flatnonzero(arrays.start).tolist()),
        goal=frozenset(np.flatnonzero(arrays.goal).tolist()),
        functions=functions,
        optimal_calls=int(graph.optimum),
        optimal_cost=graph.optimum,
    )


def _score(ratios: list[float]) -> Score:
    solved = [ratio for ratio in ratios if np.isfinite(ratio)]
    mean = float(np.mean(solved)) if solved else float("nan")
    return Score(len(ratios), len(solved) / len(ratios), mean)
