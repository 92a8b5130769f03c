"""The rule policy: which step plays next, and what to do when one fails.

Pure decisions. Ready steps go in critical-path order. A failed attempt is retried with backoff,
then the next player is tried, then an optional step is skipped, and else the run fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

ActionName = Literal["activate", "retry", "fallback", "skip", "fail"]

# Errors that the same player would give again for the same call.
FINAL_CODES = frozenset({"bad-request", "refused"})

# Errors of the Melody: no player can do better.
MELODY_CODES = frozenset({"gate-undecidable"})


@dataclass(frozen=True)
class Decision:
    """One decision: what, for which step, with which player, why, and not before when.

    ``not_before`` is a monotonic time in seconds; 0 means at once.
    """

    action: ActionName
    step: str
    player: str | None
    reason: str
    by: str = "rule"
    not_before: float = 0.0


@dataclass(frozen=True)
class RetryRule:
    """Attempts per player and the pause between them (seconds, exponential, capped)."""

    attempts: int = 3
    backoff_s: float = 0.2
    factor: float = 2.0
    max_backoff_s: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after the ``failures``-th failure (from 1)."""
        return min(self.backoff_s * self.factor ** (failures - 1), self.max_backoff_s)


@dataclass(frozen=True)
class Failure:
    """How an attempt ended: the bus error's code and message."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class StepSituation:
    """What the policy may know of one step."""

    step: str
    players: tuple[str, ...]
    optional: bool
    retry: RetryRule
    failures: Mapping[str, int] = field(default_factory=dict)


class Policy(Protocol):
    """Chooses what to do; the Conductor checks that it is legal and does it."""

    name: str

    def activate(self, situation: StepSituation, rank: float) -> Decision:
        """The player for a ready step."""

    def recover(
        self, situation: StepSituation, player: str, failure: Failure, now: float
    ) -> Decision:
        """What to do after ``player`` failed."""


class RulePolicy:
    """The fixed rules; also the floor under every learned policy."""

    name = "rule"

    def activate(self, situation: StepSituation, rank: float) -> Decision:
        """The first player that has attempts left; the order is the Melody's."""
        player = next(
            (
                p
                for p in situation.players
                if situation.failures.get(p, 0) < situation.retry.attempts
            ),
            situation.players[-1],
        )
        reason = f"ready, critical path {rank:.0f} ms"
        return Decision("activate", situation.step, player, reason)

    def recover(
        self, situation: StepSituation, player: str, failure: Failure, now: float
    ) -> Decision:
        """Retry, then fallback, then skip, then fail."""
        if failure.code in MELODY_CODES:
            return _give_up(situation, f"{failure}: the Melody must be corrected")
        count = situation.failures.get(player, 0)
        attempts = situation.retry.attempts
        if failure.code not in FINAL_CODES and count < attempts:
            pause = situation.retry.pause(count)
            reason = f"{failure.code}: attempt {count + 1} of {attempts} after {pause:g} s"
            return Decision("retry", situation.step, player, reason, not_before=now + pause)
        spent = f"{player} failed {count} of {attempts} attempts, the last with {failure}"
        if failure.code in FINAL_CODES:
            spent = f"{player} is not tried again: {failure}"
        later = situation.players[situation.players.index(player) + 1 :]
        for other in later:
            if situation.failures.get(other, 0) < attempts:
                return Decision("fallback", situation.step, other, spent)
        return _give_up(
            situation, spent if situation.optional else f"{spent}; no other player is left"
        )


def _give_up(situation: StepSituation, why: str) -> Decision:
    if situation.optional:
        return Decision("skip", situation.step, None, f"{why}; the step is optional")
    return Decision("fail", situation.step, None, why)
