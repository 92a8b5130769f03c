"""A hash of a level that stays the same if its facts and functions are renamed or reordered.

Colour refinement on the graph of facts and functions (1-dimensional Weisfeiler-Leman). Where some
vertices stay alike, each of the first such group is singled out in turn, refined again, and the
results are put together whatever their order. Levels of one hash are equal for our purposes;
equal levels always have one hash.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .level import Level

Colours = NDArray[np.uint64]

_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SALTS: Final = np.arange(1, 9, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
MAX_SINGLED = 24
"""Groups of more vertices than this are left alone: it would take too long."""


def canonical_hash(level: Level) -> int:
    """63 bits. Looks at what counts in play; names, texts and the optimum do not."""
    graph = _Graph(level)
    colours = graph.refined(graph.first[:, None])
    whole = _sum(colours)
    values, group, counts = np.unique(colours[:, 0], return_inverse=True, return_counts=True)
    ties = [at for at in range(len(values)) if 1 < counts[at] <= MAX_SINGLED]
    if ties:
        members = np.flatnonzero(group == min(ties, key=lambda at: (counts[at], values[at])))
        singled = np.repeat(colours, len(members), axis=1)
        singled[members, np.arange(len(members))] += _SALTS[6]
        whole = _mixed(whole + _SALTS[7] + np.sum(_sum(graph.refined(singled)), keepdims=True))
    return int(whole[0] >> np.uint64(1))


class _Graph:
    """Vertices are the functions, then the facts."""

    def __init__(self, level: Level) -> None:
        n, f = len(level.functions), len(level.facts)
        edges = np.zeros((3, n, f), np.uint64)
        alternatives = np.zeros((n, n), np.uint64)
        for at, function in enumerate(level.functions):
            for relation, facts in enumerate((function.pre, function.add, function.delete)):
                edges[relation, at, list(facts)] = 1
            alternatives[at, list(function.alternatives_of)] = 1
        self._size = n
        self._down = np.concatenate(edges, axis=1)
        self._up = np.concatenate([relation.T for relation in edges], axis=1)
        self._alternatives = alternatives if alternatives.any() else None
        labels = [
            _text(repr((f.cost, f.optional, f.failure, f.duration, f.quality)))
            for f in level.functions
        ]
        limits = _text(repr((level.budget, level.deadline, level.preferences)))
        labels += [limits + (at in level.init) + 2 * (at in level.goal) + 4 for at in range(f)]
        self.first: Colours = _mixed(np.array(labels, np.uint64))

    def refined(self, colours: Colours) -> Colours:
        """Colours [vertices, K] of K graphs alike, refined until no group of any falls apart."""
        groups = -1
        while (found := _groups(colours)) > groups:
            groups = found
            functions, facts = colours[: self._size], colours[self._size :]
            of_facts = np.concatenate([_mixed(facts + salt) for salt in _SALTS[:3]])
            of_functions = np.concatenate([_mixed(functions + salt) for salt in _SALTS[3:6]])
            down = self._down @ of_facts
            if self._alternatives is not None:
                down += self._alternatives @ _mixed(functions + _SALTS[6])
                down += self._alternatives.T @ _mixed(functions + _SALTS[7])
            around = np.concatenate([down, self._up @ of_functions])
            colours = _mixed(colours * _FACTORS[0] + around)
        return colours


def _groups(colours: Colours) -> int:
    ordered = np.sort(colours, axis=0)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def _sum(colours: Colours) -> Colours:
    """[K]: of each column, whatever its order."""
    return _mixed(np.sum(_mixed(colours), axis=0, dtype=np.uint64))


def _mixed(values: Colours) -> Colours:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    return values ^ (values >> _SHIFTS[2])


def _text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 4
