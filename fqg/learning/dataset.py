"""Labelled situations for training: the arrays of a shard, and batches made of them.

A shard is one compressed `.npz` of L levels and S labelled situations. Rows of levels of differing
size lie one after the other (ragged), in the order of the levels; the offsets follow from
`functions` and `facts`. Level l has N = functions[l] functions and F = facts[l] facts.

- `functions`, `facts`, int32 [L]: N (1 to 128) and F (1 to 192) of each level
- `seed`, int64 [L]: what the level was made from: split by range (see below)
- `kind`, str [L]: the maker's name of its kind; `failures` for those with hidden modes
- `optimum`, float32 [L]: (expected) cost of best play from the start; NaN: unknown
- `cap`, `skip`, float32 [L]: what giving up and what a skip costs
- `edges`, int16 [E, 4]: level, relation (0 pre, 1 add, 2 delete), function, fact
- `alternatives`, int16 [A, 3]: level, function, the function that it can stand in for
- `cost`, float32, and `optional`, bool, [sum N]
- `known`, int32 [sum N, 2]: earlier calls and failures that every player is shown
- `init`, `goal`, bool [sum F]
- `level`, int32 [S]: the level of each situation; ascending
- `state`, `waived`, uint8 [S, W]: `np.packbits(facts, bitorder="little")` of what is true and of
  what skips have waived, W = ceil(max F / 8)
- `tallies`, int32 [T, 6]: situation, function, calls, successes, failures in a row, last error
  (0 to 4); rows only of functions that have been called, ascending by situation
- `q`, float32 [sum 2N+1]: per situation and action (calls, skips, give up) the (expected) cost from
  here on if it is taken and all later play is best, own cost included, never above `cap`; NaN where
  it is illegal

A situation that cannot be won any more has `cap` everywhere. Which actions are best follows from
`q`: those within 1e-4 of the smallest. Deterministic levels have T = 0 and `waived` all zero.

Splits: training seeds are below 2^31, validation seeds from 2^31, test seeds from 2^32; a shard
holds seeds of one split only, and its file is named `SPLIT-NUMBER.npz`, such as `train-0003.npz`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..encode import Floats, Structure
from ..network import compress

Array = NDArray[Any]
Batch = dict[str, Array]
FUNCTIONS, FACTS = (16, 24, 32, 48, 64, 128), (12, 16, 24, 32, 48, 192)
"""Bounds of the classes of sizes: situations padded to one shape come from levels of one class."""
STANDARD_LIMITS = (1, 1, 1, 0, 1, 0, 0)
"""No budget, no deadline, all resources free; only cost matters."""
BEST = 1e-4
"""Costs this close to the smallest are best too."""


class Graph(NamedTuple):
    """A level of a shard: its arrays (relations as uint8), and what costs are counted in."""

    structure: Structure
    unit: float
    cap: float
    optimum: float
    kind: str


@dataclass(frozen=True)
class Situations:
    """Labelled situations of many levels, by index."""

    graphs: Sequence[Graph]
    level: Array
    """[S]: index of the graph."""
    state: Array
    waived: Array
    """uint8 [S, W]: packed facts."""
    tallies: Array
    """[T, 6], ascending by situation; `first[s]` to `first[s + 1]` are the rows of s."""
    first: Array
    q: Floats
    """Ragged, as in the shard; `values[s]` to `values[s + 1]` are those of s."""
    values: Array

    def __len__(self) -> int:
        return len(self.level)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Padded arrays for `graphnet`, and `target` and `best` [B, 2N + 1]: the negated compressed
        cost of each action, and 1 where it is optimal."""
        graphs = [self.graphs[self.level[row]] for row in rows]
        n = max(len(graph.structure.cost) for graph in graphs)
        f = max(len(graph.structure.goal) for graph in graphs)
        out = empty(len(rows), n, f)
        out["target"] = np.zeros((len(rows), 2 * n + 1), np.float32)
        out["best"] = np.zeros((len(rows), 2 * n + 1), np.float32)
        for at, (row, graph) in enumerate(zip(rows, graphs, strict=True)):
            put_structure(out, at, graph.structure)
            own, facts = len(graph.structure.cost), len(graph.structure.goal)
            out["state"][at, :facts] = _unpacked(self.state[row], facts)
            out["waived"][at, :facts] = _unpacked(self.waived[row], facts)
            for _, function, *tally in self.tallies[self.first[row] : self.first[row + 1]]:
                out["tallies"][at, function, :4] = tally
            q = self.q[self.values[row] : self.values[row + 1]]
            legal = ~np.isnan(q)
            cost = np.where(legal, q, 0) / graph.unit
            best = legal & (q <= np.nanmin(q) + BEST)
            for name, values in (("mask", legal), ("target", -compress(cost)), ("best", best)):
                put_actions(out[name][at], values, own)
        return out


