"""The forward pass does not depend on order, and a file of weights is taken only if it is whole."""

import random
from pathlib import Path

import numpy as np
import pytest

from symphony.fqg.game import Mechanics
from symphony.fqg.network import (
    Network,
    Weights,
    WeightsError,
    compress,
    expand,
    load,
    save,
    shapes,
)

from .situations import shuffled, some_level, values


@pytest.fixture(name="weights", scope="module")
def _weights() -> Weights:
    draw = np.random.default_rng(0)
    return {name: draw.normal(0, 0.3, s).astype(np.float32) for name, s in shapes().items()}


@pytest.mark.parametrize("seed", range(3))
def test_values_follow_the_functions_when_they_are_reordered(weights: Weights, seed: int) -> None:
    level = some_level(seed)
    functions, facts = list(range(9)), list(range(7))
    draw = random.Random(seed)  # noqa: S311 - no secret
    draw.shuffle(functions)
    draw.shuffle(facts)
    network = Network(weights, 5)

    one = values(network, Mechanics(level).start())
    other = values(network, Mechanics(shuffled(level, functions, facts)).start())

    np.testing.assert_allclose(other[:9], one[:9][functions], atol=1e-4)
    np.testing.assert_allclose(other[9:18], one[9:18][functions], atol=1e-4)
    np.testing.assert_allclose(other[18], one[18], atol=1e-4)


def test_a_saved_network_comes_back_as_it_was(weights: Weights, tmp_path: Path) -> None:
    save(tmp_path / "policy.npz", weights, {"rounds": 5, "seed": 7})

    back, config = load(tmp_path / "policy.npz")

    assert config["rounds"] == 5
    assert config["seed"] == 7
    assert all(np.array_equal(back[name], weights[name]) for name in shapes())


def test_files_that_are_no_weights_are_refused(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="no file of weights"):
        load(path)
    save(path, weights, {"rounds": 0})
    with pytest.raises(WeightsError, match="rounds"):
        load(path)
    save(path, {**weights, "head/2/b": np.zeros(3, np.float32)}, {"rounds": 5})
    with pytest.raises(WeightsError, match="head/2/b"):
        load(path)
    save(path, {**weights, "head/2/b": np.full(2, np.nan, np.float32)}, {"rounds": 5})
    with pytest.raises(WeightsError, match="no numbers"):
        load(path)


@pytest.mark.parametrize("cost", [0.0, 1.0, 250.0])
def test_compressed_costs_expand_to_what_they_were(cost: float) -> None:
    assert expand(compress(cost)) == pytest.approx(cost)
