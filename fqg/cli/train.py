"""`symphony-fqg train` and `export`: a policy from labelled levels; needs the training extra."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..making.failurelabels import dials
from ..making.failures import make
from .common import CommandError, ExitCode

OWN_SEED = 2_000_000
"""Training seeds from here on are of the levels of own play; no others come so far."""
Data = Annotated[Path, typer.Option(metavar="FOLDER", help="Shards of labelled levels.")]
Folder = Annotated[Path, typer.Argument(help="Checkpoints, logs and the policy go here.")]


def add_command(app: typer.Typer) -> None:
    """Adds both to `symphony-fqg`."""
    app.command("train")(train)
    app.command("export")(export)


def train(
    folder: Folder,
    data: Data,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the first phase.")] = None,
    own_steps: Annotated[int | None, typer.Option(min=0, help="Of the second phase.")] = None,
    own_levels: Annotated[int, typer.Option(min=0, help="Levels of the second phase.")] = 200,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Train a policy, or go on where a training in this folder was stopped."""
    _require_extra()
    from ..learning import dataset, settings
    from ..learning.export import export as write
    from ..learning.train import train as learn

    usual = settings.Settings(seed=seed)
    chosen = replace(
        usual,
        steps=usual.steps if steps is None else steps,
        own_steps=usual.own_steps if own_steps is None else own_steps,
    )
    try:
        training, validation = (dataset.load(data, split) for split in ("train", "validation"))
    except FileNotFoundError as error:
        remedy = "make them: python -m symphony.fqg.making.shards FOLDER"
        raise CommandError(ExitCode.BAD_REQUEST, [(str(error), str(data))], remedy) from None
    levels = [make(at, dials(at)) for at in range(OWN_SEED, OWN_SEED + own_levels)]
    weights, scores = learn(chosen, training, validation, levels, folder, threads)
    made = chosen.steps + (chosen.own_steps if levels else 0)
    print(write(folder, weights, chosen, training, scores, made))


def export(
    policy: Annotated[Path, typer.Argument(help="A policy file (`policy.npz`).")],
    to: Annotated[Path, typer.Argument(help="A folder for TF-Agents' saved policy.")],
) -> None:
    """Write a policy file as a TensorFlow SavedModel, as TF-Agents' PolicySaver does."""
    _require_extra()
    from ..learning.export import save_policy
    from ..learning.settings import Settings
    from ..network import WeightsError, load

    try:
        weights, config = load(policy)
    except WeightsError as error:
        remedy = "name a file that `symphony-fqg train` wrote"
        raise CommandError(ExitCode.BAD_REQUEST, [(str(error), str(policy))], remedy) from None
    save_policy(to, weights, Settings(rounds_at_play=config["rounds"]))
    print(to)


def _require_extra() -> None:
    if find_spec("tf_agents") is None:
        fault = ("the training extra is not installed", "symphony-fqg")
        remedy = "run scripts/train, or: pip install 'symphony-conductor[train]'"
        raise CommandError(ExitCode.UNAVAILABLE, [fault], remedy)
