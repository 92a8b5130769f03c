"""A contextual bandit for recovery: after each failure it picks retry, fall back, skip or give up.

The context is what can be told of the failure (its class, failures in a row, how often others saw
the function fail, whether there is another way, whether it is optional); the value of an arm in a
context is the mean of what the rest of a game cost beyond the plan (epsilon-greedy, Sutton and
Barto, "Reinforcement Learning", 2018, chapter 2). `evaluating/banditlearning.py` learns the table
on levels of training seeds. Between failures it follows cheapest plans, as the fixed rule does.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..game import Mechanics, Situation
from ..level import Level
from .replanning import BANNED, Replanner

RETRY, FALL_BACK, SKIP, GIVE_UP = "retry", "fall back", "skip", "give up"
Context = tuple[int, int, int, bool, bool]
WARY = 0.5
"""How much earlier failures raise a function's price, as in the tuned rule."""


@dataclass(frozen=True)
class Choice:
    """A choice made after a failure: what was spent then, and what the plan had yet to cost."""

    context: Context
    arm: str
    spent: float
    planned: float


@cache
def shipped() -> dict[str, dict[str, tuple[float, int]]]:
    """Context as text -> arm -> (mean cost beyond the plan, how often it was tried)."""
    text = resources.files(__package__).joinpath("bandit.json").read_text("utf-8")
    table: dict[str, dict[str, tuple[float, int]]] = json.loads(text)
    return table


class Bandit:
    """Explores with the chance `epsilon`, else takes the arm of the least mean cost."""

    name = "bandit"

    def __init__(
        self,
        table: dict[str, dict[str, tuple[float, int]]] | None = None,
        epsilon: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._table = shipped() if table is None else table
        self._epsilon = epsilon
        self._random = random.Random(seed)  # noqa: S311 - a game

    def begin(self, level: Level) -> None:
        """A new game on this level."""
        self._mechanics = Mechanics(level)
        self._planner = Replanner(self._mechanics, optimal=True)
        self._banned: set[int] = set()
        self._last: int | None = None
        self._skipped = 0.0
        self.choices: list[Choice] = []

    def choose(self, situation: Situation) -> int:
        """A legal action."""
        action = self._chosen(situation, self._mechanics.legal(situation))
        self._last = action if action < self._mechanics.count else None
        if self._mechanics.count <= action < self._mechanics.give_up:
            self._skipped += self._mechanics.prices.skip
        return action

    def _chosen(self, situation: Situation, legal: list[int]) -> int:
        failed = self._last
        if failed is None or not situation.tallies[failed].failures_in_a_row:
            return self._planned(situation, legal)
        arms = self._arms(situation, legal, failed)
        context = self._context(situation, failed, FALL_BACK in arms)
        arm = self._arm(context, list(arms))
        plan = self._plan(situation, self._banned) or []
        planned = sum(self._mechanics.prices.calls[call] for call in plan)
        spent = situation.spent + self._skipped
        self.choices.append(Choice(context, arm, spent, planned))
        if arm == FALL_BACK:
            self._banned.add(failed)
        return arms[arm]

    def _arms(self, situation: Situation, legal: list[int], failed: int) -> dict[str, int]:
        """The action of each arm that there is."""
        mechanics = self._mechanics
        arms: dict[str, int] = {}
        if failed in legal:
            arms[RETRY] = failed
        other = self._plan(situation, self._banned | {failed})
        if other and other[0] in legal:
            arms[FALL_BACK] = other[0]
        if mechanics.count + failed in legal:
            arms[SKIP] = mechanics.count + failed
        if set(arms) <= {RETRY}:  # with another way left, giving up is never best
            arms[GIVE_UP] = mechanics.give_up
        return arms

    def _arm(self, context: Context, arms: list[str]) -> str:
        if self._random.random() < self._epsilon:
            return self._random.choice(arms)
        seen = self._table.get(str(context), {})
        known = [arm for arm in arms if arm in seen]
        if not known:
            order = (FALL_BACK, RETRY, SKIP, GIVE_UP)
            return next(arm for arm in order if arm in arms)
        return min(known, key=lambda arm: seen[arm][0])

    def _context(self, situation: Situation, failed: int, other: bool) -> Context:
        tally = situation.tallies[failed]
        share = (tally.known_failures + 0.5) / (tally.known_calls + 1)
        usual = 0 if share < 0.3 else 1 if share < 0.6 else 2
        optional = self._mechanics.level.functions[failed].optional
        return tally.last_error, min(tally.failures_in_a_row, 6), usual, other, optional

    def _planned(self, situation: Situation, legal: list[int]) -> int:
        for banned in (self._banned, set[int]()):
            plan = self._plan(situation, banned)
            if plan and plan[0] in legal:
                return plan[0]
            skips = [action for action in legal if action >= self._mechanics.count]
            if len(skips) > 1:
                return skips[0]
        return self._mechanics.give_up

    def _plan(self, situation: Situation, banned: set[int]) -> list[int] | None:
        prices = [
            BANNED
            if call in banned
            else price / (1 - tally.known_failures / (tally.known_calls + 1)) ** WARY
            for call, (price, tally) in enumerate(
                zip(self._mechanics.prices.calls, situation.tallies, strict=True)
            )
        ]
        return self._planner.plan(situation.state, situation.waived, prices)
