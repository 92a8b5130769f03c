"""In which order steps that are ready shall start: found out in numbers before the first one does.

The longest way to the end goes first (upward rank: Topcuoglu, Hariri, Wu, 2002). That is seldom far
from the best, but a simpler order may happen to be shorter. So where the time of every step is
known, the run is played through in numbers on the slots that there are, by rank and by each simpler
order, and the shortest wins. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

BETTER: Final = 1 - 1e-6  # a rounding error is no reason to leave the rule


@dataclass(frozen=True)
class Order:
    """Who goes first of what is ready; without keys the highest rank."""

    why: str = ""
    keys: Mapping[str, float] = field(default_factory=dict)  # the least goes first, then who came

    def key(self, step: str, rank: float) -> float:
        """What a queue that begins with the least sorts by."""
        return self.keys.get(step, 0.0) if self.why else -rank


BY_RANK: Final = Order()


def best_order(
    waits: Mapping[str, Sequence[str]], seconds: Mapping[str, float], slots: int
) -> Order:
    """The order that ends the steps of ``waits`` (each with those that it waits for) first, if
    they take so long and so many play at once. What is not in ``waits`` has ended."""
    if not waits:
        return BY_RANK
    work = _Work(waits, seconds)
    ranks = work.ranks()
    by_rank = work.makespan([-rank for rank in ranks], slots)
    if by_rank <= max(max(ranks), sum(work.seconds) / slots):
        return BY_RANK  # nothing can be shorter
    size = len(ranks)
    simpler: dict[str, Sequence[float]] = {
        "in the order of the Melody": range(size),
        "in the order in which they became ready": [0.0] * size,
        "the shortest first": work.seconds,
    }
    best, order = by_rank * BETTER, BY_RANK
    for name, keys in simpler.items():
        if (makespan := work.makespan(keys, slots)) < best:
            share = 100 * (1 - makespan / by_rank)
            why = f"{name}: by what is known of all steps, that ends the run {share:.2g} % earlier"
            best, order = makespan, Order(why, dict(zip(waits, keys, strict=True)))
    return order


class _Work:
    """The steps by number: what follows each, and how many it waits for."""

    def __init__(self, waits: Mapping[str, Sequence[str]], seconds: Mapping[str, float]) -> None:
        place = {step: at for at, step in enumerate(waits)}
        self.seconds = [seconds[step] for step in waits]
        self._next: list[list[int]] = [[] for _ in place]
        self._count = [0] * len(place)
        for at, before in enumerate(waits.values()):
            for step in before:
                if step in place:
                    self._next[place[step]].append(at)
                    self._count[at] += 1

    def ranks(self) -> list[float]:
        """Upward ranks in seconds."""
        count = list(self._count)
        order = [at for at, waits in enumerate(count) if not waits]
        for at in order:  # grows while it is walked: parents stand before their children
            for child in self._next[at]:
                count[child] -= 1
                if not count[child]:
                    order.append(child)
        ranks = list(self.seconds)
        for at in reversed(order):
            ranks[at] += max((ranks[child] for child in self._next[at]), default=0.0)
        return ranks

    def makespan(self, keys: Sequence[float], slots: int) -> float:
        """When the last ends where a free slot takes what is ready and has the least key."""
        count = list(self._count)
        came = 0
        ready: list[tuple[float, int, int]] = []
        for at, waits in enumerate(count):
            if not waits:
                ready.append((keys[at], came, at))
                came += 1
        heapq.heapify(ready)
        running: list[tuple[float, int]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < slots:
                at = heapq.heappop(ready)[2]
                heapq.heappush(running, (now + self.seconds[at], at))
            now, at = heapq.heappop(running)
            for child in self._next[at]:
                count[child] -= 1
                if not count[child]:
                    heapq.heappush(ready, (keys[child], came, child))
                    came += 1
        return now
