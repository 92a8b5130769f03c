"""The reference solvers against the plainest way to work the same out."""

import math
from pathlib import Path

import pytest

from symphony.fqg.level import Function, Level, load_levels
from symphony.fqg.rules import Rules
from symphony.fqg.solving import native
from symphony.fqg.solving.exact import solve
from symphony.fqg.solving.hadd import HAdd, greedy
from symphony.fqg.solving.reachable import reach

from .small_levels import small_level

OUTSIDE = Path(__file__).parents[3] / "shared/data/levels/pddlgym_dev.json.gz"


def relaxed(level: Level, state: int) -> list[float]:
    """The costs of facts without deletes, by repetition until nothing changes."""
    costs = [0.0 if state >> at & 1 else math.inf for at in range(len(level.facts))]
    for _ in range(len(level.facts) + 1):
        for function in level.functions:
            total = function.cost + sum(costs[fact] for fact in function.pre)
            for fact in function.add:
                costs[fact] = min(costs[fact], total)
    return costs


@pytest.mark.parametrize("seed", range(60))
def test_h_add_is_the_least_fixed_point(seed: int) -> None:
    level = small_level(seed)
    state = Rules(level).start
    costs, supporters = HAdd(level).explored(state)
    assert costs == relaxed(level, state)
    assert HAdd(level)(state) == sum(costs[fact] for fact in level.goal)
    for fact, supporter in enumerate(supporters):
        assert (supporter is None) == (costs[fact] in (0, math.inf) and not _free(level, fact))


def _free(level: Level, fact: int) -> bool:
    """Whether a fact that is false at the start can be had for nothing."""
    return relaxed(level, Rules(level).start)[fact] == 0 and fact not in level.init


@pytest.mark.parametrize("seed", range(60))
def test_a_relaxed_plan_can_be_called_in_its_order_if_nothing_is_deleted(seed: int) -> None:
    level = small_level(seed)
    plan = HAdd(level).relaxed_plan(Rules(level).start)
    if plan is None:
        assert math.isinf(HAdd(level)(Rules(level).start))
        return
    true = set(level.init)
    for call in plan:
        assert level.functions[call].pre <= true
        true |= level.functions[call].add
    assert level.goal <= true
    assert len(plan) == len(set(plan))


@pytest.mark.parametrize("seed", range(60))
def test_exact_plans_win_at_the_cost_that_all_reachable_states_give(seed: int) -> None:
    level = small_level(seed)
    space = reach(level)
    assert space is not None
    outcome = solve(level)
    assert outcome.complete
    assert outcome.cost == space.to_go(level.goal, [f.cost for f in level.functions])[0]
    assert (outcome.calls is None) == math.isinf(outcome.cost)
    if outcome.calls is not None:
        assert _played(level, outcome.calls)
        assert Rules(level).cost(outcome.calls) == outcome.cost


def _played(level: Level, calls: tuple[int, ...] | list[int]) -> bool:
    rules = Rules(level)
    state = rules.start
    for call in calls:
        state = rules.step(state, call)
    return rules.won(state)


@pytest.mark.parametrize("seed", range(40))
def test_no_way_is_cheaper_than_the_cost_to_go(seed: int) -> None:
    level = small_level(seed, facts=5, functions=4)
    space = reach(level)
    assert space is not None
    costs = [function.cost for function in level.functions]
    to_go = space.to_go(level.goal, costs)
    rules = Rules(level)
    for at in range(len(space)):
        state = space.state(at)
        if rules.won(state):
            assert to_go[at] == 0
        else:
            ways = [costs[call] + to_go[after] for call, after in space.edges(at)]
            assert to_go[at] == min(ways, default=math.inf)
        assert [(call, space.state(after)) for call, after in space.edges(at)] == [
            (call, rules.step(state, call)) for call in rules.legal(state)
        ]


def test_states_stand_in_breadth_first_order_and_the_cap_is_exact() -> None:
    level = small_level(3, facts=6, functions=8)
    space = reach(level)
    assert space is not None
    depths = [space.depth(at) for at in range(len(space))]
    assert depths == sorted(depths)
    assert reach(level, len(space)) is not None
    assert reach(level, len(space) - 1) is None


