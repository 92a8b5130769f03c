"""The suite of `pit.dag/1`."""

from __future__ import annotations

from . import dag_changes, dag_runs
from .suite import Checks, Suite

SUITE = Suite(
    "pit.dag/1",
    "bus/contracts/pit.dag-1.md",
    Checks([*dag_runs.CHECKS, *dag_changes.CHECKS]),
)
