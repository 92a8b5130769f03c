"""All reachable states of a level, and from each of them the exact cost to go.

The states stand in the order in which breadth-first search meets them, calls ascending: the same
everywhere. Costs to go are Dijkstra's algorithm backwards from all states that win.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..level import Level
from ..rules import Rules, bits
from .successor import successors

Costs = npt.NDArray[np.float64]
CAP = 60_000
"""States that are enumerated before one gives up, unless told otherwise."""


class Space(Protocol):
    """State 0 is the start. All indexes are below `len(space)`."""

    def __len__(self) -> int: ...

    def state(self, at: int) -> int: ...

    def edges(self, at: int) -> Sequence[tuple[int, int]]:
        """Pairs (function, index of the state after it), functions ascending."""

    def depth(self, at: int) -> int:
        """The fewest calls from the start."""

    def to_go(self, goal: Iterable[int], costs: Sequence[float]) -> Costs:
        """[states]: the least cost to one in which all of `goal` is true; infinite: none."""


@dataclass(frozen=True)
class Reached:
    """The reference `Space`."""

    states: tuple[int, ...]
    out: tuple[tuple[tuple[int, int], ...], ...]
    depths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.states)

    def state(self, at: int) -> int:
        return self.states[at]

    def edges(self, at: int) -> Sequence[tuple[int, int]]:
        return self.out[at]

    def depth(self, at: int) -> int:
        return self.depths[at]

    def to_go(self, goal: Iterable[int], costs: Sequence[float]) -> Costs:
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
        return np.array(best)

    @cached_property
    def _backwards(self) -> list[list[tuple[int, int]]]:
        into: list[list[tuple[int, int]]] = [[] for _ in self.states]
        for at, edges in enumerate(self.out):
            for call, after in edges:
                into[after].append((call, at))
        return into


def reach(level: Level, cap: int = CAP) -> Reached | None:
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
    return Reached(tuple(states), tuple(edges), tuple(depths))
