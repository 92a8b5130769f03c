"""Reading decoded JSON: each value is checked for its kind, and faults are noted with their place.

Reading goes on after a fault with a stand-in, so that all faults of a file are told at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file: where, and what."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


_KINDS: dict[str, tuple[Callable[[Any], bool], Any]] = {
    # What a message calls it: how it is recognised, what stands in for a wrong one.
    # (`type() is`, because a bool is an int to isinstance.)
    "text": (lambda v: isinstance(v, str), ""),
    "true or false": (lambda v: isinstance(v, bool), False),
    "a list": (lambda v: isinstance(v, list), []),
    "an object": (lambda v: isinstance(v, dict), {}),
    "a whole number from 0": (lambda v: type(v) is int and v >= 0, 0),
    "a number from 0 to 1": (lambda v: type(v) in (int, float) and 0 <= v <= 1, 0),
    "a number from 0 to 1e12": (lambda v: type(v) in (int, float) and 0 <= v <= 1e12, 0),
}
_REQUIRED = object()


class Item:
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
                self.note(f"{self.place}.{key}[{at}]", message)
        return frozenset(values)

    def child(self, key: str) -> "Item | None":
        """The object at `key`, if there is one."""
        value = self._keys.get(key)
        return None if value is None else Item(value, f"{self.place}.{key}", self.problems)

    def _checked(self, value: object, kind: str, place: str) -> Any:
        recognised, stand_in = _KINDS[kind]
        if recognised(value):
            return value
        self.note(place, f"must be {kind}, not {_shown(value)}")
        return stand_in

    def note(self, place: str, message: str) -> None:
        """Something else that is wrong, at this place."""
        self.problems.append(Problem(place, message))


def _shown(value: object) -> str:
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
