"""A level of Function Quest as frozen data, and the reader of its interchange file.

The file is JSON, optionally gzip: a list of levels, or one level. A level names its facts once;
everything else refers to them by index. Keys that are not listed here are ignored. All errors of a
file are reported together, each with its place, such as `[3].functions[2].pre[0]`.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from .failure import Failure, read_failure
from .reading import Item, Problem

_NUMBER = "a number from 0 to 1e12"
MAX_FILE_BYTES = 1 << 30
"""A file is read up to this size, unpacked; a larger one is refused."""


@dataclass(frozen=True)
class Function:
    """A call needs the facts `pre`, makes `delete` false and then `add` true (indexes of facts)."""

    name: str
    pre: frozenset[int]
    add: frozenset[int]
    delete: frozenset[int]
    args: tuple[str, ...] = ()
    cost: float = 1.0
    optional: bool = False
    alternatives_of: tuple[int, ...] = ()
    """Indexes of the functions that this one can stand in for."""
    failure: Failure | None = None
    """How calls may fail; None: they do not."""
    duration: float = 0.0
    """Seconds that a call takes."""
    description: str = ""
    """What it does, for a person."""
    quality: float | None = None
    """How good what it returns is, 0 to 1; None: nobody says."""


class Preferences(NamedTuple):
    """What matters to whoever plays: weights from 0 to 1."""

    quality: float = 0.0
    cost: float = 1.0
    time: float = 0.0
    risk: float = 0.0


USUAL = Preferences()
"""Only the cost matters."""


@dataclass(frozen=True)
class Level:
    """One puzzle. `init` and `goal` are indexes of `facts`."""

    id: str
    facts: tuple[str, ...]
    init: frozenset[int]
    goal: frozenset[int]
    functions: tuple[Function, ...]
    optimal_calls: int | None = None
    """The calls of a shortest plan; None: unknown. Failures are not counted in."""
    story: str = ""
    optimal_cost: float | None = None
    """What a cheapest plan costs (game.prices); None: unknown. Failures are not counted in."""
    budget: float | None = None
    """What the calls may cost in all."""
    deadline: float | None = None
    """Seconds that the calls may take in all."""
    preferences: Preferences = USUAL


class LevelError(ValueError):
    """The file is no list of levels; `problems` holds all that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_levels(path: Path) -> tuple[Level, ...]:
    """The levels of a JSON or gzipped JSON file.

    Raises LevelError for its content, OSError if it cannot be read.
    """
    try:
        return parse_levels(json.loads(_text(path), parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise LevelError([Problem(place, f"not JSON: {error.msg}")]) from None
    except RecursionError:
        raise LevelError([Problem("file", "nested too deeply")]) from None
    except LevelError:
        raise
    except ValueError as error:  # bytes that are no UTF-8, a number of thousands of digits, NaN
        raise LevelError([Problem("file", f"not JSON: {error}")]) from None


def parse_levels(document: object) -> tuple[Level, ...]:
    """The levels of a decoded file. Raises LevelError with every problem."""
    problems: list[Problem] = []
    items = document if isinstance(document, list) else [document]
    levels = [_level(Item(item, f"[{at}]", problems)) for at, item in enumerate(items)]
    first: dict[str, int] = {}
    for at, level in enumerate(levels):
        if first.setdefault(level.id, at) != at:
            message = f"{level.id!r} is already the id of [{first[level.id]}]"
            problems.append(Problem(f"[{at}].id", message))
    if problems:
        raise LevelError(problems)
    return tuple(levels)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LevelError([Problem("file", f"damaged gzip: {error}")]) from None
    if len(data) > MAX_FILE_BYTES:
        raise LevelError([Problem("file", f"larger than {MAX_FILE_BYTES} bytes")])
    return data.decode("utf-8-sig")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _level(item: Item) -> Level:
    facts = tuple(item.items("facts", "text"))
    functions = item.items("functions", "an object")
    return Level(
        id=item.get("id", "text"),
        facts=facts,
        init=item.indexes("init", len(facts)),
        goal=item.indexes("goal", len(facts)),
        functions=tuple(
            _function(
                Item(function, f"{item.place}.functions[{at}]", item.problems),
                facts=len(facts),
                functions=len(functions),
            )
            for at, function in enumerate(functions)
        ),
        optimal_calls=item.get("optimal_calls", "a whole number from 0", None),
        story=item.get("story", "text", ""),
        optimal_cost=item.get("optimal_cost", _NUMBER, None),
        budget=item.get("budget", _NUMBER, None),
        deadline=item.get("deadline", _NUMBER, None),
        preferences=_preferences(item.child("preferences")),
    )


def _function(item: Item, facts: int, functions: int) -> Function:
    return Function(
        name=item.get("name", "text"),
        pre=item.indexes("pre", facts),
        add=item.indexes("add", facts),
        delete=item.indexes("del", facts),
        args=tuple(item.items("args", "text", [])),
        cost=float(item.get("cost", _NUMBER, 1)),
        optional=item.get("optional", "true or false", False),
        alternatives_of=tuple(sorted(item.indexes("alternatives_of", functions, []))),
        failure=read_failure(item.child("failure")),
        duration=float(item.get("duration", _NUMBER, 0)),
        description=item.get("description", "text", ""),
        quality=item.get("quality", "a number from 0 to 1", None),
    )


def _preferences(item: Item | None) -> Preferences:
    if item is None:
        return USUAL
    weights = USUAL._asdict().items()
    return Preferences(*(item.get(name, "a number from 0 to 1", usual) for name, usual in weights))
