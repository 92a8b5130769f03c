"""The shipped policy keeps what it could when it was shipped, on levels that it has never seen."""

from itertools import count, islice

import pytest

from symphony.fqg.evaluating.evaluate import play_all, score
from symphony.fqg.game import Game
from symphony.fqg.level import Function, Level
from symphony.fqg.making.maker import TEST, Maker
from symphony.fqg.network import Network
from symphony.fqg.policy import Dqn, Guided, read, shipped

LEVELS = 40
FLOORS = {"dqn": (0.95, 1.03), "guided": (1.0, 1.01)}
"""Just under what was measured when the policy was shipped: solved, calls to the optimum."""
SIZE = 1 << 20
"""Bytes that the shipped policy may have."""


@pytest.fixture(name="network", scope="module")
def _network() -> Network:
    return read(shipped())


@pytest.fixture(name="levels", scope="module")
def _levels() -> list[Level]:
    return [made.level for made in islice(Maker().levels(count(TEST)), LEVELS)]


def test_the_shipped_policy_is_small() -> None:
    assert shipped().stat().st_size <= SIZE


def test_greedy_play_keeps_its_floor(network: Network, levels: list[Level]) -> None:
    found = score(play_all(Dqn(network), levels))

    assert found.solved >= FLOORS["dqn"][0]
    assert found.calls_ratio is not None
    assert found.calls_ratio <= FLOORS["dqn"][1]


def test_guided_search_keeps_its_floor(network: Network, levels: list[Level]) -> None:
    found = score(play_all(Guided(network, expansions=60), levels))

    assert found.solved >= FLOORS["guided"][0]
    assert found.calls_ratio is not None
    assert found.calls_ratio <= FLOORS["guided"][1]


def test_a_visited_state_is_left_for_one_that_was_not(network: Network) -> None:
    # A ring of eight places, walked both ways; whatever the network prefers, no place is met twice.
    places = range(8)

    def walk(name: str, at: int, to: int) -> Function:
        return Function(name, frozenset({at}), frozenset({to}), frozenset({at}))

    ring = [walk("on", at, (at + 1) % 8) for at in places]
    back = [walk("back", at, (at - 1) % 8) for at in places]
    level = Level(
        id="ring",
        facts=tuple(f"at {place}" for place in places),
        init=frozenset({0}),
        goal=frozenset({4}),
        functions=(*ring, *back),
        optimal_calls=4,
        optimal_cost=4.0,
    )
    game, player = Game(level), Dqn(network)
    situation = game.reset(0)
    player.begin(level)
    states = [situation.state]
    for _ in range(4):
        outcome = game.step(player.choose(situation))
        situation = outcome.situation
        states.append(situation.state)

    assert len(set(states)) == len(states)
    assert outcome.won
