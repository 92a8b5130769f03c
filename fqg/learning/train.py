"""Training from top to bottom: exact labels first, own play after; resumed where it was stopped.

The weights follow from settings, data and machine alone. What batch a step learns from depends on
seed and step, so a first phase that was interrupted goes on from its last checkpoint as if nothing
had happened; a second phase, which is short, starts over from the end of the first.
"""

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from tf_agents.specs import array_spec, tensor_spec
from tf_agents.trajectories import time_step as ts

from ..evaluating.report import CURVES
from ..level import Level
from ..network import Network, Weights
from .agent import GraphDqnAgent
from .dataset import Batch, Sampler, Situations, empty
from .env import QuestEnvironment
from .graphnet import GraphNetwork
from .ownplay import OwnPlay
from .settings import Settings
from .validate import Score, score

Scores = dict[str, Score]


def train(
    settings: Settings,
    training: Situations,
    validation: Situations,
    levels: Sequence[Level],
    folder: Path,
    threads: int = 1,
) -> tuple[Weights, Scores]:
    """Train in `folder` (checkpoints, TensorBoard), or go on there; weights and last validation.

    `levels` are those of own play; without any the second phase is left out."""
    _determinism(settings.seed, threads)
    log = tf.summary.create_file_writer(str(folder / "log"))
    with log.as_default():
        weights = _first_phase(settings, training, validation, folder)
        if levels and settings.own_steps:
            weights = _second_phase(settings, training, levels, weights)
        scores = score(_network(settings, weights), validation, settings.validation)
        _report(scores, settings.steps + settings.own_steps, folder)
    return weights, scores


def _first_phase(
    settings: Settings, training: Situations, validation: Situations, folder: Path
) -> Weights:
    spec = _structure_spec()
    agent, network, optimizer = make_agent(settings, spec, actions=3, levels=None)
    checkpoint = tf.train.Checkpoint(
        weights=network.named, optimizer=optimizer, step=agent.train_step_counter
    )
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=2)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).expect_partial()
    sampler = Sampler(training, settings.batch, settings.failures, settings.seed)
    begun = int(agent.train_step_counter)
    losses: list[float] = []
    with _progress("labels", settings.steps, begun) as (advance, note):
        for step in range(begun, settings.steps):
            optimizer.learning_rate.assign(_rate(settings, step))
            network.rounds.assign(_rounds(settings, step))
            losses.append(float(agent.learn(_parts(sampler.batch(step)))))
            advance()
            if (step + 1) % settings.every == 0 or step + 1 == settings.steps:
                mean = float(np.mean(losses))
                losses.clear()
                weights = network.weights_as_arrays()
                scores = score(_network(settings, weights), validation, settings.validation)
                tf.summary.scalar("loss/labels", mean, step + 1)
                _report(scores, step + 1, folder)
                note(_line(step + 1, mean, scores))
                manager.save(checkpoint_number=step + 1)
    return network.weights_as_arrays()


