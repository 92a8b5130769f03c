"""The entities that are known so far: found by what a brief calls them, and added to."""

from __future__ import annotations

import difflib
import re

from brief_model import Entity, Field
from brief_nouns import identifier, plural, singular
from brief_states import OVERDUE, STATES
from brief_words import words


def entity_of(entities: dict[str, Entity], phrase: list[str]) -> str | None:
    """The known entity that a noun phrase names, by its last words; forgives a typing error."""
    for size in (3, 2, 1):
        if len(phrase) >= size:
            name = identifier(" ".join([*phrase[-size:-1], singular(phrase[-1])]))
            if name in entities:
                return name
    if phrase:
        last = singular(phrase[-1])
        by_head = [e for e in entities if e.split("_")[-1] == last]
        if by_head:
            return by_head[0]
        if len(last) >= 5:
            close = difflib.get_close_matches(last, entities, 1, 0.84)
            close = close or [e for e in entities if len(e) >= 5 and sounds(e) == sounds(last)]
            return close[0] if close else None
    return None


def requested(entities: dict[str, Entity], verb: str, phrase: list[str]) -> str | None:
    """'request a swap' makes a swap request, if the brief knows of such."""
    name = f"{identifier(singular(phrase[-1]))}_{verb}" if phrase else ""
    return name if name in entities else None


def name_of(phrase: list[str]) -> str:
    words = [w for w in phrase if w not in STATES and w not in OVERDUE]
    return identifier(" ".join([*words[-2:-1], singular(words[-1])])) if words else ""


def add_entity(
    entities: dict[str, Entity], name: str, fields: list[Field], stated: bool = True
) -> Entity | None:
    if not name or name in NOT_THINGS or len(name) < 3:
        return None
    entity = entities.setdefault(name, Entity(name, plural(name)))
    entity.stated = entity.stated or stated
    for one in fields:
        if one.name != name:
            entity.add(one)
    return entity


def sounds(name: str) -> str:
    """Consonants only: 'recepy', 'recipie' and 'recipe' are alike."""
    return name[:1] + re.sub(r"[aeiouy]", "", name[1:])


NOT_THINGS = words(
    "data report statistics statistic result overview everything anything thing something"
    " information system app application way tool file program record command list number"
    " time copy history detail change item_list csv json pdf excel summary dashboard use"
    " user_interface one lot kind type part day week month year paper spreadsheet total"
    " entry mistake reminder app revenue income status date price name email phone feature"
    " field"
)
