"""All settings of a training: one frozen object, kept with the weights that came of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What a training does. The same settings and data give the same weights on one machine."""

    seed: int = 1
    steps: int = 14_000
    """Gradient steps of the first phase, on exactly labelled situations."""
    own_steps: int = 0
    """Gradient steps of the second phase, half on own play and half on labelled situations. None as
    yet: 300 made the policy worse on validation (cost ÷ optimum 1.07 to 1.08)."""
    batch: int = 64
    failures: float = 0.3
    """The share of a batch that comes from levels with failures, while there are any."""
    rate: float = 1.5e-3
    """The learning rate after warm-up. It falls slowly, so that it would be zero after `horizon`
    steps, and faster in the last ones (`cool_down`), so that it is zero at the end."""
    horizon: int = 30_000
    cool_down: int = 2_000
    own_rate: float = 1e-4
    warm_up: int = 200
    clip: float = 1.0
    """The global norm above which gradients are scaled down."""
    decay: float = 1e-4
    rounds_least: int = 3
    rounds_most: int = 7
    rounds_at_play: int = 8
    margin: float = 0.15
    """By how much optimal actions shall stand out, in compressed costs."""
    margin_weight: float = 1.0
    sharpness: float = 10.0
    """Of the soft maximum in the margin loss; the larger, the closer to a hard one."""
    messages: bool = True
    """False: nodes do not hear each other (an ablation)."""
    games: int = 16
    """Games that the second phase plays at the same time."""
    n_step: int = 4
    explore: float = 0.05
    """The chance of a random legal action in own play."""
    replay: int = 8_000
    """Transitions kept of own play."""
    target_period: int = 200
    """Gradient steps between two updates of the target network."""
    every: int = 2_000
    """Gradient steps between two checkpoints, each with a validation."""
    validation: int = 100
    """Levels of a validation."""
