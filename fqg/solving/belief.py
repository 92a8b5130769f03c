"""Bayes-optimal play of small levels with hidden failures: dynamic programming over belief states.

A belief state holds the facts, what is waived, and for each function that may fail what is believed
of its mode (Bayes' rule on the chances that the level tells). Its value is the least expected cost
to go: the minimum over the actions of their price plus the mean value of what they lead to
(Smallwood and Sondik, "The optimal control of partially observable Markov processes over a finite
horizon", Operations Research 21, 1973). Two things keep the belief states few, and are the only
approximations: a mode that is believed by CERTAIN is taken for sure, and a function that has failed
ATTEMPTS times in this game without that is taken to fail for good.

What cannot be of use any more is forgotten, so that width counts and not length. Levels on which
one can walk in a circle, or that have too many belief states, are refused.
"""

import math
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

from ..failure import CLASSES, Error, Failure, Mode
from ..game import Mechanics
from ..level import Level
from ..rules import bits

CERTAIN = 0.99
ATTEMPTS = 4
STATES = 20_000
"""Belief states of a level that are valued before it is refused, unless told otherwise."""


class TooLargeError(ValueError):
    """The level has too many belief states, or one can walk in a circle on it."""


class Belief(NamedTuple):
    """A belief state. `minds` has one number per function that may fail: an index of what may be
    believed of it. `spent` and `elapsed` are 0 where the level sets no budget or no deadline."""

    state: int
    waived: int
    minds: tuple[int, ...]
    spent: float = 0.0
    elapsed: float = 0.0


@dataclass
class _Mind:
    """What is believed of one function, and where the next call leads."""

    modes: tuple[float, ...]
    called: bool
    failures: int
    success: float
    outcomes: list[tuple[Error, float]]
    """How the next call may end, and the chance of it."""
    after: list[int]
    """The minds after a success and after each error class; -1: not known yet."""


