"""The dials of the makers: what the levels that they draw look like."""

from dataclasses import dataclass

LEARNING_FUNCTIONS = 64
"""Training levels have at most so many functions."""


@dataclass(frozen=True)
class Dials:
    """Ranges are inclusive; shares are chances from 0 to 1."""

    functions: tuple[int, int] = (6, LEARNING_FUNCTIONS)
    """How many functions a level has."""
    facts: int = 96
    """Facts at most."""
    depth: tuple[int, int] = (3, 60)
    """Calls of a shortest plan."""
    states: int = 60_000
    """Reachable states at most."""
    inverse: tuple[float, float] = (0.6, 0.95)
    """The share of functions that have an inverse, drawn for each level from this range. (What is
    moved or taken in nested and carrying levels can nearly always be put back.)"""
    deletes: float = 0.7
    """Plain levels: how often a function uses up one of its inputs."""
    alternatives: float = 0.25
    """Plain levels: how often a function has another that can stand in for it."""
    distractors: float = 0.3
    """Plain levels: functions of no use, as a share of the others."""
    costly: float = 0.3
    """The share of levels whose functions cost differently."""
    costs: tuple[int, ...] = (1, 2, 3, 5)
    """What functions of such levels cost."""
    easy: float = 0.5
    """Of the levels that are kept, the share on which greedy h_add may be optimal."""


LEARNING = Dials()
LARGE = Dials(functions=(LEARNING_FUNCTIONS + 1, 2 * LEARNING_FUNCTIONS), facts=192, states=400_000)
"""Twice the size of those that are learned from."""
