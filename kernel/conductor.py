"""What one run does next: ready steps by rank, waiting retries, failures. No clock and no I/O.

The runner tells it what happened and asks for decisions; time comes in as monotonic seconds. The
DAG Tracker knows which steps are ready: here only the order of play and the recovery are decided.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .policy import Decision, Failure, Policy, RetryRule, StepSituation


@dataclass(frozen=True)
class StepRules:
    """What the Melody says about playing one step."""

    players: tuple[str, ...]
    optional: bool
    retry: RetryRule


class Conductor:
    """Decides for one run."""

    def __init__(self, rules: Mapping[str, StepRules], policy: Policy) -> None:
        self._rules = rules
        self._policy = policy
        self._failures: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._ready: list[tuple[float, int, str]] = []
        self._waiting: list[tuple[float, int, Decision]] = []
        self._order = itertools.count()
        self.failed: Decision | None = None

    def restore(self, failures: Iterable[tuple[str, str]]) -> None:
        """Counts the failed (step, player) attempts that an earlier kernel journaled."""
        for step, player in failures:
            self._failures[step][player] += 1

    def add_ready(self, ready: Iterable[tuple[str, float]]) -> None:
        """Steps whose dependencies are met, with their upward rank in milliseconds."""
        for step, rank in ready:
            heapq.heappush(self._ready, (-rank, next(self._order), step))

    def next(self, now: float) -> Decision | None:
        """The next activation that may start at ``now``; None if there is none (yet)."""
        if self.failed is not None:
            return None
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if self._ready:
            rank, _, step = heapq.heappop(self._ready)
            return self._policy.activate(self._situation(step), -rank)
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
            step, rules.players, rules.optional, rules.retry, dict(self._failures[step])
        )
