"""Levels as documents of the interchange file; what is usual is left out."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .failure import Failure
from .level import USUAL, Function, Level


def save_levels(path: Path, levels: Iterable[Level]) -> None:
    """Writes a file that `load_levels` reads; packed if its name ends in `.gz`."""
    text = json.dumps([document(level) for level in levels], separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def document(level: Level) -> dict[str, Any]:
    """One level."""
    extra = {
        "optimal_calls": level.optimal_calls,
        "optimal_cost": level.optimal_cost,
        "budget": level.budget,
        "deadline": level.deadline,
        "story": level.story or None,
        "preferences": None if level.preferences == USUAL else level.preferences._asdict(),
    }
    return {
        "id": level.id,
        "facts": list(level.facts),
        "init": sorted(level.init),
        "goal": sorted(level.goal),
        "functions": [_function(function) for function in level.functions],
    } | {key: value for key, value in extra.items() if value is not None}


def _function(function: Function) -> dict[str, Any]:
    extra = {
        "args": list(function.args),
        "cost": None if function.cost == 1 else function.cost,
        "optional": function.optional,
        "alternatives_of": list(function.alternatives_of),
        "failure": _failure(function.failure) if function.failure else None,
        "duration": function.duration,
        "description": function.description,
    }
    quality = {} if function.quality is None else {"quality": function.quality}
    return (
        {
            "name": function.name,
            "pre": sorted(function.pre),
            "add": sorted(function.add),
            "del": sorted(function.delete),
        }
        | {key: value for key, value in extra.items() if value or (key == "cost" and value == 0)}
        | quality
    )


def _failure(failure: Failure) -> dict[str, Any]:
    return {**vars(failure), "modes": failure.modes._asdict(), "known": list(failure.known)}
