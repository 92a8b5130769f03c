"""The game on one level: what the player sees, which actions are legal, what they lead to.

Actions for n functions: 0 to n-1 call, n to 2n-1 skip, 2n gives up. A failed call costs as much as
any other and changes no fact. A skip waives those facts of the goal that only optional functions
give and this one among them. `Mechanics` is pure; `Game` draws what is hidden, and `reset(seed)` is
the only source of chance: the outcome of a function's k-th call follows from the seed, the function
and k, whatever else is called, so that players can be compared on the same fortune.
"""

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

from .failure import CLASSES, OWN, Error, Failure, Mode
from .level import Level, Preferences
from .prices import price
from .rules import IllegalCallError, Rules, bits

ROUNDING = 1e-9


class Tally(NamedTuple):
    """What has been seen of one function."""

    calls: int = 0
    successes: int = 0
    failures_in_a_row: int = 0
    last_error: int = Error.NONE
    """Of the last call, if it failed."""
    known_calls: int = 0
    known_failures: int = 0
    mean_duration: float = 0.0
    """Seconds, of the calls in this game."""


@dataclass(frozen=True)
class Situation:
    """All that a player sees. The encoder's input, in the game and in production."""

    level: Level
    state: int
    waived: int
    tallies: tuple[Tally, ...]
    spent: float
    """What the calls have cost; skips are not in it."""
    budget: float | None
    elapsed: float
    deadline: float | None
    resources_free: float
    """A share; in the game 1."""
    qualities: tuple[float | None, ...]
    """Per fact, 0 to 1; None: not known."""
    preferences: Preferences


class Mechanics:
    """What is legal and what follows, on one level, given whether calls succeed."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.rules = Rules(level)
        self.prices = price(level)
        self.count = len(level.functions)
        self.give_up = 2 * self.count
        self.skips = _skips(level)
        """Per function the facts that skipping it would waive."""
        self._goal = bits(level.goal)

    def start(self) -> Situation:
        """The situation before the first action."""
        level = self.level
        known = [f.failure.known if f.failure else (0, 0) for f in level.functions]
        return Situation(
            level=level,
            state=self.rules.start,
            waived=0,
            tallies=tuple(Tally(known_calls=c, known_failures=f) for c, f in known),
            spent=0.0,
            budget=level.budget,
            elapsed=0.0,
            deadline=level.deadline,
            resources_free=1.0,
            qualities=(None,) * len(level.facts),
            preferences=level.preferences,
        )

    def won(self, state: int, waived: int) -> bool:
        """Whether each fact of the goal is true or waived."""
        return self._goal & ~waived & ~state == 0

    def legal(self, situation: Situation) -> list[int]:
        """The legal actions, ascending. To give up is always one."""
        calls = [
            call for call in self.rules.legal(situation.state) if self._affordable(situation, call)
        ]
        had = situation.state | situation.waived
        skips = [self.count + at for at, facts in enumerate(self.skips) if facts & ~had]
        return [*calls, *skips, self.give_up]

    def after_call(self, situation: Situation, call: int, error: Error = Error.NONE) -> Situation:
        """The situation after a call that failed in this way, or did not fail."""
        function, before = self.level.functions[call], situation.tallies[call]
        done = error is Error.NONE
        tally = before._replace(
            calls=before.calls + 1,
            successes=before.successes + done,
            failures_in_a_row=0 if done else before.failures_in_a_row + 1,
            last_error=int(error),
            mean_duration=function.duration,
        )
        qualities = situation.qualities
        if done and (function.quality is not None or any(q is not None for q in qualities)):
            qualities = tuple(
                function.quality if fact in function.add else quality
                for fact, quality in enumerate(qualities)
            )
        return replace(
            situation,
            state=self.rules.step(situation.state, call) if done else situation.state,
            tallies=(*situation.tallies[:call], tally, *situation.tallies[call + 1 :]),
            spent=situation.spent + self.prices.calls[call],
            elapsed=situation.elapsed + function.duration,
            qualities=qualities,
        )

    def after_skip(self, situation: Situation, function: int) -> Situation:
        """The situation after a skip of this function."""
        waived = self.skips[function] & ~situation.state
        return replace(situation, waived=situation.waived | waived)

    def _affordable(self, situation: Situation, call: int) -> bool:
        spent = situation.spent + self.prices.calls[call]
        elapsed = situation.elapsed + self.level.functions[call].duration
        return (situation.budget is None or spent <= situation.budget + ROUNDING) and (
            situation.deadline is None or elapsed <= situation.deadline + ROUNDING
        )


@dataclass(frozen=True)
class Outcome:
    """What an action led to. A game ends if it is `over` (won or given up) or `truncated`."""

    situation: Situation
    reward: float
    error: Error
    """Of a call that failed."""
    won: bool
    over: bool
    truncated: bool


class Game:
    """One level being played; `reset` comes first."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.mechanics = Mechanics(level)

    def reset(self, seed: int) -> Situation:
        """A new game, whose hidden modes and fortune follow from the seed (from 0)."""
        self._hidden = [
            None if function.failure is None else _Hidden(function.failure, seed, at)
            for at, function in enumerate(self.level.functions)
        ]
        self.actions = 0
        self.situation = self.mechanics.start()
        return self.situation

    def won(self) -> bool:
        """Whether the present situation wins; a level may begin so."""
        return self.mechanics.won(self.situation.state, self.situation.waived)

    def step(self, action: int) -> Outcome:
        """Plays an action. Raises IllegalCallError for one that is not legal."""
        play, before, error = self.mechanics, self.situation, Error.NONE
        if action not in play.legal(before):
            raise IllegalCallError(f"action {action} is not legal here")
        if action < play.count:
            hidden = self._hidden[action]
            error = hidden.call() if hidden else Error.NONE
            self.situation = play.after_call(before, action, error)
            reward = -play.prices.calls[action]
        elif action < play.give_up:
            self.situation = play.after_skip(before, action - play.count)
            reward = -play.prices.skip
        else:
            reward = -play.prices.give_up
        self.actions += 1
        won = self.won()
        over = won or action == play.give_up
        truncated = not over and self.actions >= play.prices.limit
        return Outcome(self.situation, reward, error, won, over, truncated)

    def modes(self) -> tuple[Mode, ...]:
        """What was hidden: for reports on games that are over, not for players."""
        return tuple(hidden.mode if hidden else Mode.SOUND for hidden in self._hidden)


class _Hidden:
    """One function's mode and its outcomes in order. A call uses up three numbers, whatever it
    does, so that what is drawn for the next does not depend on this one's outcome."""

    def __init__(self, failure: Failure, seed: int, function: int) -> None:
        self._failure = failure
        self._random = random.Random(f"{seed}/{function}")  # noqa: S311 - a game
        self._calls = 0
        self.mode = Mode(self._random.choices(range(4), failure.modes)[0])

    def call(self) -> Error:
        succeeds, misleads, shown = (self._random.random() for _ in range(3))
        chance = self._failure.success(self.mode, self._calls)
        self._calls += 1
        if succeeds < chance:
            return Error.NONE
        if misleads < self._failure.misleads:
            return Error(1 + int(shown * CLASSES))
        return OWN[self.mode]


def _skips(level: Level) -> tuple[int, ...]:
    firm = bits(fact for f in level.functions if not f.optional for fact in f.add)
    waivable = bits(level.goal) & ~firm
    return tuple(bits(f.add) & waivable if f.optional else 0 for f in level.functions)
