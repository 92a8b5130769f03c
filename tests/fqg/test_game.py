"""The game: which actions are legal, what they cost, and that only the seed decides."""

from dataclasses import replace

import pytest

from symphony.fqg.failure import Chances, Error, Failure, Mode
from symphony.fqg.game import Game, Mechanics, Situation
from symphony.fqg.level import Function, Level, Preferences
from symphony.fqg.making.failures import make
from symphony.fqg.prices import price
from symphony.fqg.rules import IllegalCallError


def function(name: str, add: int, **more: object) -> Function:
    made = Function(name, pre=frozenset(), add=frozenset({add}), delete=frozenset())
    return replace(made, **more)  # type: ignore[arg-type]


def failing(*chances: float, **more: float) -> Failure:
    return Failure(Chances(*chances), **more)  # type: ignore[arg-type]


PARCEL = Level(
    "parcel",
    ("sent", "ribbon"),
    frozenset(),
    frozenset({0, 1}),
    (
        function("send", 0, cost=2.0),
        function("ribbon", 1, optional=True, failure=failing(0, 0, 1, 0)),
    ),
)


def test_a_failed_call_costs_and_changes_nothing_but_what_is_known() -> None:
    game = Game(PARCEL)
    before = game.reset(1)
    outcome = game.step(1)
    after = outcome.situation
    assert (outcome.reward, outcome.error, after.state, after.spent) == (-1, Error.REFUSED, 0, 1)
    assert after.tallies[1][:4] == (1, 0, 1, Error.REFUSED)
    assert after.tallies[0] == before.tallies[0]


def test_a_skip_waives_what_only_optional_functions_give() -> None:
    game = Game(PARCEL)
    assert game.mechanics.legal(game.reset(1)) == [0, 1, 3, 4]  # not 2: sending is no option
    skipped = game.step(3)
    assert (skipped.reward, skipped.situation.waived, skipped.won) == (-4, 0b10, False)
    assert game.mechanics.legal(skipped.situation) == [0, 1, 4]
    with pytest.raises(IllegalCallError):
        game.step(3)
    won = game.step(0)
    assert (won.won, won.over, won.truncated) == (True, True, False)


def test_giving_up_ends_the_game_at_the_price_of_three_optima_and_ten() -> None:
    game = Game(PARCEL)
    game.reset(1)
    outcome = game.step(4)
    assert (outcome.reward, outcome.over, outcome.won) == (-(3 * 3 + 10), True, False)


def test_a_long_game_is_cut_off_and_not_over() -> None:
    game = Game(PARCEL)
    game.reset(1)
    outcomes = [game.step(1) for _ in range(game.mechanics.prices.limit)]
    assert [outcome.truncated for outcome in outcomes] == [False] * 15 + [True]
    assert not outcomes[-1].over


def test_calls_beyond_budget_or_deadline_are_not_legal() -> None:
    def legal(level: Level) -> list[int]:
        mechanics = Mechanics(level)
        return mechanics.legal(mechanics.start())

    functions = (function("dear", 0, cost=5.0), function("slow", 0, duration=9.0))
    level = Level("limits", ("done",), frozenset(), frozenset({0}), functions)
    assert legal(level) == [0, 1, 4]
    assert legal(replace(level, budget=4.0)) == [1, 4]
    assert legal(replace(level, budget=5.0, deadline=8.0)) == [0, 4]


def test_prices_are_what_matters_to_the_player() -> None:
    functions = (function("slow", 0, duration=3.0), function("poor", 0, cost=2.0, quality=0.25))
    wishes = Preferences(quality=1.0, cost=0.5, time=1.0)
    level = Level("wishes", ("a",), frozenset(), frozenset({0}), functions, preferences=wishes)
    assert price(level).calls == (3.5, 1.75)


def rollout(game: Game, seed: int) -> list[tuple[Situation, float]]:
    situation, seen = game.reset(seed), []
    for at in range(12):
        legal = game.mechanics.legal(situation)
        outcome = game.step(legal[at % len(legal)] if at % len(legal) else legal[0])
        situation = outcome.situation
        seen.append((situation, outcome.reward))
        if outcome.over or outcome.truncated:
            break
    return seen


@pytest.mark.parametrize("seed", range(5))
def test_two_games_with_one_seed_are_equal(seed: int) -> None:
    level = make(seed)
    game = Game(level)
    first = rollout(game, 7)
    assert rollout(game, 7) == first
    assert rollout(Game(level), 7) == first


def test_a_functions_fortune_does_not_depend_on_what_else_is_called() -> None:
    shaky = failing(0.2, 0.4, 0.2, 0.2, misleads=0.5)
    functions = (function("one", 0, failure=shaky), function("other", 1, failure=shaky))
    level = Level("pair", ("a", "b", "c"), frozenset(), frozenset({2}), functions, 50)
    game = Game(level)
    for seed in range(30):
        game.reset(seed)
        alone = [game.step(0).error for _ in range(5)]
        game.reset(seed)
        mixed = [game.step(call).error for call in (1, 0, 0, 1, 1, 0, 1, 0, 0)]
        assert [mixed[at] for at in (1, 2, 5, 7, 8)] == alone


def test_modes_do_what_they_are_called() -> None:
    def errors(mode: Mode, seed: int) -> list[Error]:
        chances = [float(mode is other) for other in Mode]
        level = replace(
            PARCEL, functions=(function("a", 0, failure=failing(*chances)),), optimal_calls=100
        )
        game = Game(replace(level, goal=frozenset({1})))
        game.reset(seed)
        assert game.modes() == (mode,)
        return [game.step(0).error for _ in range(8)]

    seeds = range(40)
    assert {e for s in seeds for e in errors(Mode.SOUND, s)} == {Error.NONE}
    assert {e for s in seeds for e in errors(Mode.PERMANENT, s)} == {Error.REFUSED}
    assert {e for s in seeds for e in errors(Mode.TRANSIENT, s)} == {Error.NONE, Error.UNAVAILABLE}
    assert len({tuple(errors(Mode.TRANSIENT, s)) for s in seeds}) > 20  # each seed has its own
    assert {errors(Mode.QUALITY, s)[0] for s in seeds} == {Error.BAD_OUTPUT}
    assert {e for s in seeds for e in errors(Mode.QUALITY, s)[1:]} == {Error.NONE, Error.BAD_OUTPUT}
