"""Writes labelled levels as the shards that `learning/dataset.py` describes, and makes all of them.

`python -m symphony.fqg.making.shards FOLDER` makes the training, validation and test sets.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..prices import price
from .dials import LARGE, LEARNING, Dials
from .labelling import Labelled, labelled
from .maker import TEST, VALIDATION, Maker

SHARD = 1_000
"""Levels of one file."""
Arrays = dict[str, npt.NDArray[np.generic]]


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


def make_split(folder: Path, split: Split, seen: set[int]) -> Iterator[Maker]:
    """Writes the shards of a split, yielding after each. Levels whose hash is in `seen` are left
    out, and those that are kept are added to it."""
    maker = Maker(split.dials, seen=seen)
    folder.mkdir(parents=True, exist_ok=True)
    levels = maker.levels(count(split.first_seed))
    for number, done in enumerate(range(0, split.levels, SHARD)):
        some = [labelled(next(levels)) for _ in range(min(SHARD, split.levels - done))]
        path = folder / f"{split.name}-{number:04}.npz"
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays(some))
        unfinished.replace(path)
        yield maker


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
    states = b"".join(state.to_bytes(width, "little") for item in items for state in item.states)
    packed = np.frombuffer(states, np.uint8).reshape(-1, width)
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
        "known": np.zeros((len(functions), 2), np.int32),
        "init": np.array([at in v.init for v in levels for at in range(len(v.facts))], bool),
        "goal": np.array([at in v.goal for v in levels for at in range(len(v.facts))], bool),
        "level": np.array(owners, np.int32),
        "state": packed,
        "waived": np.zeros_like(packed),
        "tallies": np.zeros((0, 6), np.int32),
        "q": np.concatenate([row for item in items for row in item.q]),
    }


def main() -> None:
    """Makes all splits, one after the other, so that no level is in two of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--levels", type=int, help="of the training set, instead of all")
    options = parser.parse_args()
    seen: set[int] = set()
    for split in SPLITS:
        wanted = split
        if split.name == "train" and options.levels is not None:
            wanted = split._replace(levels=options.levels)
        for maker in make_split(options.folder, wanted, seen):
            print(wanted.name, dict(maker.kept), "discarded:", dict(maker.discards), flush=True)


if __name__ == "__main__":
    main()
