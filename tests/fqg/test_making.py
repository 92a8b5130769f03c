"""Made levels: winnable, none twice, within their dials, and the same for the same seed."""

import hashlib
import itertools
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symphony.fqg.canonical import canonical_hash
from symphony.fqg.learning import dataset
from symphony.fqg.level import Level
from symphony.fqg.making.dials import LEARNING, Dials
from symphony.fqg.making.labelling import SITUATIONS, labelled
from symphony.fqg.making.maker import KINDS, TEST, VALIDATION, Made, Maker
from symphony.fqg.making.shards import SPLITS, Split, arrays, make_split
from symphony.fqg.prices import price
from symphony.fqg.rules import Rules
from symphony.fqg.solving import exact, hadd

SEEDS = 300
SMALL = Dials(functions=(6, 24), states=2_000)


@cache
def made() -> tuple[Maker, tuple[Made, ...]]:
    maker = Maker(SMALL)
    return maker, tuple(maker.levels(range(SEEDS)))


def test_every_level_can_be_won_and_its_optima_are_right() -> None:
    _, items = made()
    for item in items:
        level = item.level
        assert exact.solve(level).cost == level.optimal_cost == item.to_go[0], level.id
        shortest = exact.solve(level, (1.0,) * len(level.functions))
        assert shortest.cost == level.optimal_calls, level.id


def test_what_was_not_kept_is_counted_by_reason() -> None:
    maker, items = made()
    assert maker.discards.total() + len(items) == SEEDS
    assert maker.kept.total() == len(items) > SEEDS / 20
    assert set(maker.kept) <= set(KINDS)


def test_greedy_play_is_not_optimal_on_at_least_half() -> None:
    _, items = made()
    easy = 0
    for item in items:
        calls = hadd.greedy(item.level, 3 * (item.level.optimal_calls or 0) + 10)
        cost = math.inf if calls is None else Rules(item.level).cost(calls)
        assert item.easy == (cost == item.level.optimal_cost), item.level.id
        easy += item.easy
    assert easy <= (len(items) + 1) / 2


def test_levels_keep_to_their_dials() -> None:
    _, items = made()
    for item in items:
        level = item.level
        assert SMALL.functions[0] <= len(level.functions) <= SMALL.functions[1]
        assert len(level.facts) <= SMALL.facts
        assert SMALL.depth[0] <= (level.optimal_calls or 0) <= SMALL.depth[1]
        assert len(item.space) <= SMALL.states
        assert {function.cost for function in level.functions} <= {1.0, *map(float, SMALL.costs)}
    free = Maker(Dials(functions=(6, 24), states=2_000, costly=1.0, costs=(7,)))
    assert {f.cost for item in free.levels(range(20)) for f in item.level.functions} == {7.0}


def _some(kind: str, **dials: Any) -> list[Level]:
    maker = Maker(replace(SMALL, easy=1.0, **dials), kinds={kind: 1.0})
    return [item.level for item in itertools.islice(maker.levels(range(2_000)), 5)]


@pytest.mark.parametrize("kind", ["schemas", "variables", "plain"])
def test_without_inverses_no_function_undoes_another(kind: str) -> None:
    def undoing(**dials: Any) -> list[str]:
        levels = _some(kind, **dials)
        marks = ("_back", "undo_", "recover_")
        names = (function.name for level in levels for function in level.functions)
        return [name for name in names if any(mark in name for mark in marks)]

    assert undoing(inverse=(0.0, 0.0)) == []
    assert undoing(inverse=(1.0, 1.0))


def test_plain_levels_use_up_and_have_alternatives_as_often_as_asked() -> None:
    for share in (0.0, 1.0):
        levels = _some("plain", deletes=share, alternatives=share, inverse=(0.0, 0.0))
        functions = [function for level in levels for function in level.functions]
        first = [function for function in functions if function.name.startswith("make_")]
        # What an alternative uses up is its own affair.
        assert any(function.delete for function in first) == bool(share)
        assert any(function.alternatives_of for function in functions) == bool(share)


def test_no_level_is_made_twice() -> None:
    _, items = made()
    hashes = {canonical_hash(item.level) for item in items}
    assert len(hashes) == len(items)
    again = Maker(SMALL, seen=hashes)
    others = {canonical_hash(item.level) for item in again.levels(range(60))}
    assert again.discards["repeated"]
    assert not others & {canonical_hash(item.level) for item in items}


def test_a_seed_makes_the_same_level_always() -> None:
    _, items = made()
    first = items[:8]
    again = list(itertools.islice(Maker(SMALL).levels(range(SEEDS)), 8))
    assert [item.level for item in again] == [item.level for item in first]
    ours, theirs = arrays(list(map(labelled, first))), arrays(list(map(labelled, again)))
    for name, array in ours.items():
        assert np.array_equal(array, theirs[name], equal_nan=array.dtype.kind == "f"), name


def test_levels_and_labels_are_the_same_on_every_machine() -> None:
    _, items = made()
    digest = hashlib.blake2b(digest_size=8)
    for name, array in arrays(list(map(labelled, items[:8]))).items():
        if name != "kind":
            digest.update(array.tobytes())
    assert digest.hexdigest() == "32f04cc20820a341"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_can_be_made_alone(kind: str) -> None:
    maker = Maker(SMALL, kinds={kind: 1.0})
    item = next(maker.levels(range(2_000)))
    assert item.kind == kind
    assert item.level.id == f"{kind}-{item.seed}"


def test_labels_are_the_cost_of_each_action_and_of_best_play_after_it() -> None:
    _, items = made()
    for item in items[:5]:
        some = labelled(item)
        assert 0 < len(some.states) <= SITUATIONS
        assert len(set(some.states)) == len(some.states)
        for state, q in zip(some.states, some.q, strict=True):
            _check(item.level, state, q)


def _check(level: Level, state: int, q: np.ndarray) -> None:  # type: ignore[type-arg]
    rules, give_up = Rules(level), price(level).give_up
    assert not rules.won(state)
    n = len(level.functions)
    assert list(np.flatnonzero(~np.isnan(q))) == [*rules.legal(state), 2 * n]
    assert q[2 * n] == np.float32(give_up)
    for call in rules.legal(state):
        after = rules.facts(rules.step(state, call))
        left = exact.solve(Level("", level.facts, after, level.goal, level.functions)).cost
        assert q[call] == np.float32(min(give_up, level.functions[call].cost + left))


def test_shards_are_read_by_the_learner_and_splits_share_no_level(tmp_path: Path) -> None:
    seen: set[int] = set()
    for name, first in (("train", 0), ("validation", VALIDATION)):
        (maker,) = make_split(tmp_path, Split(name, 8, first, SMALL), seen)
        assert maker.kept.total() == 8
        situations = dataset.load(tmp_path, name)
        assert len(situations.graphs) == 8
        assert len(situations) > 8
    train, validation = (np.load(tmp_path / f"{name}-0000.npz") for name in ("train", "validation"))
    with train, validation:
        assert not set(train["hash"]) & set(validation["hash"])
        assert min(validation["seed"]) >= VALIDATION > max(train["seed"])


def test_splits_have_seeds_of_their_own() -> None:
    for split in SPLITS:
        assert (split.first_seed < VALIDATION) == ("train" in split.name)
        assert (split.first_seed >= TEST) == ("test" in split.name)
    assert LEARNING.functions[1] == 64
