"""Values on their way between steps: small ones carry their data, all carry their artifact.

A file or folder lives in the Artifact Store and is staged into an inbox when a step needs it. Any
other value is an artifact too, so that every output has a reference, and travels inline as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

Kind = Literal["inline", "file", "folder"]
TEXT = "text/plain"
JSON = "application/json"


class Value(Struct, frozen=True, omit_defaults=True):
    """One input or output. ``ref`` is empty only for literals of a Melody and inline inputs."""

    kind: Kind = "inline"
    ref: str = ""
    value: Any | UnsetType = UNSET
    name: str = ""
    media: str = ""
    bytes: int = 0

    def to_journal(self) -> dict[str, Any]:
        """As plain data for the journal."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_journal(cls, data: Mapping[str, Any]) -> Value:
        """Back from the journal."""
        return msgspec.convert(data, cls)

    def variable(self) -> object:
        """What gates and expressions see: the data itself, or a file's reference and hints."""
        if self.value is not UNSET:
            return self.value
        hints = {"name": self.name, "media": self.media, "bytes": self.bytes}
        return {"$artifact": self.ref, **hints}


def inline(value: object) -> Value:
    """A literal."""
    return Value(value=value, media=TEXT if isinstance(value, str) else JSON)


def content(value: object) -> tuple[bytes, str]:
    """An inline value as an artifact's bytes and media type: text as it is, the rest as JSON."""
    if isinstance(value, str):
        return value.encode(), TEXT
    return msgspec.json.encode(value), JSON


def variables(values: Mapping[str, Value]) -> dict[str, object]:
    """A group of values for an expression."""
    return {name: value.variable() for name, value in values.items()}
