"""Levels of state variables: each has one of a few values, and functions change one or two of them.

The form is that of SAS+ (Bäckström and Nebel, "Complexity results for SAS+ planning", 1995).
"""

from random import Random

from .dials import Dials
from .world import Call, Fact, World


def variables_world(rng: Random, dials: Dials) -> World:
    """3 to 9 variables of 2 to 5 values; a function needs up to three others to have some value."""
    target = rng.randint(*dials.functions)
    values = [rng.randint(2, 5) for _ in range(rng.randint(3, min(9, 3 + target // 6)))]
    inverse = rng.uniform(*dials.inverse)
    calls: list[Call] = []
    while len(calls) < target:
        call = _drawn(rng, values, f"turn_{len(calls)}")
        calls.append(call)
        if rng.random() < inverse:
            back = (call.pre - call.delete) | call.add
            forth = call.delete - call.add
            calls.append(Call(f"undo_{call.name}", (), back, forth, call.add))
    return World(
        init=frozenset(_fact(at, rng.randrange(size)) for at, size in enumerate(values)),
        calls=tuple(calls[:target]),
    )


def _drawn(rng: Random, values: list[int], name: str) -> Call:
    chosen = rng.sample(range(len(values)), min(len(values), rng.choice((1, 1, 1, 2, 2, 3, 3, 4))))
    changed = chosen[: rng.choice((1, 1, 2))]
    pre, add, delete = set[Fact](), set[Fact](), set[Fact]()
    for at in chosen:
        before = rng.randrange(values[at])
        pre.add(_fact(at, before))
        if at in changed:
            after = rng.choice([value for value in range(values[at]) if value != before])
            add.add(_fact(at, after))
            delete.add(_fact(at, before))
    return Call(name, (), frozenset(pre), frozenset(add), frozenset(delete))


def _fact(variable: int, value: int) -> Fact:
    return (f"dial_{variable}", str(value))
