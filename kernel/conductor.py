"""What one run does next: ready steps in their order, waiting retries, failures. No clock, no I/O.

The runner tells it what happened and asks for decisions; time comes in as monotonic seconds. The
DAG Tracker knows which steps are ready: here only the order of play and the recovery are decided.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .policy import Decision, Failure, Policy, RetryRule, StepSituation
from .rehearsal import BY_RANK, Order


@dataclass(frozen=True)
class StepRules:
    """What the Melody says about playing one step."""

    players: tuple[str, ...]
    optional: bool
    retry: RetryRule


class Conductor:
    """Decides for one run."""

    def __init__(
        self, rules: Mapping[str, StepRules], policy: Policy, order: Order = BY_RANK
    ) -> None:
        self._rules = dict(rules)
        self._policy = policy
        self._by = order
        self._failures: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._ready: list[tuple[float, int, str, float]] = []
        self._waiting: list[tuple[float, int, Decision]] = []
        self._order = itertools.count()
        self._ranks: dict[str, float] = {}
        self.failed: Decision | None = None

    def cast(self, step: str, player: str) -> None:
        """Somebody else was chosen to play the step first; the fallbacks stay."""
        rules = self._rules[step]
        later = tuple(name for name in rules.players[1:] if name != player)
        self._rules[step] = replace(rules, players=(player, *later))

    def fresh(self, step: str) -> bool:
        """Whether nobody has failed at the step yet."""
        return step not in self._failures

    def rank(self, step: str) -> float:
        """How long it probably takes from the step's start to the run's end, in milliseconds."""
        return self._ranks.get(step, 0.0)

    def restore(self, failures: Iterable[tuple[str, str]]) -> None:
        """Counts the failed (step, player) attempts that an earlier kernel journaled."""
        for step, player in failures:
            if player not in self._rules[step].players:
                self.cast(step, player)
            self._failures[step][player] += 1

    def add_ready(self, ready: Iterable[tuple[str, float]]) -> None:
        """Steps whose dependencies are met, with their upward rank in milliseconds."""
        for step, rank in ready:
            entry = (self._by.key(step, rank), next(self._order), step, rank)
            heapq.heappush(self._ready, entry)
            self._ranks[step] = rank

    def next(self, now: float) -> Decision | None:
        """The next activation that may start at ``now``; None if there is none (yet)."""
        if self.failed is not None:
            return None
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if self._ready:
            *_, step, rank = heapq.heappop(self._ready)
            decision = self._policy.activate(self._situation(step), rank)
            if self._by.why:
                decision = replace(decision, reason=f"{decision.reason}; {self._by.why}")
            return decision
        return None

    def wakeup(self) -> float | None:
        """When the earliest waiting retry may start."""
        return self._waiting[0][0] if self._waiting and self.failed is None else None

    def attempt_failed(self, step: str, player: str, failure: Failure, now: float) -> Decision:
        """Decides what follows a failed attempt; a retry or fallback comes back from ``next``."""
        self._failures[step][player] += 1
        decision = self._policy.recover(self._situation(step), player, failure, now)
        if decision.action in ("retry", "fallback"):
            heapq.heappush(self._waiting, (decision.not_before, next(self._order), decision))
        elif decision.action == "fail":
            self.failed = decision
        return decision

    def cannot_run(self, step: str, reason: str) -> Decision:
        """A step that must run never can: the run fails with this reason."""
        self.failed = Decision("fail", step, None, reason)
        return self.failed

    def _situation(self, step: str) -> StepSituation:
        rules = self._rules[step]
        return StepSituation(
            step, rules.players, rules.optional, rules.retry, dict(self._failures.get(step, {}))
        )