def empty(batch: int, n: int, f: int) -> Batch:
    """The padded arrays of a batch of situations in which nothing was called yet."""
    shapes: dict[str, tuple[int, ...]] = {
        "cost": (n,), "optional": (n,), "peers": (n, n), "known": (n, 2), "start": (f,),
        "goal": (f,), "state": (f,), "waived": (f,), "tallies": (n, 5), "mask": (2 * n + 1,),
        "n_functions": (), "n_facts": (),
    }  # fmt: skip
    out: Batch = {name: np.zeros((batch, *shape), np.float32) for name, shape in shapes.items()}
    out["relations"] = np.zeros((batch, 3, n, f), np.uint8)
    out["quality"] = np.full((batch, f), -1, np.float32)
    out["limits"] = np.tile(np.array(STANDARD_LIMITS, np.float32), (batch, 1))
    return out


def put_structure(out: Batch, at: int, structure: Structure) -> None:
    """Write a level's arrays into row `at` of a batch that is large enough."""
    for name, array in zip(Structure._fields, structure, strict=True):
        put(out[name][at], array)
    out["n_functions"][at] = len(structure.cost)
    out["n_facts"][at] = len(structure.goal)


def put(padded: Array, array: Array) -> None:
    """Write an array into the first places of a larger one."""
    padded[tuple(slice(size) for size in array.shape)] = array


def put_actions(row: Array, values: Array, own: int) -> None:
    """Write the values of 2 own + 1 actions where they lie in a padded row."""
    n = len(row) // 2
    row[:own] = values[:own]
    row[n : n + own] = values[own : 2 * own]
    row[2 * n] = values[2 * own]


def actions_of(row: Array, own: int) -> Array:
    """The inverse of `put_actions`."""
    n = len(row) // 2
    return np.concatenate([row[:own], row[n : n + own], row[2 * n :]])


def load(folder: Path, split: str, limit: int | None = None) -> Situations:
    """All shards of a split, or their first `limit`. Raises FileNotFoundError if there are none."""
    paths = sorted(folder.glob(f"{split}-*.npz"))[:limit]
    if not paths:
        raise FileNotFoundError(f"no shards {split}-*.npz in {folder}")
    graphs: list[Graph] = []
    parts: dict[str, list[Array]] = {name: [] for name in ("level", "state", "waived", "q")}
    tallies: list[Array] = []
    situations = 0
    for path in paths:
        with np.load(path, allow_pickle=False) as shard:
            arrays = {name: shard[name] for name in shard.files}
        own = _tallies(arrays["tallies"], situations)
        tallies.append(own)
        parts["level"].append(arrays["level"] + len(graphs))
        for name in ("state", "waived", "q"):
            parts[name].append(arrays[name])
        graphs += _graphs(arrays)
        situations += len(arrays["level"])
    level = np.concatenate(parts["level"])
    called = np.concatenate(tallies)
    actions = np.array([2 * len(graph.structure.cost) + 1 for graph in graphs])
    return Situations(
        graphs=graphs,
        level=level,
        state=_stacked(parts["state"]),
        waived=_stacked(parts["waived"]),
        tallies=called,
        first=np.searchsorted(called[:, 0], np.arange(situations + 1)),
        q=np.concatenate(parts["q"]).astype(np.float32),
        values=_offsets(actions[level]),
    )


