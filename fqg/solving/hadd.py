"""The additive heuristic h_add, the relaxed plans that it leads to, and greedy play on it.

Deletes are ignored. A fact that is true costs 0, another the cheapest function that adds it: its
own cost plus the sum over its preconditions. h_add of a state is the sum over the goal
(Bonet and Geffner, "Planning as heuristic search", Artificial Intelligence 129, 2001, section 3).
The relaxed plan takes the cheapest supporter of each fact, backwards from the goal (Keyder and
Geffner, "Heuristics for planning with action costs revisited", ECAI 2008).
"""

import heapq
import math
from collections import Counter

from ..level import Level
from ..rules import Rules
from .successor import successors


class HAdd:
    """h_add of one level. `costs` are per function in place of the level's own."""

    def __init__(self, level: Level, costs: tuple[float, ...] | None = None) -> None:
        self._level = level
        self._costs = costs or tuple(function.cost for function in level.functions)
        self._goal = sorted(level.goal)
        self._needed_by: list[list[int]] = [[] for _ in level.facts]
        for at, function in enumerate(level.functions):
            for fact in function.pre:
                self._needed_by[fact].append(at)

    def __call__(self, state: int) -> float:
        """The sum of what the goal's facts cost from `state`; infinite if one cannot be had."""
        costs, _ = self.explored(state)
        return sum((costs[fact] for fact in self._goal), start=0.0)

    def explored(self, state: int) -> tuple[list[float], list[int | None]]:
        """Per fact its cost from `state` (infinite: unreachable) and its cheapest supporter.

        A fact that is true, or unreachable, has no supporter. Dijkstra's algorithm; of equally
        cheap supporters the one that was found first.
        """
        level = self._level
        costs = [0.0 if state >> fact & 1 else math.inf for fact in range(len(level.facts))]
        supporters: list[int | None] = [None] * len(level.facts)
        missing = [len(function.pre) for function in level.functions]
        sums = list(self._costs)
        queue = [(0.0, fact) for fact, cost in enumerate(costs) if cost == 0]

        def fire(function: int) -> None:
            for fact in sorted(level.functions[function].add):
                if sums[function] < costs[fact]:
                    costs[fact] = sums[function]
                    supporters[fact] = function
                    heapq.heappush(queue, (sums[function], fact))

        for at, count in enumerate(missing):
            if count == 0:
                fire(at)
        while queue:
            cost, fact = heapq.heappop(queue)
            if cost > costs[fact]:
                continue  # found cheaper since it was queued
            for at in self._needed_by[fact]:
                missing[at] -= 1
                sums[at] += cost
                if missing[at] == 0:
                    fire(at)
        return costs, supporters

    def relaxed_plan(self, state: int) -> list[int] | None:
        """Functions that reach the goal if nothing is deleted, in an order in which they can be
        called; None if even so it cannot be reached."""
        costs, supporters = self.explored(state)
        if any(math.isinf(costs[fact]) for fact in self._goal):
            return None
        plan: list[int] = []
        chosen: set[int] = set()
        pending = [(fact, False) for fact in reversed(self._goal)]
        while pending:
            fact, ready = pending.pop()
            supporter = supporters[fact]
            if supporter is None or supporter in chosen:
                continue
            if ready:
                chosen.add(supporter)
                plan.append(supporter)
                continue
            pending.append((fact, True))
            needed = sorted(self._level.functions[supporter].pre, reverse=True)
            pending.extend((other, False) for other in needed)
        return plan


def greedy(level: Level, limit: int) -> list[int] | None:
    """The calls of greedy play: the least (visits of the next state, cost + its h_add, index).

    None if it has not won after `limit` calls, or nothing is legal.
    """
    rules, hadd = Rules(level), HAdd(level)
    state, calls = rules.start, list[int]()
    visits = Counter([state])
    estimates: dict[int, float] = {}
    while not rules.won(state):
        options = successors(rules, state)
        if not options or len(calls) == limit:
            return None
        for _, after in options:
            if after not in estimates:
                estimates[after] = hadd(after)
        _, _, call, state = min(
            (visits[after], level.functions[call].cost + estimates[after], call, after)
            for call, after in options
        )
        visits[state] += 1
        calls.append(call)
    return calls