def test_greedy_goes_back_only_if_it_must_and_then_not_the_same_way_again() -> None:
    # h_add is drawn to `near`, from which there is no way on but back.
    calls = (
        Function("near", frozenset({0}), frozenset({1}), frozenset({0})),
        Function("back", frozenset({1}), frozenset({0}), frozenset({1})),
        Function("round", frozenset({0}), frozenset({2}), frozenset({0})),
        Function("win", frozenset({1, 3}), frozenset({4}), frozenset()),
        Function("on", frozenset({2}), frozenset({1, 3}), frozenset({2}), cost=5),
    )
    level = Level("detour", tuple("abcde"), frozenset({0}), frozenset({4}), calls)
    assert greedy(level, 20) == [0, 1, 2, 4, 3]
    assert greedy(level, 5) is not None
    assert greedy(level, 4) is None


def test_searches_say_when_they_gave_up() -> None:
    level = small_level(3, facts=8, functions=8)
    impossible = Level(level.id, (*level.facts, "never"), level.init, frozenset({8}), ())
    assert solve(impossible).complete
    for search in (solve, native.solve):
        outcome = search(_chain(10), None, 3)
        assert (outcome.calls, outcome.cost, outcome.complete) == (None, math.inf, False)


def _chain(length: int) -> Level:
    return Level(
        "chain",
        tuple(map(str, range(length + 1))),
        frozenset({0}),
        frozenset({length}),
        tuple(
            Function(f"to {at + 1}", frozenset({at}), frozenset({at + 1}), frozenset({at}))
            for at in range(length)
        ),
    )


needs_native = pytest.mark.skipif(
    native.module() is None, reason="the wheel symphony-native is missing"
)


def agree(seeds: range) -> None:
    """Both languages say the same of these levels, some of them past one machine word."""
    for seed in seeds:
        level = small_level(seed, facts=6, functions=6, spread=1 + 20 * (seed % 4 == 0))
        costs = [function.cost for function in level.functions]
        ours, theirs = reach(level), native.reach(level)
        assert ours is not None
        assert theirs is not None
        assert len(ours) == len(theirs), seed
        assert list(ours.to_go(level.goal, costs)) == list(theirs.to_go(level.goal, costs)), seed
        for at in range(len(ours)):
            assert ours.state(at) == theirs.state(at), seed
            assert ours.depth(at) == theirs.depth(at), seed
            assert list(ours.edges(at)) == list(theirs.edges(at)), seed
        assert solve(level).cost == native.solve(level).cost, seed
        assert greedy(level, 12) == native.greedy(level, 12), seed


@needs_native
def test_both_languages_agree() -> None:
    agree(range(1_000))


@needs_native
@pytest.mark.slow
def test_both_languages_agree_on_ten_thousand_levels() -> None:
    agree(range(1_000, 11_000))


@needs_native
def test_the_native_solver_refuses_what_is_no_level() -> None:
    quest = native.module()
    assert quest is not None
    with pytest.raises(ValueError, match="fact 2 is out of range: there are 2"):
        quest.Level(2, [2], [])
    with pytest.raises(ValueError, match="cost of function 0"):
        quest.Level(2, [], [([], [], [], -1.0)])
    level = quest.Level(2, [0], [([0], [1], [], 1.0)])
    with pytest.raises(ValueError, match="2 costs for 1 functions"):
        level.solve([1], [1.0, 1.0], 10)
    with pytest.raises(IndexError, match="no state 2: there are 2"):
        level.reach(10).state(2)


@needs_native
@pytest.mark.skipif(not OUTSIDE.exists(), reason="the outside levels are not beside this folder")
def test_optima_are_those_of_another_planner() -> None:
    checked = 0
    for level in load_levels(OUTSIDE):
        space = native.reach(level, 70_000)
        if space is not None:
            ones = [1.0] * len(level.functions)
            assert space.to_go(level.goal, ones)[0] == level.optimal_calls, level.id
            assert native.solve(level).cost == level.optimal_calls, level.id
            checked += 1
    assert checked >= 28
