"""The canonical hash sees what counts in play and nothing else."""

import random
from dataclasses import replace

import pytest

from symphony.fqg.canonical import canonical_hash
from symphony.fqg.level import Function, Level

from .small_levels import small_level


def shuffled(level: Level, seed: int) -> Level:
    """The same puzzle: other names, facts and functions in another order."""
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    place = rng.sample(range(len(level.facts)), len(level.facts))
    order = rng.sample(range(len(level.functions)), len(level.functions))
    place_of = {function: at for at, function in enumerate(order)}

    def moved(facts: frozenset[int]) -> frozenset[int]:
        return frozenset(place[fact] for fact in facts)

    functions = [
        replace(
            level.functions[at],
            name=f"other {at}",
            args=("x",),
            pre=moved(level.functions[at].pre),
            add=moved(level.functions[at].add),
            delete=moved(level.functions[at].delete),
            alternatives_of=tuple(place_of[to] for to in level.functions[at].alternatives_of),
        )
        for at in order
    ]
    return replace(
        level,
        id="other",
        story="another",
        facts=tuple(f"thing {at}" for at in range(len(level.facts))),
        init=moved(level.init),
        goal=moved(level.goal),
        functions=tuple(functions),
    )


def ring(*lengths: int) -> Level:
    """Facts in rings, each function turning one into the next: alike to colour refinement."""
    functions, facts = list[Function](), 0
    for length in lengths:
        for at in range(length):
            pre, add = frozenset({facts + at}), frozenset({facts + (at + 1) % length})
            functions.append(Function("turn", pre, add, pre))
        facts += length
    names = tuple(map(str, range(facts)))
    return Level("ring", names, frozenset(), frozenset(range(facts)), tuple(functions))


@pytest.mark.parametrize("seed", range(100))
def test_order_and_names_do_not_matter(seed: int) -> None:
    level = small_level(seed, facts=10, functions=12)
    if len(level.functions) > 2:
        first = replace(level.functions[0], alternatives_of=(2, 1))
        level = replace(level, functions=(first, *level.functions[1:]))
    for other in range(3):
        assert canonical_hash(shuffled(level, other)) == canonical_hash(level)


def test_levels_that_differ_have_other_hashes() -> None:
    levels = [small_level(seed, facts=10, functions=12) for seed in range(300)]
    levels = [level for level in levels if level.functions]
    assert len({canonical_hash(level) for level in levels}) == len(levels)


def test_each_part_of_a_level_counts() -> None:
    levels = (small_level(seed, facts=10, functions=12) for seed in range(20))
    level = next(level for level in levels if len(level.functions) > 2)
    first = level.functions[0]

    def with_first(**changes: object) -> Level:
        changed = replace(first, **changes)  # type: ignore[arg-type]
        return replace(level, functions=(changed, *level.functions[1:]))

    variants = [
        level,
        replace(level, init=level.init ^ {0}),
        replace(level, goal=level.goal ^ {0}),
        replace(level, budget=5.0),
        with_first(pre=first.pre ^ {0}),
        with_first(add=first.add ^ {0}),
        with_first(delete=first.delete ^ {0}),
        with_first(cost=first.cost + 1),
        with_first(optional=True),
        with_first(alternatives_of=(1,)),
    ]
    assert len({canonical_hash(variant) for variant in variants}) == len(variants)


def test_what_colour_refinement_alone_cannot_tell_apart_is_told_apart() -> None:
    assert canonical_hash(ring(6)) != canonical_hash(ring(3, 3))
    assert canonical_hash(shuffled(ring(3, 3), 1)) == canonical_hash(ring(3, 3))


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert canonical_hash(ring(3, 4)) == 1559288982586765509
