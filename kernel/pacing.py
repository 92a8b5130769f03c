"""How much of a step's progress is told: a few signs a second, and always the last one. Pure.

A player may report without end; those who read the events want to see that it moves and where it
stopped. A sign that comes too early is held back and replaced by the next; what is held when the
step's attempt begins or ends is told then, so no timer is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from .projection import STRIDE

INTERVAL_S: Final = 0.1
PATIENCE: Final = 100  # signs between two records, after each of which the interval doubles
MOST: Final = STRIDE - 2  # signs between two records; a number stays free for what is held

Body = Mapping[str, Any]


class Pace:
    """Decides for the steps of one run."""

    def __init__(self) -> None:
        self._not_before: dict[str, float] = {}
        self._held: dict[str, Body] = {}

    def begin(self, step: str, now: float) -> Body | None:
        """An attempt began; the sign that came before that was told."""
        self._not_before[step] = now + INTERVAL_S if step in self._held else now
        return self._held.pop(step, None)

    def offer(self, step: str, body: Body, now: float, told: int) -> bool:
        """Whether to tell this sign now, ``told`` signs after the last record; else it is held."""
        if now < self._not_before.get(step, math.inf) or told >= MOST:
            self._held[step] = body
            return False
        self._held.pop(step, None)
        self._not_before[step] = now + INTERVAL_S * 2.0 ** (told // PATIENCE)
        return True

    def end(self, step: str) -> Body | None:
        """The attempt ended; the last sign, if it was not told."""
        self._not_before.pop(step, None)
        return self._held.pop(step, None)
