"""Situations as arrays: what the network sees, for the game and for production alike.

A bipartite graph of facts and functions. Its edges are the three relations pre, add and delete; its
nodes carry the features below. Everything is relative: costs to the mean cost of the level, what is
left to what there was. Nothing tells a plan, a distance to the goal, or a hidden failure mode.

The features are written once, for the array module that is given: NumPy at play, TensorFlow's NumPy
interface (`tensorflow.experimental.numpy`) in training, where leading axes are a batch.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .level import Level

if TYPE_CHECKING:
    from .game import Situation

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FACT_FEATURES = 6
FUNCTION_FEATURES = 21
GLOBAL_FEATURES = 8
ERRORS = 4
"""Error classes that a failed call can show; 0 stands for none."""

_ONE = np.float32(1)
_PRIOR = np.float32(0.1)
"""Failures in one call that are assumed before any call was seen."""


class Structure(NamedTuple):
    """What stays as it is while a level is played; N functions, F facts, all float32."""

    relations: Any
    """[..., 3, N, F]: 1 where a function needs, adds, deletes a fact."""
    cost: Any
    """[..., N], relative to the level's unit."""
    optional: Any
    """[..., N]"""
    peers: Any
    """[..., N, N]: 1 where one function can do another's work."""
    known: Any
    """[..., N, 2]: calls and failures that were seen earlier."""
    start: Any
    """[..., F]"""
    goal: Any
    """[..., F]"""


class Moment(NamedTuple):
    """What changes from call to call, all float32."""

    state: Any
    """[..., F]"""
    waived: Any
    """[..., F]"""
    quality: Any
    """[..., F]: 0 to 1; -1 where it is not known."""
    tallies: Any
    """[..., N, 5]: calls, successes, failures in a row, last error (0 to 4), mean duration."""
    limits: Any
    """[..., 7]: shares of budget, deadline and resources that are left, four preferences."""
    legal: Any
    """[..., 2, N]: 1 for legal calls, legal skips. (To give up always is.)"""


class Features(NamedTuple):
    """The inputs of the network."""

    facts: Any
    """[..., F, FACT_FEATURES]"""
    functions: Any
    """[..., N, FUNCTION_FEATURES]"""
    globals: Any
    """[..., GLOBAL_FEATURES]"""


def unit(level: Level) -> float:
    """The mean cost of a call, in which costs are counted; 1 if calls are free."""
    costs = [function.cost for function in level.functions]
    return sum(costs) / len(costs) if any(costs) else 1.0


def structure(level: Level) -> Structure:
    """The arrays of a level."""
    n, f = len(level.functions), len(level.facts)
    relations = np.zeros((3, n, f), np.float32)
    peers = np.zeros((n, n), np.float32)
    known = np.zeros((n, 2), np.float32)
    for at, function in enumerate(level.functions):
        for relation, facts in enumerate((function.pre, function.add, function.delete)):
            relations[relation, at, list(facts)] = 1
        others = list(function.alternatives_of)
        peers[at, others] = peers[others, at] = 1
        if function.failure is not None:
            known[at] = function.failure.known
    return Structure(
        relations=relations,
        cost=np.array([function.cost for function in level.functions], np.float32)
        / np.float32(unit(level)),
        optional=np.array([function.optional for function in level.functions], np.float32),
        peers=peers,
        known=known,
        start=_indicator(level.init, f),
        goal=_indicator(level.goal, f),
    )


def features(xp: Any, structure: Structure, moment: Moment) -> Features:
    """The features of a situation, or of a batch of them, by the array module `xp`."""
    pre, add, delete = range(3)
    state, goal = moment.state, structure.goal
    open_goal = goal * (_ONE - xp.maximum(state, moment.waived))
    views = xp.stack([xp.ones_like(state), state, open_goal, goal * state], axis=-1)
    counts = xp.matmul(structure.relations, views[..., None, :, :])  # [..., 3, N, 4]
    every, true, unmet, met = range(4)
    needs = counts[..., pre, :, every]
    tallies, known = moment.tallies, structure.known
    calls, successes, row, error = (tallies[..., at] for at in range(4))
    seen = known[..., 0] + calls
    failed = known[..., 1] + calls - successes
    usable = xp.where(row > 0, _ONE - _ONE, _ONE)
    functions = [
        (counts[..., pre, :, true] + _PRIOR) / (needs + _PRIOR),
        moment.legal[..., 0, :],
        xp.log1p(counts[..., add, :, every] - counts[..., add, :, true]),
        xp.minimum(counts[..., delete, :, true], _ONE),
        xp.log1p(counts[..., add, :, unmet]),
        xp.minimum(counts[..., delete, :, met], _ONE),
        xp.log1p(structure.cost),
        xp.log1p(calls),
        xp.log1p(successes),
        xp.log1p(row),
        *(xp.where(error == kind, _ONE, _ONE - _ONE) for kind in range(1, ERRORS + 1)),
        xp.log1p(xp.matmul(structure.peers, usable[..., None])[..., 0]),
        xp.log1p(xp.sum(structure.peers, axis=-1)),
        structure.optional,
        moment.legal[..., 1, :],
        xp.log1p(tallies[..., 4]),
        (failed + _PRIOR) / (seen + _ONE),
        xp.log1p(seen),
    ]
    quality_known = xp.where(moment.quality >= 0, _ONE, _ONE - _ONE)
    facts = [state, structure.start, goal, quality_known, moment.quality * quality_known]
    goals = xp.maximum(xp.sum(goal, axis=-1, keepdims=True), _ONE)
    left = xp.sum(open_goal, axis=-1, keepdims=True) / goals
    return Features(
        facts=xp.stack([*facts, moment.waived], axis=-1),
        functions=xp.stack(functions, axis=-1),
        globals=xp.concatenate([left, moment.limits], axis=-1),
    )


def moment(situation: "Situation", mask: Mask) -> Moment:
    """The arrays of a situation, given which of the 2N + 1 actions are legal in it."""
    f = len(situation.level.facts)
    quality = [-1.0 if value is None else value for value in situation.qualities]
    tallies = [
        (t.calls, t.successes, t.failures_in_a_row, t.last_error, t.mean_duration)
        for t in situation.tallies
    ]
    return Moment(
        state=unpacked(situation.state, f),
        waived=unpacked(situation.waived, f),
        quality=np.array(quality, np.float32),
        tallies=np.array(tallies, np.float32),
        limits=np.array(
            [
                _left(situation.spent, situation.budget),
                _left(situation.elapsed, situation.deadline),
                situation.resources_free,
                *situation.preferences,
            ],
            np.float32,
        ),
        legal=mask[:-1].reshape(2, -1).astype(np.float32),
    )


def unpacked(state: int, facts: int) -> Floats:
    """A state as an array [F] of 0 and 1."""
    raw = np.frombuffer(state.to_bytes((facts + 7) // 8, "little"), np.uint8)
    return np.unpackbits(raw, count=facts, bitorder="little").astype(np.float32)


def _indicator(facts: frozenset[int], count: int) -> Floats:
    array = np.zeros(count, np.float32)
    array[list(facts)] = 1
    return array


def _left(used: float, limit: float | None) -> float:
    if limit is None:
        return 1.0
    return max(0.0, 1 - used / limit) if limit > 0 else 0.0
