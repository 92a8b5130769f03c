"""What a training leaves behind: the weights with their card, and TF-Agents' saved policy.

The file of weights is all that play needs. The card says, for programs (`.json`) and for people
(`.md`), what the policy was trained on, how, how well it played then, and where its limits are.
"""

import json
import subprocess
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorflow as tf
from tf_agents.policies import policy_saver
from tf_agents.specs import array_spec, tensor_spec

from ..network import Weights, save
from .dataset import Situations, empty
from .settings import Settings
from .train import Scores, make_agent

FUNCTIONS, FACTS = 64, 96
"""Largest level of the saved TF-Agents policy; the file of weights has no such limit."""
LIMITS = (
    "Learned from levels of up to 64 functions and 96 facts; larger ones are extrapolation.",
    "Learned without budgets, deadlines, qualities or preferences other than cost.",
    "Long puzzles that undo and redo nested work, such as six-disc Hanoi, stay unsolved.",
)


def export(
    folder: Path,
    weights: Weights,
    settings: Settings,
    training: Situations,
    scores: Scores,
    steps: int,
) -> Path:
    """Write `policy.npz`, `policy.json` and `policy.md`; returns the first.

    `steps` are the gradient steps that were made: fewer than planned if it was stopped."""
    card: dict[str, Any] = {
        "rounds": settings.rounds_at_play,
        "settings": asdict(settings),
        "steps": steps,
        "revision": _revision(),
        "data": {
            "levels": dict(sorted(Counter(graph.kind for graph in training.graphs).items())),
            "situations": len(training),
            "seeds": "training seeds are below 2^31, validation seeds from there on",
        },
        "validation": {kind: score._asdict() for kind, score in scores.items()},
        "limits": LIMITS,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "policy.npz"
    save(path, weights, card)
    path.with_suffix(".json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    path.with_suffix(".md").write_text(_for_people(card))
    return path


def save_policy(folder: Path, weights: Weights, settings: Settings) -> None:
    """Write the greedy policy as TF-Agents' PolicySaver does, for levels padded to a fixed size."""
    spec = {
        name: array_spec.ArraySpec(array.shape[1:], array.dtype, name)
        for name, array in empty(1, FUNCTIONS, FACTS).items()
    }
    agent, network, _ = make_agent(
        settings, tensor_spec.from_spec(spec), actions=2 * FUNCTIONS + 1, levels=None
    )
    network.assign(weights)
    saver = policy_saver.PolicySaver(agent.policy, batch_size=None)
    saver.save(str(folder))


def _revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _for_people(card: dict[str, Any]) -> str:
    settings = card["settings"]
    rows = [
        f"| {kind} | {score['levels']} | {score['solved']:.1%} | {score['ratio']:.3f} |"
        for kind, score in card["validation"].items()
    ]
    levels = ", ".join(f"{count} {kind}" for kind, count in card["data"]["levels"].items())
    return "\n".join(
        [
            "# The policy and how it came to be",
            "",
            f"Revision {card['revision']}, TensorFlow {tf.__version__}.",
            f"Seed {settings['seed']}; {card['steps']} steps were made. Planned were",
            f"{settings['steps']} on labelled situations ({settings['batch']} each) and",
            f"{settings['own_steps']} with own play. {card['rounds']} rounds of message passing",
            "at play.",
            "",
            f"Levels: {levels}; {card['data']['situations']} labelled situations.",
            f"Seeds: {card['data']['seeds']}.",
            "",
            "| validation levels | number | solved | cost ÷ optimum |",
            "|---|---|---|---|",
            *rows,
            "",
            "Limits:",
            *(f"- {limit}" for limit in card["limits"]),
            "",
        ]
    )
