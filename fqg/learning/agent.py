"""Double DQN of TF-Agents that also learns from exact labels.

Two losses share one network. On labelled situations: a regression of all legal actions' values, and
a soft large margin between optimal actions and the others, after deep Q-learning from
demonstrations (Hester et al. 2018) with the maximum made soft (softmax margin, Gimpel and Smith
2010). On own play: n-step double Q-learning with the values compressed (see `network`), illegal
actions masked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.dqn import dqn_agent
from tf_agents.trajectories import time_step as ts

from ..network import compress, expand
from .graphnet import GraphNetwork
from .settings import Settings

Labelled = Sequence[Mapping[str, tf.Tensor]]
"""The parts of `dataset.Sampler.batch`, as tensors."""
NEVER = 1e4
"""Subtracted from the values of illegal actions."""


def split(observation: Mapping[str, tf.Tensor]) -> tuple[Mapping[str, tf.Tensor], tf.Tensor]:
    """The observation and its mask of legal actions, as TF-Agents' policies want them."""
    return observation, observation["mask"]


class GraphDqnAgent(dqn_agent.DqnAgent):  # type: ignore[misc]
    """`train(experience)` learns from own play: a dictionary of n-step transitions with
    `observation`, `next` (dictionaries), `action`, `reward` and `discount`; `learn(batch)` from
    labelled situations (`dataset.Sampler.batch`)."""

    def __init__(
        self,
        time_step_spec: ts.TimeStep,
        action_spec: Any,
        network: GraphNetwork,
        target: GraphNetwork,
        optimizer: Any,
        settings: Settings,
        step: tf.Variable,
    ) -> None:
        observation = time_step_spec.observation
        super().__init__(
            time_step_spec,
            action_spec,
            q_network=network,
            target_q_network=target,
            optimizer=optimizer,
            observation_and_action_constraint_splitter=split,
            epsilon_greedy=settings.explore,
            target_update_period=settings.target_period,
            gradient_clipping=settings.clip,
            train_step_counter=step,
            training_data_spec={
                "observation": observation,
                "next": observation,
                "action": tf.TensorSpec([], tf.int32),
                "reward": tf.TensorSpec([], tf.float32),
                "discount": tf.TensorSpec([], tf.float32),
            },
        )
        self._settings = settings

    def labelled_loss(self, batch: Labelled, network: GraphNetwork) -> tf.Tensor:
        """The mean loss over the labelled situations of a batch."""
        rows = [tf.cast(tf.shape(part["mask"])[0], tf.float32) for part in batch]
        each = [self._part_loss(part, network) for part in batch]
        return sum(loss * of for loss, of in zip(each, rows, strict=True)) / sum(rows)

    def _part_loss(self, batch: Mapping[str, tf.Tensor], network: GraphNetwork) -> tf.Tensor:
        settings = self._settings
        inputs = {name: batch[name] for name in batch if name not in ("target", "best")}
        values, _ = network(inputs, training=True)
        legal, best = batch["mask"], batch["best"]
        return regression(values, batch["target"], legal) + settings.margin_weight * margin(
            values, legal, best, settings.margin, settings.sharpness
        )

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def learn(self, batch: Labelled) -> tf.Tensor:
        """One gradient step on labelled situations; returns the loss."""
        with tf.GradientTape() as tape:
            loss = self.labelled_loss(batch, self._q_network)
        self._apply(tape, loss)
        return loss

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def train_on_both(self, experience: Any, batch: Labelled, teacher: GraphNetwork) -> tf.Tensor:
        """One gradient step on own play and labelled situations together; returns the loss.

        `teacher` shares the variables, and takes situations that bring their own adjacency."""
        with tf.GradientTape() as tape:
            loss = self.own_loss(experience) + self.labelled_loss(batch, teacher)
        self._apply(tape, loss)
        self._update_target()
        return loss

    def _train(self, experience: Any, weights: Any = None) -> tf_agent.LossInfo:
        del weights
        with tf.GradientTape() as tape:
            loss = self.own_loss(experience)
        self._apply(tape, loss)
        self._update_target()
        return tf_agent.LossInfo(loss, ())

    def own_loss(self, experience: Mapping[str, Any]) -> tf.Tensor:
        """Huber loss of the n-step double Q target, in compressed costs."""
        values, _ = self._q_network(experience["observation"], training=True)
        taken = tf.gather(values, experience["action"], batch_dims=1)
        after = experience["next"]
        online, _ = self._q_network(after)
        then = tf.argmax(online - NEVER * (1 - after["mask"]), axis=-1)
        target, _ = self._target_q_network(after)
        later = expand(tf.maximum(-tf.gather(target, then, batch_dims=1), 0))
        cost = later * experience["discount"] - experience["reward"]
        wanted = tf.stop_gradient(-compress(tf.maximum(cost, 0)))
        return tf.reduce_mean(huber(taken - wanted))

    def _apply(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        tf.debugging.check_numerics(loss, "the loss is no number")
        variables = self._q_network.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), self._settings.clip)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.train_step_counter.assign_add(1)


def huber(error: tf.Tensor) -> tf.Tensor:
    """Half the square up to 1, linear beyond."""
    size = tf.abs(error)
    return tf.where(size < 1, 0.5 * size * size, size - 0.5)


def regression(values: tf.Tensor, target: tf.Tensor, legal: tf.Tensor) -> tf.Tensor:
    """The mean Huber loss over the legal actions of each situation, [B, A] each."""
    each = tf.reduce_sum(huber(values - target) * legal, axis=-1) / tf.reduce_sum(legal, axis=-1)
    return tf.reduce_mean(each)


def margin(
    values: tf.Tensor, legal: tf.Tensor, best: tf.Tensor, width: float, sharpness: float
) -> tf.Tensor:
    """By how much the best action, the others raised by `width`, exceeds the best optimal one."""
    never = NEVER * (1 - legal)
    raised = sharpness * (values + width * (1 - best) - never)
    optimal = sharpness * (values - NEVER * (1 - best))
    exceeds = tf.reduce_logsumexp(raised, axis=-1) - tf.reduce_logsumexp(optimal, axis=-1)
    return tf.reduce_mean(exceeds) / sharpness
