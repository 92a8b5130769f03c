"""Which entity a clause acts on: its object, or what the object belongs to, or what was last
spoken of."""

from __future__ import annotations

import brief_fields
from brief_known import entity_of
from brief_lookup import MONEY, PRICES, TOTALS, match_field, numbers, stock_field
from brief_model import Clause, Specification
from brief_nouns import noun_phrase, singular
from brief_words import words

_LINKS = words("of for to on in from with per by the a an and are is all which they their at")
_WEAK = words("list number total timetable schedule history overview value details")
_POINTING = words("one ones this that entry entries record records item items")
_PRONOUNS = words("it them this that these those one ones")
_BY_FIELD = words("search list sort update sum count report increase decrease")


def target(spec: Specification, phrase: list[str], rest: list[str], clause: Clause) -> str | None:
    if clause.op == "sum" or set(phrase) & (MONEY | TOTALS):
        summed = _summed(spec, [*phrase, *rest])
        if summed:
            return summed
    name = entity_of(spec.entities, phrase)
    if name is None or (phrase and phrase[-1] in _WEAK):
        found = _belongs_to(spec, rest)
        if found:
            return found
    if name is None and rest:
        name = entity_of(spec.entities, noun_phrase(rest)[0])
    if name is None:
        words = [singular(w) for w in [*phrase, *(w.lower() for w in rest)]]
        name = next((w for w in words if w in spec.entities), None)
    spoken = spec.requirements[-1].noun if spec.requirements else ""
    spoken = spoken if spoken in spec.entities else ""
    if name is not None or not spec.entities:
        return name
    pointing = not rest or rest[0].lower() in _PRONOUNS
    if not phrase and clause.op == "status" and not pointing and clause.actor in spec.entities:
        return clause.actor  # 'a member checks in at the desk'
    if not phrase and clause.op in ("search", "sort") and rest and not pointing:
        named = [e for e in spec.entities.values() if match_field(e, " ".join(rest[1:]))]
        if named:
            return named[0].name
    if not phrase or (phrase[-1] in _POINTING and clause.op != "create"):
        return spoken or None
    if "stock" in (*phrase, *rest):
        return next((e.name for e in spec.entities.values() if stock_field(e)), None)
    flag = brief_fields.hinted_type(singular(phrase[-1])) == "boolean"
    if spoken and (phrase[0] in ("total", "sum", "average") or (clause.op == "status" and flag)):
        return spoken
    if clause.op in _BY_FIELD:
        text = " ".join(phrase)
        return next((e.name for e in spec.entities.values() if match_field(e, text)), None)
    return None


def _summed(spec: Specification, words: list[str]) -> str | None:
    """What has the number that a total is asked of; best if it also knows what 'per' names."""
    stems = {singular(w.lower()) for w in words}
    money = bool(stems & {singular(m) for m in MONEY})
    best, best_score = None, 0
    for entity in spec.entities.values():
        found = numbers(entity)
        named = any({singular(w) for w in f.name.split("_")} & stems for f in found)
        priced = money and any(set(f.name.split("_")) & PRICES for f in found)
        links = sum(f.name in stems and f not in found for f in entity.fields)
        score = (4 * named + 4 * priced + links) if found else 0
        score += (named or priced) and entity.name in stems
        if score > best_score and (named or priced):
            best, best_score = entity.name, score
    return best


def _belongs_to(spec: Specification, rest: list[str]) -> str | None:
    for index, word in enumerate(rest):
        if word.lower() in _LINKS:
            found = entity_of(spec.entities, noun_phrase(rest[index + 1 :])[0])
            if found:
                return found
    return None
