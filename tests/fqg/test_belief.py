"""Bayes-optimal play: values by hand, values against games, and what is refused."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from symphony.fqg.baselines.best import Exact
from symphony.fqg.evaluating.evaluate import play
from symphony.fqg.failure import Chances, Error, Failure
from symphony.fqg.level import Function, Level
from symphony.fqg.making.failures import Dials, make
from symphony.fqg.solving.belief import Solver, TooLargeError


def one(failure: Failure, *others: Function, cost: float = 1.0) -> Level:
    ask = Function("ask", frozenset(), frozenset({0}), frozenset(), cost=cost, failure=failure)
    return Level("one", ("answer",), frozenset(), frozenset({0}), (ask, *others))


SURE = Function("sure", frozenset(), frozenset({0}), frozenset(), cost=4.0)


def value(level: Level) -> float:
    solver = Solver(level)
    return solver.value(solver.start())


def test_a_transient_failure_costs_the_mean_of_its_calls() -> None:
    assert value(one(Failure(Chances(0, 1, 0, 0), recovers=0.4))) == pytest.approx(1 / 0.4)


def test_poor_quality_costs_a_first_call_and_the_mean_of_the_repeats() -> None:
    assert value(one(Failure(Chances(0, 0, 0, 1), improves=0.5))) == pytest.approx(1 + 1 / 0.5)


def test_a_cheap_try_is_worth_it_exactly_as_often_as_it_works() -> None:
    def tried(works: float) -> float:
        return value(one(Failure(Chances(works, 0, 1 - works, 0)), SURE, cost=2.0))

    assert tried(0.6) == pytest.approx(2 + 0.4 * 4)  # try, then the sure one
    assert tried(0.4) == pytest.approx(4)  # the sure one at once


def test_what_an_error_tells_is_bayes_rule() -> None:
    failure = Failure(Chances(0, 0.5, 0.5, 0), recovers=0.5, misleads=0.4)
    solver = Solver(one(failure, SURE))
    after = solver.after_call(solver.start(), 0, Error.UNAVAILABLE)
    transient, permanent = 0.5 * 0.5 * 0.7, 0.5 * 0.1
    again = solver.q_values(after)[0]
    works = transient / (transient + permanent) * 0.5
    assert again <= 1 + (1 - works) * 4 + 1e-9  # no worse than one more try and the sure one
    refused = solver.after_call(solver.start(), 0, Error.REFUSED)
    assert min(solver.q_values(refused)[:2]) == solver.q_values(refused)[1] == 4


def test_illegal_actions_have_no_value_and_giving_up_its_price() -> None:
    level = one(Failure(Chances(0, 0, 1, 0)))
    solver = Solver(level)
    dead = solver.after_call(solver.start(), 0, Error.REFUSED)
    call, skip, give_up = solver.q_values(dead)
    assert math.isnan(skip)
    assert give_up == solver.value(dead) == 13
    assert call == 14  # a hopeless retry is worse than to give up at once


@pytest.mark.parametrize("seed", [2, 5, 8, 14, 30])
def test_games_cost_on_average_what_the_solver_says(seed: int) -> None:
    small = make(seed, Dials(works=(1, 2), misleads=(0.0, 0.3)))
    level = replace(small, optimal_calls=100)  # long enough for all
    expected = value(replace(level, optimal_cost=6.0))
    player = Exact()
    same = replace(level, optimal_cost=6.0)
    costs = [play(player, same, game).cost for game in range(1200)]
    assert player.computed
    assert abs(fmean(costs) - expected) < 4 * stdev(costs) / math.sqrt(len(costs)) + 0.02 * expected


def test_levels_on_which_one_can_walk_in_circles_or_that_are_too_wide_are_refused() -> None:
    there = Function("go", frozenset({0}), frozenset({1}), frozenset({0}))
    back = Function("return", frozenset({1}), frozenset({0}), frozenset({1}))
    both = Function("both", frozenset({0, 1}), frozenset({2}), frozenset())
    circle = Level("circle", ("a", "b", "c"), frozenset({0}), frozenset({2}), (there, back, both))
    with pytest.raises(TooLargeError, match="circle"):
        value(circle)
    solver = Solver(make(3), states=3)
    with pytest.raises(TooLargeError, match="more than 3"):
        solver.value(solver.start())
