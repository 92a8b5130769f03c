"""A Melody as the DAG Tracker is told of it: in parts that each fit in a call of the bus.

The first part opens the run; a larger plan grows by the others before anything starts. Also what is
known beforehand of how long its steps take.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from .melody import Melody, Step

PART_BYTES: Final = 1 << 20  # of the steps in one call; the rest of its body is for the document


def steps_of(melody: Melody) -> list[dict[str, Any]]:
    """The steps in the order of the file, as `pit.dag/1` takes them."""
    waits = melody.plan()
    return [
        {
            "id": step.id,
            "after": [[other, kind] for other, kind in waits[step.id]],
            "kind": step.capability,
        }
        | ({} if step.estimate_s is None else {"estimate_ms": step.estimate_s * 1000})
        for step in melody.steps
    ]


def parts_of(melody: Melody) -> list[list[dict[str, Any]]]:
    """The same in parts, in which steps wait only for steps of the same part or of one before."""
    steps = steps_of(melody)
    sizes = {step["id"]: len(msgspec.msgpack.encode(step)) for step in steps}
    if sum(sizes.values()) <= PART_BYTES:
        return [steps]
    by_id = {step["id"]: step for step in steps}
    waits = {step["id"]: [other for other, _ in step["after"]] for step in steps}
    parts: list[list[dict[str, Any]]] = [[]]
    room = PART_BYTES
    for name in graphlib.TopologicalSorter(waits).static_order():
        if sizes[name] > room and parts[-1]:
            parts.append([])
            room = PART_BYTES
        parts[-1].append(by_id[name])
        room -= sizes[name]
    return parts


def expected_seconds(
    steps: Iterable[Step],
    players: Mapping[str, str],
    learned: Mapping[str, Mapping[str, float]],
) -> dict[str, float] | None:
    """How long each step probably takes: as its author says, or as its player (by step) was
    measured at its capability (seconds by capability and player). None where one is not known."""
    found: dict[str, float] = {}
    for step in steps:
        took = step.estimate_s
        if took is None:
            took = learned.get(step.capability, {}).get(players[step.id])
        if took is None:
            return None
        found[step.id] = took
    return found