class Sampler:
    """The batch of every step: the same for the same seed and step, whatever came before.

    A batch has up to two parts, each padded to its own shape: situations of one class of sizes,
    drawn by its number of situations, and the share of levels with failures (by their kind)."""

    def __init__(self, situations: Situations, size: int, failures: float, seed: int) -> None:
        self._situations, self._seed = situations, seed
        hidden = np.array([graph.kind == "failures" for graph in situations.graphs])
        classes = [
            np.searchsorted(FUNCTIONS, [len(graph.structure.cost) for graph in situations.graphs]),
            np.searchsorted(FACTS, [len(graph.structure.goal) for graph in situations.graphs]),
        ]
        of_class = (classes[0] * len(FACTS) + classes[1])[situations.level]
        of_hidden = hidden[situations.level]
        self._hidden = np.flatnonzero(of_hidden)
        self._plain = [
            np.flatnonzero(~of_hidden & (of_class == at)) for at in np.unique(of_class[~of_hidden])
        ]
        counts = np.array([len(rows) for rows in self._plain], float)
        self._chances = counts / counts.sum() if len(counts) else counts
        from_hidden = round(size * failures) if len(self._hidden) else 0
        self._from_hidden = from_hidden if self._plain else size
        self._from_plain = size - self._from_hidden

    def batch(self, step: int) -> tuple[Batch, ...]:
        """The parts of a step's batch, from 0."""
        draw = np.random.default_rng([self._seed, step])
        parts = []
        if self._from_plain:
            chosen = self._plain[draw.choice(len(self._plain), p=self._chances)]
            parts.append(draw.choice(chosen, self._from_plain))
        if self._from_hidden:
            parts.append(draw.choice(self._hidden, self._from_hidden))
        return tuple(self._situations.batch(rows.tolist()) for rows in parts)


def _graphs(arrays: dict[str, Array]) -> Iterator[Graph]:
    functions, facts = arrays["functions"], arrays["facts"]
    of_function, of_fact = _offsets(functions), _offsets(facts)
    edge = np.searchsorted(arrays["edges"][:, 0], np.arange(len(functions) + 1))
    stand_in = np.searchsorted(arrays["alternatives"][:, 0], np.arange(len(functions) + 1))
    for at, (n, f) in enumerate(zip(functions, facts, strict=True)):
        own, its = slice(*of_function[at : at + 2]), slice(*of_fact[at : at + 2])
        relations = np.zeros((3, n, f), np.uint8)
        _, relation, function, fact = arrays["edges"][edge[at] : edge[at + 1]].T
        relations[relation, function, fact] = 1
        peers = np.zeros((n, n), np.float32)
        _, one, other = arrays["alternatives"][stand_in[at] : stand_in[at + 1]].T
        peers[one, other] = peers[other, one] = 1
        cost = arrays["cost"][own].astype(np.float32)
        unit = float(cost.mean()) or 1.0
        yield Graph(
            Structure(
                relations=relations,
                cost=cost / np.float32(unit),
                optional=arrays["optional"][own].astype(np.float32),
                peers=peers,
                known=arrays["known"][own].astype(np.float32),
                start=arrays["init"][its].astype(np.float32),
                goal=arrays["goal"][its].astype(np.float32),
            ),
            unit=unit,
            cap=float(arrays["cap"][at]),
            optimum=float(arrays["optimum"][at]),
            kind=str(arrays["kind"][at]),
        )


def _tallies(rows: Array, situations: int) -> Array:
    moved = rows.astype(np.int64).reshape(-1, 6)
    moved[:, 0] += situations
    return moved


def _stacked(parts: list[Array]) -> Array:
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _offsets(counts: Array) -> Array:
    return np.concatenate([[0], np.cumsum(counts)])


def _unpacked(packed: Array, facts: int) -> Array:
    return np.unpackbits(packed, count=facts, bitorder="little")
