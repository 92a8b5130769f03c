"""Many games at once as one natively batched TF-Agents environment.

Slot b plays one level after the other; which, and with what fortune, follows from the seed, the
slot and how many games it has played: two environments of one seed are equal to the bit. The reward
is the game's, in units of the level's mean cost. A game that is cut off by the call cap ends with
discount 1 (truncation), one that is won or given up with 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from ..encode import moment, structure, unit
from ..game import Game
from ..level import Level
from .dataset import Batch, empty, put, put_actions, put_structure

MOMENT = ("state", "waived", "quality", "tallies", "limits", "mask")


class QuestEnvironment(py_environment.PyEnvironment):  # type: ignore[misc]
    """`batch` games; an observation has the index `level` and the arrays of `encode.Moment`,
    padded to the largest level. `tables` holds the arrays of the levels, by that index."""

    def __init__(self, levels: Sequence[Level], batch: int, seed: int) -> None:
        super().__init__(handle_auto_reset=False)
        self._levels = tuple(levels)
        self._seed = seed
        self.n = max(len(level.functions) for level in levels)
        self.f = max(len(level.facts) for level in levels)
        padded = empty(len(levels), self.n, self.f)
        for at, level in enumerate(levels):
            put_structure(padded, at, structure(level))
        self.tables: Batch = {k: v for k, v in padded.items() if k not in MOMENT}
        self._units = [unit(level) for level in levels]
        self._games = [self._new(slot, 0) for slot in range(batch)]
        self._played = [0] * batch

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return len(self._played)

    def action_spec(self) -> array_spec.BoundedArraySpec:
        return array_spec.BoundedArraySpec((), np.int32, 0, 2 * self.n, "action")

    def observation_spec(self) -> dict[str, array_spec.ArraySpec]:
        one = self._observed_empty(1)
        return {k: array_spec.ArraySpec(v.shape[1:], v.dtype, k) for k, v in one.items()}

    def _reset(self) -> ts.TimeStep:
        self._played = [0] * self.batch_size
        self._games = [self._new(slot, 0) for slot in range(self.batch_size)]
        self._over = np.zeros(self.batch_size, bool)
        return ts.restart(self._observed(), self.batch_size)

    def _step(self, action: Any) -> ts.TimeStep:
        """Plays one action a slot; a slot whose game is over begins its next one instead."""
        count = self.batch_size
        kind = np.full(count, ts.StepType.MID, np.int32)
        reward, discount = np.zeros(count, np.float32), np.ones(count, np.float32)
        over = np.zeros(count, bool)
        for slot in range(count):
            if self._over[slot]:
                self._played[slot] += 1
                self._games[slot] = self._new(slot, self._played[slot])
                kind[slot] = ts.StepType.FIRST
                continue
            level, game = self._games[slot]
            outcome = game.step(self._own_action(level, int(action[slot])))
            reward[slot] = outcome.reward / self._units[level]
            if outcome.over or outcome.truncated:
                over[slot] = True
                kind[slot] = ts.StepType.LAST
                discount[slot] = 0 if outcome.over else 1
        self._over = over
        return ts.TimeStep(kind, reward, discount, self._observed())

    def _own_action(self, level: int, padded: int) -> int:
        own = len(self._levels[level].functions)
        if padded < self.n:
            return padded
        return padded - self.n + own if padded < 2 * self.n else 2 * own

    def _new(self, slot: int, played: int) -> tuple[int, Game]:
        draw = np.random.default_rng([self._seed, slot, played])
        while True:
            level = int(draw.integers(len(self._levels)))
            game = Game(self._levels[level])
            game.reset(int(draw.integers(2**31)))
            if not game.won():
                return level, game

    def _observed_empty(self, count: int) -> Batch:
        padded = empty(count, self.n, self.f)
        return {"level": np.zeros(count, np.int32), **{name: padded[name] for name in MOMENT}}

    def _observed(self) -> Batch:
        out = self._observed_empty(self.batch_size)
        for slot, (level, game) in enumerate(self._games):
            own = len(self._levels[level].functions)
            legal = np.zeros(2 * own + 1, bool)
            legal[game.mechanics.legal(game.situation)] = True
            now = moment(game.situation, legal)
            out["level"][slot] = level
            for name in ("state", "waived", "quality", "tallies", "limits"):
                put(out[name][slot], getattr(now, name))
            put_actions(out["mask"][slot], legal, own)
        return out
