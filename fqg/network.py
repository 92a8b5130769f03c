"""The network's forward pass in NumPy, and the form of its weights.

Message passing on the bipartite graph of functions and facts. All rounds share one set of weights,
so that a plan may need more rounds at play than in training. In each round the functions hear the
facts, then the facts hear the functions, each relation (pre, add, delete) by itself: half of the
channels as a mean, half as a soft maximum (log of a sum of exponentials, clamped). A residual
perceptron with layer normalisation takes what was heard, and a vector for the whole graph hears the
mean and the maximum of all nodes. The head gives each function a value for calling and one for
skipping it; giving up is valued by the graph's vector.

Values are negated costs to go, in units of the level's mean cost, compressed by `compress` (the
transform of Pohlen et al. 2018, "Observe and Look Further", without its linear term).
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .encode import (
    FACT_FEATURES,
    FUNCTION_FEATURES,
    GLOBAL_FEATURES,
    Features,
    Floats,
    Structure,
)

WIDTH = 32
HALF = WIDTH // 2
HIDDEN = 32
CLAMP = 4.0
EPSILON = 1e-5
FORMAT = 1
"""Of the file; another number is refused."""

Weights = Mapping[str, Floats]


class WeightsError(ValueError):
    """The file holds no weights of this network."""


def shapes() -> dict[str, tuple[int, ...]]:
    """The name and shape of every array of weights."""
    perceptrons = {  # inputs, outputs
        "functions": (5 * WIDTH, WIDTH),
        "facts": (5 * WIDTH, WIDTH),
        "globals": (5 * WIDTH, WIDTH),
        "head": (2 * WIDTH + FUNCTION_FEATURES, 2),
        "give_up": (WIDTH, 1),
    }
    found: dict[str, tuple[int, ...]] = {}
    for node, features in (
        ("functions", FUNCTION_FEATURES),
        ("facts", FACT_FEATURES),
        ("globals", GLOBAL_FEATURES),
    ):
        found |= {f"{node}/embed/w": (features, WIDTH), f"{node}/embed/b": (WIDTH,)}
        found |= {f"{node}/norm/gain": (WIDTH,), f"{node}/norm/bias": (WIDTH,)}
    for name, (inputs, outputs) in perceptrons.items():
        found |= {f"{name}/1/w": (inputs, HIDDEN), f"{name}/1/b": (HIDDEN,)}
        found |= {f"{name}/2/w": (HIDDEN, outputs), f"{name}/2/b": (outputs,)}
    return found


def compress(cost: Any) -> Any:
    """A cost to go in units, from 0, as the network counts it: √(1 + cost) - 1. Arrays too."""
    return (1 + cost) ** 0.5 - 1


def expand(value: Any) -> Any:
    """The inverse of `compress`."""
    return (1 + value) ** 2 - 1


def save(path: Path, weights: Weights, config: Mapping[str, Any]) -> None:
    """Write weights and how they came to be; `config` has `rounds`, the rest is for readers."""
    text = np.array(json.dumps({"format": FORMAT, **config}, sort_keys=True))
    arrays: dict[str, Any] = {name: weights[name] for name in shapes()}
    np.savez_compressed(path, config=text, **arrays)


def load(path: Path) -> tuple[Weights, dict[str, Any]]:
    """The weights of a file, and its configuration. Raises WeightsError; OSError if unreadable."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop("config")))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: no file of weights: {error}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise WeightsError(f"{path}: not of format {FORMAT}")
    if type(config.get("rounds")) is not int or not 1 <= config["rounds"] <= 64:
        raise WeightsError(f"{path}: its configuration names no rounds from 1 to 64")
    for name, shape in shapes().items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float32:
            raise WeightsError(f"{path}: {name} must be float32 {shape}")
        if not np.isfinite(array).all():
            raise WeightsError(f"{path}: {name} has values that are no numbers")
    return arrays, config


class Network:
    """Weights, made fit for one level at a time by `bind`."""

    def __init__(self, weights: Weights, rounds: int) -> None:
        self.weights = weights
        self.rounds = rounds

    def bind(self, structure: Structure) -> "Bound":
        """The network for the levels of this structure (not a batch)."""
        return Bound(self, structure)


