"""The solvers by the module of the wheel `symphony-native`; by the reference where it is missing.

Both give the same answers (of equally cheap plans `solve` may give another); only the time differs.
"""

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from ..level import Level
from . import exact, hadd, reachable

INTERFACE: Final = 1  # of the module; to be raised whenever what is called of it changes


@cache
def module() -> Any | None:
    """The compiled solvers; None if they are not installed or of another version."""
    try:
        quest = getattr(importlib.import_module("symphony_native"), "quest", None)
    except (ImportError, OSError):
        return None
    return quest if getattr(quest, "INTERFACE", 0) == INTERFACE else None


def solve(
    level: Level, costs: tuple[float, ...] | None = None, expansions: int = exact.EXPANSIONS
) -> exact.Outcome:
    """As `exact.solve`."""
    if (native := _compiled(level)) is None:
        return exact.solve(level, costs, expansions)
    calls, cost, complete, expanded = native.solve(
        list(level.goal), list(costs or _costs(level)), expansions
    )
    return exact.Outcome(None if calls is None else tuple(calls), cost, complete, expanded)


def greedy(level: Level, limit: int) -> list[int] | None:
    """As `hadd.greedy`."""
    if (native := _compiled(level)) is None:
        return hadd.greedy(level, limit)
    calls: list[int] | None = native.greedy(list(level.goal), limit)
    return calls


def reach(level: Level, cap: int = reachable.CAP) -> reachable.Space | None:
    """As `reachable.reach`."""
    if (native := _compiled(level)) is None:
        return reachable.reach(level, cap)
    space = native.reach(cap)
    return None if space is None else _Space(space)


class _Space:
    """A `reachable.Space` that lies in the compiled module."""

    def __init__(self, space: Any) -> None:
        self._space = space

    def __len__(self) -> int:
        return len(self._space)

    def state(self, at: int) -> int:
        return int.from_bytes(self._space.state(at), "little")

    def edges(self, at: int) -> Sequence[tuple[int, int]]:
        edges: list[tuple[int, int]] = self._space.edges(at)
        return edges

    def depth(self, at: int) -> int:
        return int(self._space.depth(at))

    def to_go(self, goal: Iterable[int], costs: Sequence[float]) -> reachable.Costs:
        return np.frombuffer(self._space.to_go(list(goal), list(costs)), "<f8")


def _costs(level: Level) -> tuple[float, ...]:
    return tuple(function.cost for function in level.functions)


def _compiled(level: Level) -> Any | None:
    quest = module()
    if quest is None:
        return None
    functions = [
        (list(function.pre), list(function.add), list(function.delete), function.cost)
        for function in level.functions
    ]
    return quest.Level(len(level.facts), list(level.init), functions)
