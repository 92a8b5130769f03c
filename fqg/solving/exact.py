"""Exact plans: the cheapest way from the start to the goal.

A* (Hart, Nilsson and Raphael, 1968) with h_max, the largest of the goal facts' costs when deletes
are ignored and preconditions cost what the dearest of them costs. It never overestimates and is
consistent, so the first time that a state is expanded its cost is final.
"""

import heapq
import math
from dataclasses import dataclass

from ..level import Level
from ..rules import Rules
from .successor import successors

EXPANSIONS = 1_000_000
"""States that a search expands before it gives up, unless told otherwise."""


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    `calls` is a cheapest plan, None if there is none or none was found; `complete` says which of
    the two; `cost` is that of the plan, infinite without one.
    """

    calls: tuple[int, ...] | None
    cost: float
    complete: bool
    expanded: int


def solve(
    level: Level, costs: tuple[float, ...] | None = None, expansions: int = EXPANSIONS
) -> Outcome:
    """A cheapest plan by `costs` per function, by default the level's own. Ones: fewest calls."""
    rules = Rules(level)
    paid = costs or tuple(function.cost for function in level.functions)
    estimate = _HMax(level, paid)
    reached: dict[int, tuple[float, int, int]] = {rules.start: (0.0, -1, -1)}
    queue = [(estimate(rules.start), 0.0, rules.start)]
    closed: set[int] = set()
    while queue:
        _, minus_cost, state = heapq.heappop(queue)
        if state in closed:
            continue
        if rules.won(state):
            return Outcome(_plan(reached, state), -minus_cost, True, len(closed))
        if len(closed) == expansions:
            return Outcome(None, math.inf, False, len(closed))
        closed.add(state)
        for call, after in successors(rules, state):
            cost = paid[call] - minus_cost
            if after in reached and reached[after][0] <= cost:
                continue
            bound = cost + estimate(after)
            if not math.isinf(bound):
                reached[after] = (cost, state, call)
                heapq.heappush(queue, (bound, -cost, after))  # of equals the deepest first
    return Outcome(None, math.inf, True, len(closed))


def _plan(reached: dict[int, tuple[float, int, int]], state: int) -> tuple[int, ...]:
    calls: list[int] = []
    while reached[state][2] >= 0:
        _, state, call = reached[state]
        calls.append(call)
    return tuple(reversed(calls))


class _HMax:
    def __init__(self, level: Level, costs: tuple[float, ...]) -> None:
        self._functions = [
            (sorted(function.pre), sorted(function.add), cost)
            for function, cost in zip(level.functions, costs, strict=True)
        ]
        self._size = len(level.facts)
        self._goal = sorted(level.goal)
        self._known: dict[int, float] = {}

    def __call__(self, state: int) -> float:
        if state not in self._known:
            self._known[state] = self._computed(state)
        return self._known[state]

    def _computed(self, state: int) -> float:
        facts = [0.0 if state >> fact & 1 else math.inf for fact in range(self._size)]
        changed = True
        while changed:
            changed = False
            for pre, add, cost in self._functions:
                after = max((facts[fact] for fact in pre), default=0.0) + cost
                for fact in add:
                    if after < facts[fact]:
                        facts[fact] = after
                        changed = True
        return max((facts[fact] for fact in self._goal), default=0.0)
