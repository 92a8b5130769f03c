"""Workflows for tests and benchmarks: generated ones in shapes of real ones, and stored ones.

A workflow is a map of the form that `symphony-kernel import` reads: `tasks` of
`[name, seconds, parents, bytes from each parent]`.
"""

import gzip
import json
import random
from pathlib import Path
from typing import Any

Workflow = dict[str, Any]


class _Draft:
    """Tasks as they are added; a task's parents are there before it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - durations, not secrets
        self.tasks: list[list[Any]] = []

    def add(self, name: str, seconds: float, parents: list[int]) -> int:
        """One more; its time varies as that of real tasks of one kind does."""
        took = round(self.dice.lognormvariate(0, 0.4) * seconds, 3)
        sizes = [self.dice.randrange(10**7) for _ in parents]
        self.tasks.append([name, took, sorted(parents), sizes])
        return len(self.tasks) - 1

    def many(self, count: int, name: str, seconds: float, parents: list[int]) -> list[int]:
        """So many that each wait for all of the parents."""
        return [self.add(name, seconds, parents) for _ in range(count)]

    def done(self, name: str) -> Workflow:
        return {"name": name, "n": len(self.tasks), "tasks": self.tasks}


def mosaic(size: int, seed: int = 1) -> Workflow:
    """Many projections, their overlaps two by two, a fit, corrections of each, one sum."""
    draft = _Draft(seed)
    width = max(2, size // 4)
    projected = draft.many(width, "project", 15.0, [])
    overlaps = [
        draft.add("overlap", 1.0, draft.dice.sample(projected[max(0, at // 2 - 5) :][:11], 2))
        for at in range(2 * width)
    ]
    fit = draft.add("fit", 40.0, overlaps)
    mended = [draft.add("background", 2.0, [fit, one]) for one in projected]
    draft.add("add", 60.0, mended)
    return draft.done(f"mosaic-{size}")


def lanes(size: int, seed: int = 2) -> Workflow:
    """Lanes of unequal length from one split, merged at the end: a few are critical."""
    draft = _Draft(seed)
    first = draft.add("split", 5.0, [])
    ends = []
    while len(draft.tasks) < size - 1:
        last = first
        for stage in range(draft.dice.choice([1, 2, 2, 4, 8])):
            last = draft.add(f"stage-{stage}", draft.dice.choice([1.0, 4.0, 20.0]), [last])
        ends.append(last)
    draft.add("merge", 8.0, ends)
    return draft.done(f"lanes-{size}")


def layers(size: int, seed: int = 3) -> Workflow:
    """Layers of random width, each task after some of the layer before."""
    draft = _Draft(seed)
    layer: list[int] = []
    while len(draft.tasks) < size:
        width = draft.dice.randint(1, max(2, size // 10))
        seconds = draft.dice.choice([0.5, 3.0, 12.0])
        layer = [
            draft.add("task", seconds, draft.dice.sample(layer, min(len(layer), 3)))
            for _ in range(width)
        ]
    return draft.done(f"layers-{size}")


SHAPES = (mosaic, lanes, layers)


def stored(folder: Path) -> list[tuple[str, Workflow]]:
    """The workflows of a folder, by name: its files `*.json` and `*.json.gz` that have tasks."""
    found = []
    for path in sorted(folder.glob("*.json*")):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = json.load(file)
        if isinstance(data, dict) and "tasks" in data:
            found.append((path.name.partition(".")[0], data))
    return found