class Solver:
    """Values and Q-values on one level. Raises TooLargeError, from any method that values."""

    def __init__(self, level: Level, states: int = STATES) -> None:
        self.level = level
        self.mechanics = play = Mechanics(level)
        self._cap = states
        self._prices = play.prices
        self._goal = bits(level.goal)
        self._pre = [bits(f.pre) for f in level.functions]
        self._add = [bits(f.add) for f in level.functions]
        self._keep = [~bits(f.delete) for f in level.functions]
        self._lasting = ~bits(fact for f in level.functions for fact in f.delete)
        failing = [at for at, f in enumerate(level.functions) if f.failure is not None]
        self._place = {function: place for place, function in enumerate(failing)}
        self._histories = [_Histories(level.functions[at].failure) for at in failing]
        self._useful_at: dict[tuple[int, int], list[int]] = {}
        self._kept: dict[tuple[int, int], tuple[int, ...]] = {}
        self._bounds: dict[tuple[int, int], float] = {}
        self._values: dict[Belief, float] = {}
        self._open: set[Belief] = set()
        once = self._lasting == -1  # nobody needs a second success
        self._least = [
            paid / (self._histories[self._place[at]].best if once and at in self._place else 1.0)
            for at, paid in enumerate(self._prices.calls)
        ]

    def start(self) -> Belief:
        """What is believed before the first action."""
        rules = self.mechanics.rules
        return self._canonical(Belief(rules.start, 0, (0,) * len(self._histories)))

    def after_call(self, belief: Belief, call: int, error: Error) -> Belief:
        """What is believed after this call was seen to end so."""
        minds = belief.minds
        if call in self._place:
            place = self._place[call]
            mind = self._histories[place].after(minds[place], error)
            minds = (*minds[:place], mind, *minds[place + 1 :])
        state = belief.state
        if error is Error.NONE:
            state = state & self._keep[call] | self._add[call]
        level = self.level
        spent = 0.0 if level.budget is None else belief.spent + self._prices.calls[call]
        time = level.functions[call].duration
        elapsed = 0.0 if level.deadline is None else belief.elapsed + time
        return self._canonical(Belief(state, belief.waived, minds, spent, elapsed))

    def after_skip(self, belief: Belief, function: int) -> Belief:
        """What is believed after a skip of this function."""
        waived = belief.waived | self.mechanics.skips[function] & ~belief.state
        return self._canonical(belief._replace(waived=waived))

    def value(self, belief: Belief) -> float:
        """The least expected cost to go, at most that of giving up."""
        known = self._values.get(belief)
        if known is not None:
            return known
        if self.mechanics.won(belief.state, belief.waived):
            return 0.0
        if belief in self._open:
            raise TooLargeError("one can walk in a circle")
        if len(self._values) >= self._cap:
            raise TooLargeError(f"more than {self._cap} belief states")
        self._open.add(belief)
        best = self._prices.give_up
        for function, facts in enumerate(self.mechanics.skips):
            if facts & ~belief.state & ~belief.waived:
                best = min(best, self._prices.skip + self.value(self.after_skip(belief, function)))
        here = self._bound(belief.state, belief.waived)
        options = []
        for call in self._useful(belief.state, belief.waived):
            if self._affordable(belief, call):
                chance = self._success(belief, call)
                after = belief.state & self._keep[call] | self._add[call]
                bound = self._prices.calls[call] + chance * self._bound(after, belief.waived)
                options.append((bound + (1 - chance) * here, call))
        for bound, call in sorted(options):
            if bound >= best:
                break
            cost, again = self._expected(belief, call)
            if again < 1:
                best = min(best, cost / (1 - again))
        self._open.remove(belief)
        self._values[belief] = best
        return best

    def q_values(self, belief: Belief) -> list[float]:
        """Per action its expected cost if all later play is best; NaN where it is illegal."""
        level, prices = self.level, self._prices
        values = [math.nan] * (2 * len(level.functions) + 1)
        value = self.value(belief)
        useful = set(self._useful(belief.state, belief.waived))
        for call, pre in enumerate(self._pre):
            if pre & ~belief.state or not self._affordable(belief, call):
                continue
            if call in useful or level.budget is not None or level.deadline is not None:
                cost, again = self._expected(belief, call)
                values[call] = cost + again * value
            else:
                values[call] = prices.calls[call] + self._harm(belief, call)
        for function, facts in enumerate(self.mechanics.skips):
            if facts & ~belief.state & ~belief.waived:
                after = self.value(self.after_skip(belief, function))
                values[len(level.functions) + function] = prices.skip + after
        values[-1] = prices.give_up
        return values

    def _harm(self, belief: Belief, call: int) -> float:
        """The value after a call that is of no use, which may yet delete something."""
        chance = self._success(belief, call)
        done = belief.state & self._keep[call] | self._add[call]
        if done == belief.state or chance == 0:
            return self.value(belief)
        after = self.value(self._canonical(belief._replace(state=done)))
        return chance * after + (1 - chance) * self.value(belief)

    def _expected(self, belief: Belief, call: int) -> tuple[float, float]:
        """The mean cost of a call and what follows it; and the chance that nothing has changed,
        whose value is left out."""
        cost, again = self._prices.calls[call], 0.0
        for error, chance in self._outcomes(belief, call):
            after = self.after_call(belief, call, error)
            if after == belief:
                again += chance
            else:
                cost += chance * self.value(after)
        return cost, again

    def _outcomes(self, belief: Belief, call: int) -> list[tuple[Error, float]]:
        if call not in self._place:
            return [(Error.NONE, 1.0)]
        place = self._place[call]
        return self._histories[place].minds[belief.minds[place]].outcomes

    def _success(self, belief: Belief, call: int) -> float:
        if call not in self._place:
            return 1.0
        place = self._place[call]
        return self._histories[place].minds[belief.minds[place]].success

    def _affordable(self, belief: Belief, call: int) -> bool:
        level, slack = self.level, 1e-9
        spent = belief.spent + self._prices.calls[call]
        elapsed = belief.elapsed + level.functions[call].duration
        return (level.budget is None or spent <= level.budget + slack) and (
            level.deadline is None or elapsed <= level.deadline + slack
        )

    def _useful(self, state: int, waived: int) -> list[int]:
        """The legal calls that may lead nearer to the goal."""
        relevant = self._relevant(state, waived)
        return [call for call in relevant if self._pre[call] & ~state == 0]

    def _relevant(self, state: int, waived: int) -> list[int]:
        """The functions that may yet be of use, seen backwards from the goal."""
        key = (state, waived)
        if key not in self._useful_at:
            needed = self._goal & ~waived
            had = state & self._lasting
            chosen: set[int] = set()
            while True:
                more = {
                    call
                    for call, add in enumerate(self._add)
                    if call not in chosen and add & needed & ~had
                }
                if not more:
                    break
                chosen |= more
                for call in more:
                    needed |= self._pre[call]
            self._useful_at[key] = sorted(chosen)
        return self._useful_at[key]

    def _canonical(self, belief: Belief) -> Belief:
        """Without what is believed of functions that are of no use any more."""
        if not any(belief.minds):
            return belief
        key = belief.state, belief.waived
        if key not in self._kept:
            relevant = set(self._relevant(*key))
            self._kept[key] = tuple(int(call in relevant) for call in self._place)
        minds = tuple(map(mul, belief.minds, self._kept[key]))
        return Belief(belief.state, belief.waived, minds, belief.spent, belief.elapsed)

    def _bound(self, state: int, waived: int) -> float:
        """A cost to go that nothing undercuts: a success costs the fewest calls thinkable."""
        key = (state, waived)
        known = self._bounds.get(key)
        if known is not None:
            return known
        if self.mechanics.won(state, waived):
            return 0.0
        self._bounds[key] = 0.0  # in a circle; refused when its values are asked for
        best = self._prices.give_up
        for facts in self.mechanics.skips:
            if missing := facts & ~state & ~waived:
                best = min(best, self._prices.skip + self._bound(state, waived | missing))
        for call in self._useful(state, waived):
            after = state & self._keep[call] | self._add[call]
            if after != state:
                best = min(best, self._least[call] + self._bound(after, waived))
        self._bounds[key] = best
        return best


