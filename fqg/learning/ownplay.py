"""Own play: games of the current network, cut into n-step transitions and kept in a replay."""

from collections import deque
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.replay_buffers import tf_uniform_replay_buffer
from tf_agents.trajectories import time_step as ts

from .agent import NEVER
from .dataset import Batch
from .env import QuestEnvironment
from .graphnet import GraphNetwork
from .settings import Settings


class OwnPlay:
    """Plays all games of an environment at once; `sample` draws from what was seen.

    The replay keeps of each situation the index of its level and what changes from call to call;
    adjacency is gathered inside the graph."""

    def __init__(
        self,
        environment: QuestEnvironment,
        network: GraphNetwork,
        spec: dict[str, Any],
        settings: Settings,
    ) -> None:
        self._environment, self._settings = environment, settings
        self._values = tf.function(lambda observation: network(observation)[0])
        self._draw = np.random.default_rng([settings.seed, 1])
        self._replay = tf_uniform_replay_buffer.TFUniformReplayBuffer(
            spec, batch_size=1, max_length=settings.replay
        )
        self._steps = environment.reset()
        self._pending: list[deque[tuple[Batch, int, float]]] = [
            deque() for _ in range(environment.batch_size)
        ]

    def sample(self, size: int) -> Any:
        """A batch of transitions."""
        experience, _ = self._replay.get_next(sample_batch_size=size, num_steps=None)
        return experience

    def play(self) -> None:
        """One action in every game."""
        before = self._steps
        actions = self._choose(before.observation)
        self._steps = after = self._environment.step(actions)
        for slot, pending in enumerate(self._pending):
            if before.step_type[slot] == ts.StepType.LAST:
                continue  # this step only began the next game
            seen = _row(before.observation, slot)
            pending.append((seen, int(actions[slot]), float(after.reward[slot])))
            ended = after.step_type[slot] == ts.StepType.LAST
            while pending and (ended or len(pending) == self._settings.n_step):
                self._keep(pending, after, slot)
                pending.popleft()

    def _choose(self, observation: Batch) -> Any:
        values = self._values({k: tf.constant(v) for k, v in observation.items()}).numpy()
        values -= NEVER * (1 - observation["mask"])
        actions = values.argmax(axis=1).astype(np.int32)
        for slot in np.flatnonzero(self._draw.random(len(actions)) < self._settings.explore):
            actions[slot] = self._draw.choice(np.flatnonzero(observation["mask"][slot]))
        return actions

    def _keep(self, pending: "deque[tuple[Batch, int, float]]", after: Any, slot: int) -> None:
        observation, action, _ = pending[0]
        transition = {
            "observation": observation,
            "next": _row(after.observation, slot),
            "action": np.int32(action),
            "reward": np.float32(sum(reward for _, _, reward in pending)),
            "discount": after.discount[slot],
        }
        self._replay.add_batch(tf.nest.map_structure(lambda v: tf.constant(v)[None], transition))


def _row(batch: Batch, at: int) -> Batch:
    return {name: array[at].copy() for name, array in batch.items()}
