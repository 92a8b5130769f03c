"""Training: TensorFlow computes what NumPy computes, games repeat to the bit, and it learns.

Needs the training extra (`scripts/train` installs it in an environment of its own)."""

# ruff: noqa: E402 - nothing of TensorFlow is imported before it is known to be there

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tf_agents", reason="the training extra is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # TensorFlow's own are many
    pytest.mark.timeout(900),
]

import tensorflow as tf

from symphony.fqg.encode import structure
from symphony.fqg.game import Mechanics
from symphony.fqg.learning import dataset
from symphony.fqg.learning.env import QuestEnvironment
from symphony.fqg.learning.graphnet import GraphNetwork, initial
from symphony.fqg.learning.settings import Settings
from symphony.fqg.learning.train import train
from symphony.fqg.making.failurelabels import dials
from symphony.fqg.making.failures import make
from symphony.fqg.making.shards import FAILURE_SPLITS, SPLITS, make_failures, make_split
from symphony.fqg.network import Network

from .situations import legal, some_level, values


def test_numpy_computes_what_tensorflow_computes() -> None:
    weights = initial(3)
    situations = [
        Mechanics(some_level(seed, functions=seed + 4, facts=seed + 6)).start() for seed in range(4)
    ]
    n, f = 9, 12  # larger than any: padding must change nothing
    batch = dataset.empty(len(situations), n, f)
    for at, situation in enumerate(situations):
        level = situation.level
        dataset.put_structure(batch, at, structure(level))
        batch["state"][at, list(level.init)] = 1
        dataset.put_actions(batch["mask"][at], legal(situation), len(level.functions))
    network = GraphNetwork({k: tf.TensorSpec(v.shape[1:], v.dtype) for k, v in batch.items()})
    network.assign(weights)
    network.rounds.assign(6)

    found = network({name: tf.constant(array) for name, array in batch.items()})[0].numpy()

    for row, situation in zip(found, situations, strict=True):
        own = dataset.actions_of(row, len(situation.level.functions))
        np.testing.assert_allclose(own, values(Network(weights, 6), situation), atol=1e-5)


def test_two_environments_of_one_seed_are_equal_to_the_bit() -> None:
    levels = [make(seed, dials(seed)) for seed in range(6)]
    draw = np.random.default_rng(0)
    one, other = (QuestEnvironment(levels, 3, seed=5) for _ in range(2))
    steps, others = one.reset(), other.reset()
    for _ in range(200):
        actions = np.array(
            [draw.choice(np.flatnonzero(mask)) for mask in steps.observation["mask"]], np.int32
        )
        steps, others = one.step(actions), other.step(actions)
        for mine, yours in zip(tf.nest.flatten(steps), tf.nest.flatten(others), strict=True):
            np.testing.assert_array_equal(mine, yours)


def test_training_learns_and_gives_the_same_weights_again(tmp_path: Path) -> None:
    seen: set[int] = set()
    for split in SPLITS:
        if split.name in ("validation", "train"):
            list(make_split(tmp_path / "data", split._replace(levels=40), seen))
    for split in FAILURE_SPLITS:
        if split.name in ("validation", "train"):
            list(make_failures(tmp_path / "data", split._replace(levels=10)))
    training, validation = (
        dataset.load(tmp_path / "data", split) for split in ("train", "validation")
    )
    levels = [make(seed, dials(seed)) for seed in range(4)]

    def trained(folder: str, steps: int, own: int) -> tuple[dict[str, object], float]:
        settings = Settings(
            steps=steps, own_steps=own, every=250, validation=20, batch=16, games=4, replay=500
        )
        weights, scores = train(settings, training, validation, levels, tmp_path / folder)
        return dict(weights), scores["all"].solved

    weights, solved = trained("long", 500, 20)
    assert solved >= 0.6
    one, _ = trained("one", 20, 5)
    same, _ = trained("same", 20, 5)
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
    assert any(not np.array_equal(weights[name], initial(1)[name]) for name in one)
