"""Best play where it can be computed: a cheapest plan, or Bayes-optimal play of what may fail."""

from ..failure import Error
from ..game import Mechanics, Situation
from ..level import Level
from ..solving.belief import Belief, Solver, TooLargeError
from .replanning import Replanner
from .rule import fixed

STATES = 4_000
EXPANSIONS = 500_000


class Exact:
    """Knows the chances that the level tells, which other players do not see. On levels that are
    too wide for it, it plays the fixed rule; `computed` says whether the last one was."""

    name = "exact"

    def __init__(self, states: int = STATES) -> None:
        self._states = states

    def begin(self, level: Level) -> None:
        """A new game on this level. Solves a level once, however often it is played."""
        if getattr(self, "_level", None) is not level:
            self._level, self._mechanics = level, Mechanics(level)
            self._planner = Replanner(self._mechanics, optimal=True, expansions=EXPANSIONS)
            self._solver = self._solved(level)
            self.computed = self._solver is not None or not _fails(level)
        self._belief: Belief | None = None
        self._last: tuple[Situation, int] | None = None
        self._rule = fixed()
        self._rule.begin(level)

    def choose(self, situation: Situation) -> int:
        """A legal action."""
        if self._solver is None:
            if _fails(self._level):
                return self._rule.choose(situation)
            prices = self._mechanics.prices.calls
            plan = self._planner.plan(situation.state, situation.waived, prices)
            return plan[0] if plan else self._rule.choose(situation)
        solver = self._solver
        try:
            self._belief = (
                solver.start() if self._last is None else self._learned(solver, situation)
            )
            values = solver.q_values(self._belief)
        except TooLargeError:
            self._solver, self.computed = None, False
            return self._rule.choose(situation)
        action = min(self._mechanics.legal(situation), key=values.__getitem__)
        self._last = situation, action
        return action

    def _learned(self, solver: Solver, situation: Situation) -> Belief:
        assert self._last is not None  # noqa: S101 - there was a first action
        assert self._belief is not None  # noqa: S101
        action, count = self._last[1], self._mechanics.count
        if action >= count:
            return solver.after_skip(self._belief, action - count)
        tally = situation.tallies[action]
        return solver.after_call(self._belief, action, Error(tally.last_error))

    def _solved(self, level: Level) -> Solver | None:
        if not _fails(level):
            return None
        solver = Solver(level, self._states)
        try:
            solver.q_values(solver.start())
        except TooLargeError:
            return None
        return solver


def _fails(level: Level) -> bool:
    return any(function.failure is not None for function in level.functions)
