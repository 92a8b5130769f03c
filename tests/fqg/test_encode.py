"""What the network sees: the same whatever things are called and in what order they stand."""

import random
from dataclasses import replace

import numpy as np
import pytest

from symphony.fqg.encode import FACT_FEATURES, FUNCTION_FEATURES, GLOBAL_FEATURES
from symphony.fqg.failure import Chances, Error
from symphony.fqg.game import Mechanics

from .situations import seen, shuffled, some_level


@pytest.mark.parametrize("seed", range(5))
def test_order_and_names_change_nothing_but_the_order(seed: int) -> None:
    level = some_level(seed)
    functions, facts = list(range(9)), list(range(7))
    draw = random.Random(seed)  # noqa: S311 - no secret
    draw.shuffle(functions)
    draw.shuffle(facts)

    one = seen(Mechanics(level).start())
    other = seen(Mechanics(shuffled(level, functions, facts)).start())

    np.testing.assert_array_equal(other.functions, one.functions[functions])
    np.testing.assert_array_equal(other.facts, one.facts[facts])
    np.testing.assert_array_equal(other.globals, one.globals)


def test_features_have_the_announced_shapes_and_are_finite() -> None:
    found = seen(Mechanics(some_level(0)).start())

    assert found.facts.shape == (7, FACT_FEATURES)
    assert found.functions.shape == (9, FUNCTION_FEATURES)
    assert found.globals.shape == (GLOBAL_FEATURES,)
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in found)


def test_hidden_chances_are_not_seen() -> None:
    level = some_level(0)
    failure = level.functions[1].failure
    assert failure is not None
    worse = replace(failure, modes=Chances(0.0, 0.0, 1.0), recovers=0.0, misleads=1.0)
    functions = (level.functions[0], replace(level.functions[1], failure=worse))
    other = replace(level, functions=(*functions, *level.functions[2:]))

    for one, same in zip(
        seen(Mechanics(level).start()), seen(Mechanics(other).start()), strict=True
    ):
        np.testing.assert_array_equal(one, same)


def test_a_failed_call_is_seen_at_its_function_alone() -> None:
    mechanics = Mechanics(replace(some_level(0), init=frozenset(range(7))))
    start = mechanics.start()
    failed = mechanics.after_call(start, 1, Error.REFUSED)

    before, after = seen(start), seen(failed)

    changed = (before.functions != after.functions).any(axis=1)
    assert changed[1]
    assert not changed[[2, 4, 5, 6, 7, 8]].any()
    np.testing.assert_array_equal(before.facts, after.facts)


def test_costs_count_only_relative_to_each_other() -> None:
    level = some_level(0)
    dear = replace(level, functions=tuple(replace(f, cost=10 * f.cost) for f in level.functions))

    one, other = seen(Mechanics(level).start()), seen(Mechanics(dear).start())

    np.testing.assert_allclose(one.functions, other.functions, rtol=1e-6)
