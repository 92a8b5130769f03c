"""All reachable states of a level, and from each of them the exact cost to go.

The states stand in the order in which breadth-first search meets them, calls ascending: the same
everywhere. Costs to go are Dijkstra's algorithm backwards from all states that win.
"""

import heapq
import math
from dataclasses import dataclass
from functools import cached_property

from ..level import Level
from ..rules import Rules, bits
from .successor import successors

CAP = 60_000
"""States that are enumerated before one gives up, unless told otherwise."""


@dataclass(frozen=True)
class Space:
    """`states[0]` is the start; `edges[i]` are the pairs (function, index of the state after it)
    of state i, functions ascending; `depths[i]` is the fewest calls from the start."""

    states: tuple[int, ...]
    edges: tuple[tuple[tuple[int, int], ...], ...]
    depths: tuple[int, ...]

    def to_go(self, goal: frozenset[int], costs: tuple[float, ...]) -> list[float]:
        """Per state the least cost to a state in which all of `goal` is true; infinite: none."""
        wanted = bits(goal)
        best = [0.0 if wanted & ~state == 0 else math.inf for state in self.states]
        queue = [(0.0, at) for at, cost in enumerate(best) if cost == 0]
        while queue:
            cost, at = heapq.heappop(queue)
            if cost > best[at]:
                continue  # found cheaper since it was queued
            for call, before in self._backwards[at]:
                if cost + costs[call] < best[before]:
                    best[before] = cost + costs[call]
                    heapq.heappush(queue, (best[before], before))
        return best

    @cached_property
    def _backwards(self) -> list[list[tuple[int, int]]]:
        into: list[list[tuple[int, int]]] = [[] for _ in self.states]
        for at, edges in enumerate(self.edges):
            for call, after in edges:
                into[after].append((call, at))
        return into


def reach(level: Level, cap: int = CAP) -> Space | None:
    """All states that can be reached from the start; None if there are more than `cap`."""
    rules = Rules(level)
    states, depths = [rules.start], [0]
    index = {rules.start: 0}
    edges: list[tuple[tuple[int, int], ...]] = []
    for at, state in enumerate(states):  # which grows meanwhile
        out = []
        for call, after in successors(rules, state):
            if after not in index:
                if len(states) == cap:
                    return None
                index[after] = len(states)
                states.append(after)
                depths.append(depths[at] + 1)
            out.append((call, index[after]))
        edges.append(tuple(out))
    return Space(tuple(states), tuple(edges), tuple(depths))
