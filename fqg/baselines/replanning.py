"""Plans for players that plan anew whenever something failed: the cheapest way at given prices."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace

from ..game import Mechanics
from ..solving import native
from ..solving.hadd import HAdd
from ..solving.successor import successors

BANNED = 1e9
"""The price of a function that is not to be called."""
EXPANSIONS, SEARCHED = 3_000, 500
"""Of a search for a cheapest plan, and of a greedy one, unless told otherwise."""
Prices = tuple[float, ...]


class Replanner:
    """Plans on one level. `optimal`: cheapest plans while they are found with few expansions; else
    what greedy best-first search on h_add finds (as FF-replan plans, Yoon, Fern and Givan, ICAPS
    2007), or a relaxed plan if that finds none either."""

    def __init__(self, mechanics: Mechanics, optimal: bool, expansions: int = EXPANSIONS) -> None:
        self._mechanics = mechanics
        self._optimal, self._expansions = optimal, expansions
        self._known: dict[tuple[int, int, Prices], list[int] | None] = {}

    def plan(self, state: int, waived: int, prices: Sequence[float]) -> list[int] | None:
        """Calls to the goal, the first of them legal; None: no way without banned ones."""
        key = (state, waived, tuple(prices))
        if key not in self._known:
            plan, sure = self._plan(*key)
            banned = plan is not None and any(prices[call] >= BANNED for call in plan)
            self._known[key] = None if banned else plan
            if plan and sure and not banned:
                self._remember(plan, *key)
        return self._known[key]

    def _remember(self, plan: list[int], state: int, waived: int, prices: Prices) -> None:
        """What is left of a plan is the plan later on."""
        for at, call in enumerate(plan, 1):
            state = self._mechanics.rules.step(state, call)
            self._known[state, waived, prices] = plan[at:]

    def _plan(self, state: int, waived: int, prices: Prices) -> tuple[list[int] | None, bool]:
        """A plan, and whether it holds if nothing fails."""
        level = self._mechanics.level
        goal = frozenset(fact for fact in level.goal if not waived >> fact & 1)
        here = replace(level, init=self._mechanics.rules.facts(state), goal=goal)
        if self._optimal:
            outcome = native.solve(here, prices, self._expansions)
            if outcome.calls is not None or outcome.complete:
                return None if outcome.calls is None else list(outcome.calls), True
        hadd = HAdd(here, prices)
        found = self._searched(hadd, state, waived, prices)
        if found is not None:
            return found, True
        plan = hadd.relaxed_plan(state)
        if plan:
            legal = set(self._mechanics.rules.legal(state))
            plan.sort(key=lambda call: call not in legal)
        return plan, False

    def _searched(self, hadd: HAdd, start: int, waived: int, prices: Prices) -> list[int] | None:
        """Greedy best-first search from `start`."""
        rules, won = self._mechanics.rules, self._mechanics.won
        came: dict[int, tuple[int, int] | None] = {start: None}
        queue = [(hadd(start), 0, start)]
        for _ in range(SEARCHED):
            if not queue:
                return None
            _, _, state = heapq.heappop(queue)
            for call, after in successors(rules, state):
                if after in came or prices[call] >= BANNED:
                    continue
                came[after] = state, call
                if won(after, waived):
                    return _backwards(came, after)
                estimate = hadd(after)
                if not math.isinf(estimate):
                    heapq.heappush(queue, (estimate, len(came), after))
        return None


def _backwards(came: dict[int, tuple[int, int] | None], state: int) -> list[int]:
    plan: list[int] = []
    while (step := came[state]) is not None:
        state, call = step
        plan.append(call)
    return plan[::-1]
