"""What play costs, in one unit for calls, skips and giving up, and how long a game may last."""

from dataclasses import dataclass

from .level import Function, Level
from .solving.hadd import HAdd

SKIP = 2.0
"""A skip costs this many times the dearest call: more than a plan that works, less than none."""
FACTOR, EXTRA = 3, 10
"""Giving up costs, and a game may last, three times the optimum and ten more."""


@dataclass(frozen=True)
class Prices:
    """The prices of one level."""

    calls: tuple[float, ...]
    """Per function: its cost, time and lack of quality, as much as each matters to the player."""
    skip: float
    give_up: float
    limit: int
    """Actions after which a game ends undecided."""


def price(level: Level) -> Prices:
    """The prices of a level. Where the optimum is unknown, a relaxed plan stands in for it."""
    calls = tuple(_call(level, function) for function in level.functions)
    cost, length = level.optimal_cost, level.optimal_calls
    if cost is None and length is not None and all(paid == 1 for paid in calls):
        cost = float(length)
    if cost is None or length is None:
        paid = sum(calls) if any(calls) else 1.0  # without a relaxed plan there is no plan at all
        plan = HAdd(level, calls).relaxed_plan(sum(1 << fact for fact in level.init))
        if cost is None:
            cost = paid if plan is None else sum(calls[call] for call in plan)
        if length is None:
            length = len(calls) if plan is None else len(plan)
    return Prices(
        calls=calls,
        skip=SKIP * max(calls, default=0.0),
        give_up=FACTOR * cost + EXTRA,
        limit=FACTOR * length + EXTRA,
    )


def _call(level: Level, function: Function) -> float:
    weights = level.preferences
    lack = 0.0 if function.quality is None else 1 - function.quality
    return weights.cost * function.cost + weights.time * function.duration + weights.quality * lack
