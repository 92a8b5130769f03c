"""Random play, and greedy play on h_add that avoids where it has been."""

import random
from collections import Counter

from ..game import Mechanics, Situation
from ..level import Level
from ..solving.hadd import HAdd


class Random:
    """Any legal action but giving up, which it does only if nothing else is legal."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def begin(self, level: Level) -> None:
        """A new game on this level; the same draws for the same level."""
        self._mechanics = Mechanics(level)
        self._random = random.Random(f"{self._seed} {level.id}")  # noqa: S311 - a game

    def choose(self, situation: Situation) -> int:
        """A legal action."""
        legal = self._mechanics.legal(situation)
        return self._random.choice(legal[:-1] or legal)


class Greedy:
    """The call of the least (visits of the next state, its price + h_add of the next state).

    It does not look at failures, and skips only if no call is legal."""

    name = "greedy"

    def begin(self, level: Level) -> None:
        """A new game on this level."""
        self._mechanics = Mechanics(level)
        self._hadd = HAdd(level, self._mechanics.prices.calls)
        self._visits: Counter[int] = Counter()
        self._estimates: dict[int, float] = {}

    def choose(self, situation: Situation) -> int:
        """A legal action."""
        self._visits[situation.state] += 1
        legal = self._mechanics.legal(situation)
        calls = [action for action in legal if action < self._mechanics.count]
        if not calls:
            return legal[0]
        return min(calls, key=lambda call: self._rank(situation.state, call))

    def _rank(self, state: int, call: int) -> tuple[int, float, int]:
        after = self._mechanics.rules.step(state, call)
        if after not in self._estimates:
            self._estimates[after] = self._hadd(after)
        return (
            self._visits[after],
            self._mechanics.prices.calls[call] + self._estimates[after],
            call,
        )
