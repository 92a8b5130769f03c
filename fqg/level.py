"""A level of Function Quest as frozen data, and the reader of its interchange file.

The file is JSON, optionally gzip: a list of levels, or one level. A level names its facts once;
everything else refers to them by index. Keys that are not listed here are ignored. All errors of a
file are reported together, each with its place, such as `[3].functions[2].pre[0]`.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

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
    failure: Mapping[str, object] | None = field(default=None, hash=False)
    """How calls may fail, as the file says it; None: they do not."""


@dataclass(frozen=True)
class Level:
    """One puzzle. `init` and `goal` are indexes of `facts`; `optimal_calls` is None if unknown."""

    id: str
    facts: tuple[str, ...]
    init: frozenset[int]
    goal: frozenset[int]
    functions: tuple[Function, ...]
    optimal_calls: int | None = None
    story: str = ""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file: where, and what."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


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
    levels = [_level(_Object(item, f"[{at}]", problems)) for at, item in enumerate(items)]
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


def _level(item: "_Object") -> Level:
    facts = tuple(item.items("facts", "text"))
    functions = item.items("functions", "an object")
    return Level(
        id=item.get("id", "text"),
        facts=facts,
        init=item.indexes("init", len(facts)),
        goal=item.indexes("goal", len(facts)),
        functions=tuple(
            _function(
                _Object(function, f"{item.place}.functions[{at}]", item.problems),
                facts=len(facts),
                functions=len(functions),
            )
            for at, function in enumerate(functions)
        ),
        optimal_calls=item.get("optimal_calls", "a whole number from 0", None),
        story=item.get("story", "text", ""),
    )


def _function(item: "_Object", facts: int, functions: int) -> Function:
    return Function(
        name=item.get("name", "text"),
        pre=item.indexes("pre", facts),
        add=item.indexes("add", facts),
        delete=item.indexes("del", facts),
        args=tuple(item.items("args", "text", [])),
        cost=float(item.get("cost", "a number from 0 to 1e12", 1)),
        optional=item.get("optional", "true or false", False),
        alternatives_of=tuple(sorted(item.indexes("alternatives_of", functions, []))),
        failure=item.get("failure", "an object", None),
    )


_KINDS: dict[str, tuple[Callable[[Any], bool], Any]] = {
    # What a message calls it: how it is recognised, what stands in for a wrong one.
    # (`type() is`, because a bool is an int to isinstance.)
    "text": (lambda v: isinstance(v, str), ""),
    "true or false": (lambda v: isinstance(v, bool), False),
    "a list": (lambda v: isinstance(v, list), []),
    "an object": (lambda v: isinstance(v, dict), {}),
    "a whole number from 0": (lambda v: type(v) is int and v >= 0, 0),
    "a number from 0 to 1e12": (lambda v: type(v) in (int, float) and 0 <= v <= 1e12, 0),
}
_REQUIRED = object()


class _Object:
    """One JSON object at its place. Notes what is wrong with it and goes on with a stand-in."""

    def __init__(self, value: object, place: str, problems: list[Problem]) -> None:
        self.place = place
        self.problems = problems
        self._keys: dict[str, object] = self._checked(value, "an object", place)

    def get(self, key: str, kind: str, default: object = _REQUIRED) -> Any:
        """The value of `key`, of this kind; `default` if the key is absent or null and may be."""
        value = self._keys.get(key)
        if value is None and default is not _REQUIRED:
            return default
        return self._checked(value, kind, f"{self.place}.{key}")

    def items(self, key: str, kind: str, default: object = _REQUIRED) -> list[Any]:
        """The list at `key`, its items of this kind."""
        place = f"{self.place}.{key}"
        values = self.get(key, "a list", default)
        return [self._checked(value, kind, f"{place}[{at}]") for at, value in enumerate(values)]

    def indexes(self, key: str, below: int, default: object = _REQUIRED) -> frozenset[int]:
        """The list at `key` as a set of indexes of something that has `below` items."""
        values = self.items(key, "a whole number from 0", default)
        for at, value in enumerate(values):
            if value >= below:
                message = f"{value} is out of range: there are {below}"
                self._note(f"{self.place}.{key}[{at}]", message)
        return frozenset(values)

    def _checked(self, value: object, kind: str, place: str) -> Any:
        recognised, stand_in = _KINDS[kind]
        if recognised(value):
            return value
        self._note(place, f"must be {kind}, not {_shown(value)}")
        return stand_in

    def _note(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))


def _shown(value: object) -> str:
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
