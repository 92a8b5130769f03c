"""What each part of the training is worth: the same training without it, scored alike.

`python -m symphony.fqg.learning.ablations DATA FOLDER [--steps N] [--only NAME]` prints one JSON
object a training; one that was stopped goes on when it is called again.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..making.failurelabels import dials
from ..making.failures import make
from . import dataset
from .settings import Settings
from .train import train

ABLATIONS: Mapping[str, Mapping[str, object]] = {
    "whole": {},
    "untrained": {"steps": 0, "own_steps": 0},
    "no-messages": {"messages": False},
    "no-margin": {"margin_weight": 0.0},
    "own-play": {"own_steps": 300},
    "no-failures": {"failures": 0.0},
    "few-rounds": {"rounds_least": 2, "rounds_most": 3, "rounds_at_play": 3},
}
OWN_SEED, OWN_LEVELS = 2_000_000, 200


def main() -> None:
    """Trains all, or those that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2_000, help="of each training")
    parser.add_argument("--only", action="append", choices=list(ABLATIONS))
    options = parser.parse_args()
    training, validation = (dataset.load(options.data, s) for s in ("train", "validation"))
    levels = [make(at, dials(at)) for at in range(OWN_SEED, OWN_SEED + OWN_LEVELS)]
    for name in options.only or ABLATIONS:
        settings = replace(Settings(steps=options.steps), **ABLATIONS[name])  # type: ignore[arg-type]
        _, scores = train(settings, training, validation, levels, options.folder / name)
        found = {kind: score._asdict() for kind, score in scores.items()}
        print(json.dumps({"ablation": name, "steps": settings.steps, "scores": found}), flush=True)


if __name__ == "__main__":
    main()
