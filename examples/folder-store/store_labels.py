"""What is thought of contents: tags, scores, uses. They stay when a content is swept."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct
from store_names import bad

from symphony.bus.errors import BusError

MOST_TAGS: Final = 64
LONGEST_TAG: Final = 128
MOST_USERS: Final = 10_000
BEST: Final = 1000
WEIGHTS: Final = {"structure": 30, "semantics": 50, "utility": 20}


class Tagged(Struct, frozen=True, tag="tag"):
    """Tags were removed, then added."""

    ref: str
    add: list[str]
    remove: list[str]


class Scored(Struct, frozen=True, tag="score"):
    """Parts of a score were given."""

    ref: str
    parts: dict[str, int]


class Used(Struct, frozen=True, tag="use"):
    """Somebody used it."""

    ref: str
    by: str


Label = Tagged | Scored | Used


@dataclass
class Labels:
    """Those of all contents."""

    _tags: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _parts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _users: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def apply(self, label: Label) -> None:
        """Takes in what a document says."""
        match label:
            case Tagged(ref, add, remove):
                self._tags[ref] = (self._tags[ref] - set(remove)) | set(add)
            case Scored(ref, parts):
                self._parts[ref] |= parts
            case Used(ref, by):
                self._users[ref].add(by)

    def check(self, label: Label) -> bool:
        """Whether it says anything new. Raises BusError for what may not be said."""
        match label:
            case Tagged(ref, add, remove):
                for tag in (*add, *remove):
                    if not 1 <= len(tag.encode(errors="replace")) <= LONGEST_TAG:
                        raise bad("tags", f"a tag has 1 to {LONGEST_TAG} bytes")
                after = (self._tags.get(ref, set()) - set(remove)) | set(add)
                if len(after) > MOST_TAGS:
                    message = f"an artifact has at most {MOST_TAGS} tags"
                    raise BusError("overloaded", message, where="add")
                return after != self._tags.get(ref, set())
            case Scored(ref, parts):
                for where, part in parts.items():
                    if not 0 <= part <= BEST:
                        raise bad(where, f"a score is within 0 to {BEST}")
                return self._parts.get(ref, {}) | parts != self._parts.get(ref, {})
            case Used(ref, by):
                users = self._users.get(ref, set())
                return by not in users and len(users) < MOST_USERS

    def tags(self, ref: str) -> list[str]:
        """Its tags, sorted."""
        return sorted(self._tags.get(ref, ()))

    def uses(self, ref: str) -> int:
        """By how many it was used."""
        return len(self._users.get(ref, ()))

    def score(self, ref: str) -> dict[str, int]:
        """What is known of its parts, and the `quality` that they come to; empty: nothing is."""
        uses = self.uses(ref)
        used = {"utility": BEST - -(-BEST // (1 + uses))} if uses else {}
        parts = used | self._parts.get(ref, {})
        weight = sum(WEIGHTS[part] for part in parts)
        if not weight:
            return {}
        return parts | {"quality": sum(WEIGHTS[k] * v for k, v in parts.items()) // weight}
