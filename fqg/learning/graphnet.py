"""The network in TensorFlow, as a TF-Agents network: what `network` computes, for batches.

An observation is a dictionary of the arrays of `encode.Structure` and `encode.Moment` with a batch
axis, padded; `mask` [B, 2N + 1] of all legal actions stands for `legal`, and `n_functions` and
`n_facts` say how many nodes are real. The features are made inside
the graph, by the encoder's own code. Levels that do not change may be kept here instead (`levels`):
an observation then has the index `level` in place of the arrays of its structure.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.networks import network as tf_network

from ..encode import Features, Moment, Structure, features
from ..network import CLAMP, EPSILON, HALF, HIDDEN, WIDTH, Weights, shapes

tnp = tf.experimental.numpy
MEAN = np.full((WIDTH, 1), 1 / WIDTH, np.float32)
CENTRE = np.eye(WIDTH, dtype=np.float32) - MEAN
"""The mean over a node's channels, and what subtracts it, as products: reductions are slower."""
Observation = Mapping[str, tf.Tensor]


class GraphNetwork(tf_network.Network):  # type: ignore[misc]
    """The value of every action: [B, 2N + 1] for padded situations of N functions.

    `rounds` is a variable, so that training may draw it anew at each step.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any = None,
        *,
        rounds: int = 6,
        seed: int = 0,
        levels: Mapping[str, tf.Tensor] | None = None,
        messages: bool = True,
        name: str = "GraphNetwork",
    ) -> None:
        super().__init__(input_tensor_spec=input_tensor_spec, state_spec=(), name=name)
        self._outputs = None if action_spec is None else int(action_spec.maximum) + 1
        self.rounds = tf.Variable(rounds, trainable=False, dtype=tf.int32, name="rounds")
        self._levels = dict(levels) if levels else None
        self._messages = messages
        self._w = {
            name: tf.Variable(value, name=name.replace("/", "_"))
            for name, value in initial(seed).items()
        }

    def create_variables(self, *_: Any, **__: Any) -> tf.TensorSpec:
        """They exist from the start; TF-Agents asks for the form of the output."""
        self._network_output_spec = tf.TensorSpec([self._outputs], tf.float32)
        self.built = True
        return self._network_output_spec

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        return [self._w[name] for name in shapes()]

    trainable_weights = trainable_variables

    @property
    def variables(self) -> list[tf.Variable]:
        return self.trainable_variables

    def weights_as_arrays(self) -> Weights:
        """A copy of the weights for `network`."""
        return {name: variable.numpy() for name, variable in self._w.items()}

    @property
    def named(self) -> dict[str, tf.Variable]:
        """The variables by their names in `network.shapes`."""
        return self._w

    def share(self, other: "GraphNetwork") -> None:
        """Use the variables of another network from now on."""
        self._w, self.rounds = other.named, other.rounds

    def assign(self, weights: Weights) -> None:
        """Take over the weights of `network`."""
        for name, variable in self._w.items():
            variable.assign(weights[name])

    def call(
        self,
        observation: Observation,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
    ) -> tuple[tf.Tensor, Any]:
        del step_type, training
        structure, moment, real = self._arrays(observation)
        return self._values(structure.relations, features(tnp, structure, moment), real), (
            network_state
        )

    def _arrays(self, observation: Observation) -> tuple[Structure, Moment, Any]:
        parts = dict(observation)
        if self._levels is not None:
            level = parts["level"]
            parts |= {name: tf.gather(table, level) for name, table in self._levels.items()}
        parts = {name: tf.cast(value, tf.float32) for name, value in parts.items()}
        n = tf.shape(parts["cost"])[-1]
        f = tf.shape(parts["goal"])[-1]
        parts["legal"] = tf.reshape(parts["mask"][:, : 2 * n], [-1, 2, n])
        real = (
            tf.sequence_mask(parts["n_functions"], n, tf.float32),
            tf.sequence_mask(parts["n_facts"], f, tf.float32),
        )
        return (
            Structure(*(parts[name] for name in Structure._fields)),
            Moment(*(parts[name] for name in Moment._fields)),
            real,
        )

    def _values(self, relations: tf.Tensor, inputs: Features, real: Any) -> tf.Tensor:
        shape = tf.shape(relations)
        b, n, f = shape[0], shape[2], shape[3]
        there = tf.reshape(tf.transpose(relations, [0, 2, 1, 3]), [b, 3 * n, f])
        back = tf.reshape(tf.transpose(relations, [0, 3, 1, 2]), [b, 3 * f, n])
        shares = [
            side / tf.maximum(tf.reduce_sum(side, axis=-1, keepdims=True), 1)
            for side in (there, back)
        ]
        functions = self._embedded("functions", inputs.functions)
        facts = self._embedded("facts", inputs.facts)
        overall = self._embedded("globals", inputs.globals)

        def one_round(
            at: tf.Tensor, functions: tf.Tensor, facts: tf.Tensor, overall: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            functions = self._heard("functions", functions, facts, overall, there, shares[0])
            facts = self._heard("facts", facts, functions, overall, back, shares[1])
            pooled = [overall]
            for nodes, mask in zip((functions, facts), real, strict=True):
                mask = mask[..., None]
                pooled.append(tf.reduce_sum(nodes * mask, axis=1) / tf.reduce_sum(mask, axis=1))
                pooled.append(tf.reduce_max(tf.where(mask > 0, nodes, -1e9), axis=1))
            hidden = times(tf.concat(pooled, axis=-1), self._w["globals/1/w"])
            return at + 1, functions, facts, self._updated("globals", overall, hidden)

        _, functions, facts, overall = tf.while_loop(
            lambda at, *_: at < self.rounds,
            one_round,
            (tf.constant(0), functions, facts, overall),
        )
        head = self._perceptron(
            "head", tf.concat([functions, inputs.functions], axis=-1), overall[:, None]
        )
        calls_and_skips = tf.reshape(tf.transpose(head, [0, 2, 1]), [b, 2 * n])
        return tf.concat([calls_and_skips, self._perceptron("give_up", overall)], axis=-1)

    def _embedded(self, node: str, inputs: tf.Tensor) -> tf.Tensor:
        return times(inputs, self._w[f"{node}/embed/w"]) + self._w[f"{node}/embed/b"]

    def _perceptron(
        self, name: str, inputs: tf.Tensor, shared: tf.Tensor | None = None
    ) -> tf.Tensor:
        w, own = self._w[f"{name}/1/w"], inputs.shape[-1]
        hidden = times(inputs, w[:own])
        if shared is not None:
            hidden += times(shared, w[own:])
        return self._output(name, hidden)

    def _output(self, name: str, hidden: tf.Tensor) -> tf.Tensor:
        w = self._w
        hidden = tf.nn.relu(tf.nn.bias_add(hidden, w[f"{name}/1/b"]))
        return tf.nn.bias_add(times(hidden, w[f"{name}/2/w"]), w[f"{name}/2/b"])

    def _heard(
        self,
        node: str,
        own: tf.Tensor,
        others: tf.Tensor,
        overall: tf.Tensor,
        adjacency: tf.Tensor,
        shares: tf.Tensor,
    ) -> tf.Tensor:
        """The nodes of one side after hearing the other. Nothing is sliced or put together but
        weights, as what the layers hear is far larger: each part has its own product."""
        w = self._w[f"{node}/1/w"]
        hidden = times(own, w[:WIDTH]) + times(overall, w[4 * WIDTH :])[:, None]
        if self._messages:
            mean, soft = tf.split(others, 2, axis=-1)
            soft = tf.exp(tf.clip_by_value(soft, -CLAMP, CLAMP))
            shape = tf.concat([tf.shape(own)[:-1], [3 * HALF]], axis=0)
            mean = tf.reshape(tf.matmul(shares, mean), shape)
            soft = tf.reshape(tf.math.log1p(tf.matmul(adjacency, soft)), shape)
            heard = tf.reshape(w[WIDTH : 4 * WIDTH], [3, 2, HALF, HIDDEN])
            hidden += times(mean, tf.reshape(heard[:, 0], [3 * HALF, HIDDEN]))
            hidden += times(soft, tf.reshape(heard[:, 1], [3 * HALF, HIDDEN]))
        return self._updated(node, own, hidden)

    def _updated(self, node: str, state: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
        state = state + self._output(node, hidden)
        centred = times(state, CENTRE)
        variance = times(centred * centred, MEAN)
        normal = centred * tf.math.rsqrt(variance + EPSILON)
        gained = normal * self._w[f"{node}/norm/gain"]
        return tf.nn.bias_add(gained, self._w[f"{node}/norm/bias"])


def times(inputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[..., I] times [I, O], as one product of two matrices: the product of a batch of matrices
    with one matrix, and above all its gradient, is several times slower on a CPU."""
    shape = tf.concat([tf.shape(inputs)[:-1], [weights.shape[1]]], axis=0)
    return tf.reshape(tf.matmul(tf.reshape(inputs, [-1, weights.shape[0]]), weights), shape)


def initial(seed: int) -> Weights:
    """Weights before training: He's for the layers before rectifiers, small ones for residuals."""
    draw = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes().items():
        value = np.zeros(shape, np.float32)
        if name.endswith("/w"):
            gain = 0.5 if "/2/" in name else 2.0
            value = draw.normal(0, np.sqrt(gain / shape[0]), shape).astype(np.float32)
        elif name.endswith("/gain"):
            value += 1
        weights[name] = value
    return weights