class _Histories:
    """What may come to be believed of one function; index 0 is what the level tells."""

    def __init__(self, failure: Failure | None) -> None:
        assert failure is not None  # noqa: S101 - only of functions that may fail
        self._failure = failure
        self._index: dict[tuple[object, ...], int] = {}
        self.minds: list[_Mind] = []
        self._noted(tuple(failure.modes), called=False, failures=0)
        first = self.minds[0].success
        self.best = max(first, failure.recovers, failure.improves) or 1.0
        """No call before the first success succeeds with a larger chance."""

    def after(self, at: int, error: Error) -> int:
        """The mind after a call that ended so."""
        mind = self.minds[at]
        if mind.after[error] < 0:
            mind.after[error] = self._updated(mind, error)
        return mind.after[error]

    def _updated(self, mind: _Mind, error: Error) -> int:
        failure = self._failure
        weights = []
        for mode, weight in zip(Mode, mind.modes, strict=True):
            chance = failure.success(mode, int(mind.called))
            shown = 1.0 if error is Error.NONE else failure.shows(mode, error)
            weights.append(weight * (chance if error is Error.NONE else (1 - chance) * shown))
        total = sum(weights)
        if total <= 0:  # what was taken for sure has been refuted
            return self._noted((0.0, 0.0, 1.0, 0.0), called=True, failures=0)
        failed = mind.failures + (error is not Error.NONE)
        return self._noted(tuple(w / total for w in weights), called=True, failures=failed)

    def _noted(self, modes: tuple[float, ...], called: bool, failures: int) -> int:
        sure = max(modes)
        if called and sure < CERTAIN and failures >= ATTEMPTS:
            modes, sure = (0.0, 0.0, 1.0, 0.0), 1.0
        if called and sure >= CERTAIN:
            modes = tuple(float(weight == sure) for weight in modes)
            failures = 0
        key = (*(round(weight, 9) for weight in modes), called, failures)
        if key not in self._index:
            self._index[key] = len(self.minds)
            self.minds.append(self._mind(modes, called, failures))
        return self._index[key]

    def _mind(self, modes: tuple[float, ...], called: bool, failures: int) -> _Mind:
        failure = self._failure
        chances = [failure.success(mode, int(called)) for mode in Mode]
        success = sum(weight * chance for weight, chance in zip(modes, chances, strict=True))
        outcomes = [(Error.NONE, success)]
        for error in list(Error)[1:]:
            shown = sum(
                weight * (1 - chance) * failure.shows(mode, error)
                for mode, weight, chance in zip(Mode, modes, chances, strict=True)
            )
            outcomes.append((error, shown))
        possible = [(error, chance) for error, chance in outcomes if chance > 0]
        return _Mind(modes, called, failures, success, possible, [-1] * (CLASSES + 1))