class Bound:
    """The network on one graph: adjacency in both directions and all buffers, made once."""

    def __init__(self, network: Network, structure: Structure) -> None:
        relations = structure.relations
        n = relations.shape[1]
        self._rounds = network.rounds
        self._weights = w = network.weights
        self._functions = _Side(w, "functions", relations)
        self._facts = _Side(w, "facts", relations.transpose(0, 2, 1))
        self._globals = _Residual(w, "globals", 1, 5 * WIDTH)
        self._head = _Perceptron(w, "head", n)
        self._give_up = _Perceptron(w, "give_up", 1)
        self._head_input = np.empty((n, WIDTH + FUNCTION_FEATURES), np.float32)
        self._pooled = self._globals.input
        self._values = np.empty(2 * n + 1, np.float32)
        self._n = n

    def values(self, features: Features) -> Floats:
        """The value of every action, [2N + 1], legal or not: N calls, N skips, giving up."""
        functions, facts, overall = self._functions, self._facts, self._globals
        functions.state[:] = self._embedded("functions", features.functions)
        facts.state[:] = self._embedded("facts", features.facts)
        overall.state[:] = self._embedded("globals", features.globals[None])
        pooled = self._pooled
        for _ in range(self._rounds):
            functions.hear(facts.state, overall.state)
            facts.hear(functions.state, overall.state)
            for at, side in ((1, functions), (3, facts)):
                mean = pooled[0, at * WIDTH : (at + 1) * WIDTH]
                np.add.reduce(side.state, axis=0, out=mean)
                mean /= len(side.state)
                most = pooled[0, (at + 1) * WIDTH : (at + 2) * WIDTH]
                np.maximum.reduce(side.state, axis=0, out=most)
            overall.update()
        inputs = self._head_input
        inputs[:, :WIDTH] = functions.state
        inputs[:, WIDTH:] = features.functions
        n, values = self._n, self._values
        values[: 2 * n].reshape(2, n)[:] = self._head(inputs, overall.state).T
        values[2 * n :] = self._give_up(overall.state)[0]
        return values

    def _embedded(self, node: str, features: Floats) -> Floats:
        w = self._weights
        embedded: Floats = features @ w[f"{node}/embed/w"] + w[f"{node}/embed/b"]
        return embedded


class _Perceptron:
    """Two layers with a rectifier between; the result is a buffer that the next call overwrites.

    `shared` is one more part of the input, the same for all rows: its weights come last."""

    def __init__(self, weights: Weights, name: str, rows: int) -> None:
        self._w1, self._b1 = weights[f"{name}/1/w"], weights[f"{name}/1/b"]
        self._w2, self._b2 = weights[f"{name}/2/w"], weights[f"{name}/2/b"]
        self._hidden = np.empty((rows, HIDDEN), np.float32)
        self._result = np.empty((rows, len(self._b2)), np.float32)

    def __call__(self, inputs: Floats, shared: Floats | None = None) -> Floats:
        hidden, result, own = self._hidden, self._result, inputs.shape[1]
        np.matmul(inputs, self._w1[:own], out=hidden)
        hidden += self._b1 if shared is None else shared @ self._w1[own:] + self._b1
        np.maximum(hidden, 0, out=hidden)
        np.matmul(hidden, self._w2, out=result)
        result += self._b2
        return result


class _Residual:
    """The state of nodes and its update: state = norm(state + perceptron(input)).

    The input's first columns are the state; whoever owns this fills the others."""

    def __init__(self, weights: Weights, name: str, rows: int, inputs: int) -> None:
        self._perceptron = _Perceptron(weights, name, rows)
        self._gain, self._bias = weights[f"{name}/norm/gain"], weights[f"{name}/norm/bias"]
        self.state = np.zeros((rows, WIDTH), np.float32)
        self.input = np.zeros((rows, inputs), np.float32)
        self._centre = np.eye(WIDTH, dtype=np.float32) - np.float32(1 / WIDTH)

    def update(self, shared: Floats | None = None) -> None:
        state = self.state
        self.input[:, :WIDTH] = state
        state += self._perceptron(self.input, shared)
        centred = state @ self._centre
        scale = np.einsum("ij,ij->i", centred, centred)
        scale *= np.float32(1 / WIDTH)
        scale += np.float32(EPSILON)
        np.sqrt(scale, out=scale)
        np.divide(self._gain, scale[:, None], out=state)
        state *= centred
        state += self._bias


class _Side(_Residual):
    """The nodes of one side of the graph, which hear those of the other.

    `relations` is [3, own nodes, other nodes]."""

    def __init__(self, weights: Weights, name: str, relations: Floats) -> None:
        _, rows, others = relations.shape
        super().__init__(weights, name, rows, 4 * WIDTH)
        self._adjacency = np.ascontiguousarray(relations.reshape(3 * rows, others))
        degrees = np.maximum(self._adjacency.sum(axis=1), 1)
        self._share = (1 / degrees).astype(np.float32)[:, None]
        self._told = np.empty((others, WIDTH), np.float32)
        self._heard = np.empty((3 * rows, WIDTH), np.float32)

    def hear(self, others: Floats, overall: Floats) -> None:
        told, heard = self._told, self._heard
        told[:, :HALF] = others[:, :HALF]
        soft = told[:, HALF:]
        np.minimum(others[:, HALF:], CLAMP, out=soft)
        np.maximum(soft, -CLAMP, out=soft)
        np.exp(soft, out=soft)
        np.matmul(self._adjacency, told, out=heard)
        heard[:, :HALF] *= self._share
        soft = heard[:, HALF:]
        np.log1p(soft, out=soft)
        rows = len(self.state)
        for relation in range(3):
            at = (1 + relation) * WIDTH
            self.input[:, at : at + WIDTH] = heard[relation * rows : (relation + 1) * rows]
        self.update(overall)
