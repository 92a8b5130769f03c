"""Supervision as data, by the rules of Erlang/OTP (Supervisor Behaviour, OTP Design Principles).

Sans-IO: the kernel reports that a child ended and gets back what to do. Children start in order and
stop in reverse. A child that ends more than ``intensity`` times within ``period_s`` is quarantined:
OTP would end the supervisor itself, but here the rest of the kernel can go on degraded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class Restart(StrEnum):
    """When an ended child is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # after a crash only
    TEMPORARY = "temporary"  # never


class Strategy(StrEnum):
    """Who is restarted when one child ended."""

    ONE_FOR_ONE = "one for one"
    REST_FOR_ONE = "rest for one"  # it and all that were started after it
    ONE_FOR_ALL = "one for all"


@dataclass(frozen=True)
class Child:
    """One supervised child."""

    name: str
    restart: Restart = Restart.PERMANENT


@dataclass(frozen=True)
class Supervision:
    """The whole specification: children in start order, strategy and restart limits (seconds)."""

    children: tuple[Child, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 5
    period_s: float = 30.0
    backoff_s: float = 0.05
    max_backoff_s: float = 5.0


@dataclass(frozen=True)
class Start:
    """Start the child after ``delay_s``."""

    name: str
    delay_s: float


@dataclass(frozen=True)
class Stop:
    """End the child; its exit is not to be reported back."""

    name: str


@dataclass(frozen=True)
class Quarantine:
    """Leave the child down and raise the alarm."""

    name: str
    reason: str


Action = Start | Stop | Quarantine


@dataclass
class Supervisor:
    """Decides what follows when a child ends."""

    supervision: Supervision
    _crashes: dict[str, deque[float]] = field(default_factory=dict)

    def start_order(self) -> list[str]:
        """Names in the order in which to start them."""
        return [child.name for child in self.supervision.children]

    def stop_order(self) -> list[str]:
        """Names in the order in which to stop them."""
        return self.start_order()[::-1]

    def exited(self, name: str, *, crashed: bool, now: float) -> list[Action]:
        """What to do after ``name`` ended at ``now`` (monotonic seconds)."""
        spec = self.supervision
        child = next(child for child in spec.children if child.name == name)
        if child.restart is Restart.TEMPORARY:
            return []
        if child.restart is Restart.TRANSIENT and not crashed:
            return []
        recent = self._crashes.setdefault(name, deque())
        recent.append(now)
        while recent[0] <= now - spec.period_s:
            recent.popleft()
        if len(recent) > spec.intensity:
            reason = f"{name} ended {len(recent)} times within {spec.period_s:g} s"
            return [Quarantine(name, reason)]
        delay = min(spec.backoff_s * 2 ** (len(recent) - 1), spec.max_backoff_s)
        others = self._affected(name)
        return [
            *(Stop(other) for other in reversed(others)),
            Start(name, delay),
            *(Start(other, delay) for other in others),
        ]

    def _affected(self, name: str) -> list[str]:
        order = self.start_order()
        match self.supervision.strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.REST_FOR_ONE:
                return order[order.index(name) + 1 :]
            case Strategy.ONE_FOR_ALL:
                return [other for other in order if other != name]
