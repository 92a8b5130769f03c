"""Rules for recovery: retry as often as the error class deserves, then fall back, then skip.

`ff` plans as FF-replan does and uses the numbers anybody would write down. `fixed` plans cheapest
ways and uses, per failure rate, the numbers that cost least on levels of the training seeds
(`evaluating/tuning.py`); it is told the level's true failure rate, which the learner is not.
"""

from typing import NamedTuple

from ..failure import Mode
from ..game import Mechanics, Situation, Tally
from ..level import Level
from .replanning import BANNED, Replanner


class Retries(NamedTuple):
    """How often a function is called again in a row after its last error was of this class."""

    unavailable: int = 3
    refused: int = 0
    bad_output: int = 2
    timeout: int = 1
    patience: int = 2
    """How often more where there is neither another way nor a skip."""
    wary: float = 0.0
    """How much earlier failures raise a function's price: price / (1 - share) ^ wary."""
    renounce: int = 99
    """Failures in a row after which an optional function is skipped without trying others."""


TUNED: tuple[tuple[float, Retries], ...] = (
    (0.321, Retries(unavailable=2, refused=0, bad_output=1, timeout=0, patience=1, wary=0.5)),
    (0.452, Retries(unavailable=6, refused=0, bad_output=3, timeout=1, patience=0, wary=0.5)),
    (1.0, Retries(unavailable=6, refused=0, bad_output=6, timeout=3, patience=0, wary=0.5)),
)
"""Up to which failure rate of a level which numbers hold."""


def failure_rate(level: Level) -> float:
    """The chance that the first call of a function fails, on average over all functions."""
    chances = [
        sum(
            share * (1 - f.failure.success(mode, 0))
            for mode, share in zip(Mode, f.failure.modes, strict=True)
        )
        if f.failure
        else 0.0
        for f in level.functions
    ]
    return sum(chances) / max(1, len(chances))


class Rule:
    """Replans after every call, without the functions that have failed too often in a row."""

    def __init__(self, name: str, retries: Retries | None = None, optimal: bool = True) -> None:
        self.name = name
        self._given, self._optimal = retries, optimal

    def begin(self, level: Level) -> None:
        """A new game on this level."""
        self._mechanics = Mechanics(level)
        self._planner = Replanner(self._mechanics, self._optimal)
        rate = failure_rate(level)
        self._retries = self._given or next(tuned for upto, tuned in TUNED if rate <= upto)
        self._visits: dict[int, int] = {}

    def choose(self, situation: Situation) -> int:
        """A legal action."""
        mechanics, retries = self._mechanics, self._retries
        legal = mechanics.legal(situation)
        renounced = self._renounced(situation, legal)
        if renounced is not None:
            return renounced
        for patience in (0, retries.patience):
            prices = [
                self._price(call, tally, patience) for call, tally in enumerate(situation.tallies)
            ]
            plan = self._planner.plan(situation.state, situation.waived, prices)
            if plan and plan[0] in legal:
                return plan[0]
            skip = self._skip(situation, legal, prices)
            if skip is not None:
                return skip
        return mechanics.give_up

    def _price(self, call: int, tally: Tally, patience: int) -> float:
        row = tally.failures_in_a_row
        if row and row > self._retries[tally.last_error - 1] + patience:
            return BANNED
        share = tally.known_failures / (tally.known_calls + 1)
        return float(self._mechanics.prices.calls[call] / (1 - share) ** self._retries.wary)

    def _skip(self, situation: Situation, legal: list[int], prices: list[float]) -> int | None:
        """A skip after which there is a way; else any."""
        mechanics = self._mechanics
        skips = [action for action in legal if mechanics.count <= action < mechanics.give_up]
        for action in skips:
            after = mechanics.after_skip(situation, action - mechanics.count)
            if self._planner.plan(after.state, after.waived, prices) is not None:
                return action
        return skips[0] if skips else None

    def _renounced(self, situation: Situation, legal: list[int]) -> int | None:
        count = self._mechanics.count
        for action in legal:
            if count <= action < 2 * count:
                row = situation.tallies[action - count].failures_in_a_row
                if row >= self._retries.renounce:
                    return action
        return None


def ff() -> Rule:
    """FF-replan with retry, fallback, skip by error class."""
    return Rule("ff", Retries(), optimal=False)


def fixed() -> Rule:
    """The best fixed rule, tuned per failure rate."""
    return Rule("fixed")
