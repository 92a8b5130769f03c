"""What the handlers of the operations work on: one clause, the entity that it acts on, the
requirement in the making."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import brief_verbs as verbs
from brief_model import Clause, Entity, Requirement, Specification


@dataclass(frozen=True)
class Request:
    """`phrase` is the noun phrase after the verb, `rest` what follows it, `tail` both in lower
    case."""

    spec: Specification
    entity: Entity
    made: Requirement
    phrase: list[str]
    rest: list[str]
    tail: str

    @property
    def words(self) -> set[str]:
        return set(re.findall(r"[\w-]+", self.tail))

    def about(self, phrase: list[str]) -> Request:
        return replace(self, phrase=phrase)


Handler = Callable[[Request], bool]
"""Fills in `made`; False if the operation cannot be built from these words."""


_MEANT = frozenset(verbs.OPERATIONS) | verbs.BUILDABLE | {"rule", "quality"}


def as_gap(made: Requirement, clause: Clause) -> Requirement:
    """The requirement as one that is not generated: it keeps the brief's verb, but means no
    operation."""
    made.verb, made.details = clause.verb or "do", []
    if made.verb in _MEANT:
        made.verb = f"{made.verb}-other"
    return made
