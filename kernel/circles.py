"""Circles in a graph of what waits for what."""

from __future__ import annotations

import graphlib
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, TypeVar

N = TypeVar("N", bound=Hashable)

MOST: Final = 20  # that are told; whoever broke so many will look again


def circles(waits: Mapping[N, set[N]]) -> Iterator[list[N]]:
    """Circles, each as the nodes where every one waits for the next and the last for the first.

    It begins with the node that stands first in `waits`. Once told, a circle is broken there (in
    `waits` itself) and the next is looked for, so that none is told twice.
    """
    place = {node: number for number, node in enumerate(waits)}
    for _ in range(MOST):
        try:
            graphlib.TopologicalSorter(waits).prepare()
        except graphlib.CycleError as error:
            ring: list[N] = error.args[1][:-1][::-1]
            start = ring.index(min(ring, key=place.__getitem__))
            ring = [*ring[start:], *ring[:start]]
            yield ring
            waits[ring[0]].discard(ring[1 % len(ring)])
        else:
            return
