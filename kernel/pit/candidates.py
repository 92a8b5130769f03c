"""Who could play a step whose Melody names nobody: what Arbitration chooses by.

The order of the Orchestra Kit (place, then version) and what the DAG Tracker has measured become
one number, the fit. Of those that fit about as well Arbitration takes the cheapest for its load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..kit import Installed
from ..syntax import version_key
from .config import PARTS

BEST: Final = 1000  # the largest fit
STEP: Final = 60  # what one place or version is worth: more than Arbitration takes for equal
DOUBT: Final = 5  # attempts that a failure rate is mixed with: one failure alone says little
MOST: Final = 64  # that Arbitration takes


@dataclass(frozen=True)
class Measured:
    """What a player's attempts at a capability came to, in all runs."""

    succeeded: int = 0
    failed: int = 0
    mean_s: float = 0.0  # of those that succeeded

    @property
    def failure_ppt(self) -> int:
        """How likely it fails, in thousandths."""
        return 1000 * self.failed // (self.succeeded + self.failed + DOUBT)


NEVER: Final = Measured()


@dataclass(frozen=True)
class Candidate:
    """One of the `players` of a request."""

    player: str
    fit: int
    cost: int
    latency_ms: int

    def row(self) -> dict[str, Any]:
        """As `pit.arbitration/1 request` takes it."""
        return {
            "player": self.player,
            "fit": self.fit,
            "cost": self.cost,
            "latency_ms": self.latency_ms,
        }


def candidates(
    players: Sequence[Installed], capability: str, measured: Mapping[str, Measured]
) -> tuple[Candidate, ...]:
    """The players, preferred first, as Arbitration weighs them."""
    found: list[Candidate] = []
    classes: list[tuple[object, ...]] = []
    for player in players[:MOST]:
        class_ = (player.origin, version_key(player.version))
        if class_ not in classes:
            classes.append(class_)
        known = measured.get(player.name, NEVER)
        rank = STEP * classes.index(class_)
        provides = player.manifest.provided(capability)
        money = round(provides.cost.per_call * PARTS["money"]) if provides else 0
        found.append(
            Candidate(
                player=player.name,
                fit=max(0, BEST - rank - known.failure_ppt),
                cost=1 + money,  # where nothing costs anything, the load decides
                latency_ms=round(known.mean_s * 1000),
            )
        )
    return tuple(found)