def _second_phase(
    settings: Settings, training: Situations, levels: Sequence[Level], weights: Weights
) -> Weights:
    environment = QuestEnvironment(levels, settings.games, settings.seed)
    spec = environment.observation_spec()
    agent, network, optimizer = make_agent(
        settings, spec, actions=2 * environment.n + 1, levels=_tensors(environment.tables)
    )
    network.assign(weights)
    agent.initialize()
    # The same weights, for labelled situations that bring their own adjacency.
    teacher = GraphNetwork(_structure_spec(), levels=None, messages=settings.messages)
    teacher.share(network)
    network.rounds.assign(settings.rounds_at_play)
    optimizer.learning_rate.assign(settings.own_rate)
    own = OwnPlay(environment, network, agent.training_data_spec, settings)
    sampler = Sampler(training, settings.batch // 2, settings.failures, settings.seed + 1)
    for _ in range(4 * settings.n_step):
        own.play()
    losses: list[float] = []
    with _progress("own play", settings.own_steps, 0) as (advance, note):
        for step in range(settings.own_steps):
            own.play()
            labelled = _parts(sampler.batch(step))
            losses.append(
                float(agent.train_on_both(own.sample(settings.batch // 2), labelled, teacher))
            )
            advance()
            if (step + 1) % 100 == 0:
                mean = float(np.mean(losses))
                losses.clear()
                tf.summary.scalar("loss/own play", mean, settings.steps + step + 1)
                note(f"own play {step + 1}: loss {mean:.4f}")
    return network.weights_as_arrays()


def make_agent(
    settings: Settings, spec: Any, actions: int, levels: Batch | None
) -> tuple[GraphDqnAgent, GraphNetwork, Any]:
    """An agent with fresh weights, its network and optimizer, for so many (padded) actions."""
    action_spec = tensor_spec.from_spec(
        array_spec.BoundedArraySpec((), np.int32, 0, actions - 1, "action")
    )
    observation = tensor_spec.from_spec(spec)
    optimizer = tf.keras.optimizers.AdamW(settings.rate, weight_decay=settings.decay)
    online, target = (
        GraphNetwork(
            observation,
            action_spec,
            rounds=settings.rounds_at_play,
            seed=settings.seed,
            levels=levels,
            messages=settings.messages,
            name=name,
        )
        for name in ("Online", "Target")
    )
    agent = GraphDqnAgent(
        ts.time_step_spec(observation),
        action_spec,
        online,
        target,
        optimizer,
        settings,
        tf.Variable(0, dtype=tf.int64, trainable=False, name="step"),
    )
    optimizer.build(online.trainable_variables)
    agent.initialize()
    return agent, online, optimizer


def _structure_spec() -> dict[str, array_spec.ArraySpec]:
    return {
        name: array_spec.ArraySpec([None] * (array.ndim - 1), array.dtype, name)
        for name, array in empty(1, 1, 1).items()
    }


def _tensors(batch: Batch) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in batch.items()}


def _parts(batch: Sequence[Batch]) -> tuple[dict[str, tf.Tensor], ...]:
    return tuple(map(_tensors, batch))


def _rate(settings: Settings, step: int) -> float:
    rising = min(1.0, (step + 1) / settings.warm_up)
    falling = max(0.0, 1 - step / settings.horizon)
    return settings.rate * rising * falling * min(1.0, (settings.steps - step) / settings.cool_down)


def _rounds(settings: Settings, step: int) -> int:
    draw = random.Random(f"{settings.seed}/{step}")  # noqa: S311 - no secret
    return draw.randint(settings.rounds_least, settings.rounds_most)


def _network(settings: Settings, weights: Weights) -> Network:
    return Network(weights, settings.rounds_at_play)


def _determinism(seed: int, threads: int) -> None:
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # this process trained before: the number is set
        return


def _report(scores: Scores, step: int, folder: Path) -> None:
    """For TensorBoard, and as a line of a file for our own report."""
    row = {"step": step, "scores": {kind: found._asdict() for kind, found in scores.items()}}
    with (folder / CURVES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    for kind, found in scores.items():
        tf.summary.scalar(f"solved/{kind}", found.solved, step)
        tf.summary.scalar(f"cost ratio/{kind}", found.ratio, step)


def _line(step: int, loss: float, scores: Scores) -> str:
    every = scores["all"]
    kinds = " · ".join(f"{kind} {s.solved:.0%} at {s.ratio:.3f}" for kind, s in scores.items())
    return f"{step}: loss {loss:.4f}, solved {every.solved:.1%} at {every.ratio:.3f} ({kinds})"


@contextmanager
def _progress(
    name: str, total: int, begun: int
) -> Iterator[tuple[Callable[[], None], Callable[[str], None]]]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, refresh_per_second=2) as bar:
        task = bar.add_task(name, total=total, completed=begun, rate="")

        def advance() -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, rate=f"{speed:.1f} steps/s" if speed else "")

        yield advance, bar.console.print
