"""Writes labelled levels as the shards that `learning/dataset.py` describes, and makes all of them.

`python -m symphony.fqg.making.shards FOLDER` makes the training, validation and test sets.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..prices import price
from .dials import LARGE, LEARNING, Dials
from .failurelabels import labelled_failures
from .labelling import Labelled, labelled
from .maker import TEST, VALIDATION, Maker

SHARD = 1_000
"""Levels of one file."""
FAILURES, FAILURE_SHARD = 1_000, 500
"""The number of the first file of levels with failures, and how many are in one."""
Arrays = dict[str, Any]


class Split(NamedTuple):
    """A set of levels: how many, from which seed on, and what they look like."""

    name: str
    levels: int
    first_seed: int
    dials: Dials


SPLITS = (
    Split("validation", 500, VALIDATION, LEARNING),
    Split("train", 20_000, 0, LEARNING),
    Split("large_validation", 200, VALIDATION + (1 << 30), LARGE),
    Split("test", 1_000, TEST, LEARNING),
    Split("large_test", 500, TEST + (1 << 30), LARGE),
)
"""What the shipped policy learns from and is judged by. Those of `LARGE` are only for judging."""
FAILURE_SPLITS = (
    Split("validation", 200, VALIDATION, LEARNING),
    Split("train", 1_000, 0, LEARNING),
    Split("test", 500, TEST, LEARNING),
)
"""The same of levels with failures, which have dials of their own."""


def make_split(folder: Path, split: Split, seen: set[int]) -> Iterator[Maker]:
    """Writes the shards of a split, yielding after each. Levels whose hash is in `seen` are left
    out, and those that are kept are added to it."""
    maker = Maker(split.dials, seen=seen)
    folder.mkdir(parents=True, exist_ok=True)
    levels = maker.levels(count(split.first_seed))
    for number, done in enumerate(range(0, split.levels, SHARD)):
        some = islice(levels, min(SHARD, split.levels - done))
        _write(folder, split.name, number, map(labelled, some))
        yield maker


def make_failures(folder: Path, split: Split, workers: int = 1) -> Iterator[Counter[str]]:
    """Writes the shards of levels with failures of a split, yielding what was left out so far.

    They are numbered from FAILURES, so that they stand beside the others of their split."""
    discards: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    levels = labelled_failures(count(split.first_seed), discards, workers=workers)
    for number, done in enumerate(range(0, split.levels, FAILURE_SHARD), FAILURES):
        _write(folder, split.name, number, islice(levels, min(FAILURE_SHARD, split.levels - done)))
        yield discards


def arrays(items: Sequence[Labelled]) -> Arrays:
    """The arrays of a shard, and `hash` [L], the canonical hash of each level."""
    levels = [item.level for item in items]
    prices = [price(level) for level in levels]
    width = -(-max(len(level.facts) for level in levels) // 8)
    functions = [function for level in levels for function in level.functions]
    edges = [
        (at, relation, function, fact)
        for at, level in enumerate(levels)
        for function, f in enumerate(level.functions)
        for relation, facts in enumerate((f.pre, f.add, f.delete))
        for fact in sorted(facts)
    ]
    alternatives = [
        (at, function, other)
        for at, level in enumerate(levels)
        for function, f in enumerate(level.functions)
        for other in f.alternatives_of
    ]
    packed = _packed((state for item in items for state in item.states), width)
    waived = (facts for item in items for facts in item.waived or [0] * len(item.states))
    seen = (tallies for item in items for tallies in item.tallies or [()] * len(item.states))
    tallies = [
        (at, function, *tally[:4])
        for at, situation in enumerate(seen)
        for function, tally in enumerate(situation)
        if tally.calls
    ]
    owners = [at for at, item in enumerate(items) for _ in item.states]
    return {
        "functions": np.array([len(level.functions) for level in levels], np.int32),
        "facts": np.array([len(level.facts) for level in levels], np.int32),
        "seed": np.array([item.seed for item in items], np.int64),
        "kind": np.array([item.kind for item in items]),
        "hash": np.array([item.hash for item in items], np.int64),
        "optimum": np.array([level.optimal_cost for level in levels], np.float32),
        "cap": np.array([each.give_up for each in prices], np.float32),
        "skip": np.array([each.skip for each in prices], np.float32),
        "edges": np.array(edges, np.int16).reshape(-1, 4),
        "alternatives": np.array(alternatives, np.int16).reshape(-1, 3),
        "cost": np.array([function.cost for function in functions], np.float32),
        "optional": np.array([function.optional for function in functions], bool),
        "known": np.array([f.failure.known if f.failure else (0, 0) for f in functions], np.int32),
        "init": np.array([at in v.init for v in levels for at in range(len(v.facts))], bool),
        "goal": np.array([at in v.goal for v in levels for at in range(len(v.facts))], bool),
        "level": np.array(owners, np.int32),
        "state": packed,
        "waived": _packed(waived, width),
        "tallies": np.array(tallies, np.int32).reshape(-1, 6),
        "q": np.concatenate([row for item in items for row in item.q]),
    }


def _write(folder: Path, split: str, number: int, items: Iterable[Labelled]) -> None:
    """A file is there whole or not at all."""
    path = folder / f"{split}-{number:04}.npz"
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays(list(items)))
    unfinished.replace(path)


def _packed(states: Iterable[int], width: int) -> Any:
    raw = b"".join(state.to_bytes(width, "little") for state in states)
    return np.frombuffer(raw, np.uint8).reshape(-1, width)


def main() -> None:
    """Makes all splits, one after the other, so that no level is in two of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--levels", type=int, help="of the training set, instead of all")
    parser.add_argument("--failures", action="store_true", help="only the levels with failures")
    options = parser.parse_args()
    if options.failures:
        for split in FAILURE_SPLITS:
            for discards in make_failures(options.folder, split, os.cpu_count() or 1):
                print(split.name, "failures, discarded:", dict(discards), flush=True)
        return
    seen: set[int] = set()
    for split in SPLITS:
        wanted = split
        if split.name == "train" and options.levels is not None:
            wanted = split._replace(levels=options.levels)
        for maker in make_split(options.folder, wanted, seen):
            print(wanted.name, dict(maker.kept), "discarded:", dict(maker.discards), flush=True)


if __name__ == "__main__":
    main()
