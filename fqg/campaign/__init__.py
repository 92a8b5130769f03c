"""The campaign: hand-made levels with stories, in four difficulties, each for one idea.

The files name facts instead of numbering them: `start` and `goal`, and per function `needs`,
`gives`, `loses` and `instead_of`. `says` is what comes back from a call that succeeds. `best` is
the number of calls of best play, where no call can fail.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from ..level import Level, parse_levels

DIFFICULTIES = ("beginner", "skilled", "hard", "expert")


@dataclass(frozen=True)
class Stage:
    """A level of the campaign; its number is its place in `stages()`, from 1."""

    level: Level
    title: str
    difficulty: str
    idea: str
    says: tuple[str, ...]
    """Per function what comes back from a call that succeeds."""


@cache
def stages() -> tuple[Stage, ...]:
    """All levels, the easy ones first."""
    return tuple(
        _stage(item, difficulty)
        for difficulty in DIFFICULTIES
        for item in tomllib.loads(
            resources.files(__package__).joinpath(f"{difficulty}.toml").read_text("utf-8")
        )["level"]
    )


def _stage(item: Mapping[str, Any], difficulty: str) -> Stage:
    functions = item["functions"]
    facts: dict[str, int] = {}
    for named in (item.get("start", []), *(f.get("needs", []) for f in functions)):
        _number(named, facts)
    for function in functions:
        _number(function["gives"], facts)
        _number(function.get("loses", []), facts)
    _number(item["goal"], facts)
    places = {function["name"]: at for at, function in enumerate(functions)}
    same = ("name", "args", "cost", "optional", "failure", "duration", "quality")
    document = {
        "id": item["title"],
        "facts": list(facts),
        "init": [facts[name] for name in item.get("start", [])],
        "goal": [facts[name] for name in item["goal"]],
        "functions": [
            {
                "pre": [facts[name] for name in function.get("needs", [])],
                "add": [facts[name] for name in function["gives"]],
                "del": [facts[name] for name in function.get("loses", [])],
                "alternatives_of": [places[name] for name in function.get("instead_of", [])],
                **{key: function[key] for key in same if key in function},
            }
            for function in functions
        ],
        "story": item["story"],
        "optimal_calls": item.get("best"),
        "optimal_cost": item.get("best_cost", item.get("best")),
        **{key: item[key] for key in ("budget", "deadline", "preferences") if key in item},
    }
    (level,) = parse_levels(document)
    return Stage(
        level=replace(level, id=f"campaign: {item['title']}"),
        title=item["title"],
        difficulty=difficulty,
        idea=item["idea"],
        says=tuple(function["says"] for function in functions),
    )


def _number(names: list[str], facts: dict[str, int]) -> None:
    for name in names:
        facts.setdefault(name, len(facts))
