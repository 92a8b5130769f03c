"""A world that a maker has drawn, and the level that it comes down to.

A fact is a tuple: what is spoken of first (its family), then of whom, then the value. What can
never happen and what never changes is left out of the level.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from ..level import Function, Level

Fact = tuple[str, ...]


class DiscardError(Exception):
    """What was drawn is no level worth keeping; the message is the reason, one of a few."""


@dataclass(frozen=True)
class Call:
    """A function of a world. `stands_in_for` is the name of another, or empty."""

    name: str
    args: tuple[str, ...]
    pre: frozenset[Fact]
    add: frozenset[Fact]
    delete: frozenset[Fact]
    stands_in_for: str = ""


@dataclass(frozen=True)
class World:
    """What can be called, and what is true at the start."""

    init: frozenset[Fact]
    calls: tuple[Call, ...]


def level_of(world: World, functions: tuple[int, int], facts: int, rng: Random) -> Level:
    """The world as a level without goal or id, its functions and facts in random order.

    Raises DiscardError for one that is too small or too large.
    """
    calls = _relevant(_possible(world))
    if len(calls) < functions[0]:
        raise DiscardError("too few functions")
    if len(calls) > functions[1]:
        raise DiscardError("too many functions")
    used = sorted(set().union(*(call.pre | call.add | call.delete for call in calls)))
    if len(used) > facts:
        raise DiscardError("too many facts")
    rng.shuffle(used)
    rng.shuffle(calls)
    index = {fact: at for at, fact in enumerate(used)}
    names = {call.name: at for at, call in enumerate(calls)}

    def indexes(these: Iterable[Fact]) -> frozenset[int]:
        return frozenset(index[fact] for fact in these if fact in index)

    return Level(
        id="",
        facts=tuple(f"{fact[0]}({', '.join(fact[1:-1])})={fact[-1]}" for fact in used),
        init=indexes(world.init),
        goal=frozenset(),
        functions=tuple(
            Function(
                name=call.name,
                args=call.args,
                pre=indexes(call.pre),
                add=indexes(call.add),
                delete=indexes(call.delete),
                alternatives_of=(names[call.stands_in_for],) if call.stands_in_for in names else (),
            )
            for call in calls
        ),
    )


def with_costs(level: Level, costs: Iterable[float]) -> Level:
    """The level with these costs of its functions."""
    functions = zip(level.functions, costs, strict=True)
    return replace(level, functions=tuple(replace(function, cost=c) for function, c in functions))


def _possible(world: World) -> list[Call]:
    """Calls whose preconditions can all come true, were nothing ever deleted."""
    true = set(world.init)
    waiting, possible = list(world.calls), list[Call]()
    while True:
        ready = [call for call in waiting if call.pre <= true]
        if not ready:
            return possible
        possible += ready
        waiting = [call for call in waiting if not call.pre <= true]
        for call in ready:
            true |= call.add


def _relevant(calls: list[Call]) -> list[Call]:
    """Without what never changes, calls that change nothing, and repetitions."""
    changing = set().union(
        *(call.add - call.pre for call in calls), *(call.delete - call.add for call in calls)
    )
    kept: dict[tuple[frozenset[Fact], ...], Call] = {}
    for call in calls:
        add, delete = call.add & changing, (call.delete - call.add) & changing
        pre = call.pre & changing
        if add - pre or delete:
            trimmed = Call(call.name, call.args, pre, add, delete, call.stands_in_for)
            key = (pre, add, delete) if not call.stands_in_for else (pre, add, delete, add)
            kept.setdefault(key, trimmed)
    return list(kept.values())
