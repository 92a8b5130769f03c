"""Where a value in a Melody comes from: `$inputs.NAME`, `$steps.ID.OUTPUT`, or a literal."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"\$(?:inputs\.(?P<input>[a-z][a-z0-9_]*)"
    r"|steps\.(?P<step>[a-z][a-z0-9_-]*)\.(?P<output>[a-z][a-z0-9_]*))\Z"
)


@dataclass(frozen=True, slots=True)
class FromInput:
    """An input of the run."""

    name: str


@dataclass(frozen=True, slots=True)
class FromStep:
    """An output of a step."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Literal:
    """The value itself."""

    value: object


@dataclass(frozen=True, slots=True)
class Malformed:
    """A text that begins like a reference and is none; no valid Melody holds one."""

    text: str


Binding = FromInput | FromStep | Literal | Malformed


def parse_binding(value: object) -> Binding:
    """Reads a value of a Melody; only a text that begins with `$` is more than a literal."""
    if not isinstance(value, str) or not value.startswith("$"):
        return Literal(value)
    if value.startswith("$$"):
        return Literal(value[1:])
    match = _REFERENCE.match(value)
    if match is None:
        return Malformed(value)
    if match["input"] is not None:
        return FromInput(match["input"])
    return FromStep(match["step"], match["output"])
