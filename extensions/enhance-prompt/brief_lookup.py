"""Finds in an entity's fields what the words of a brief mean, and adds what is missing."""

from __future__ import annotations

import re

import brief_fields
import brief_states as states
from brief_model import Entity, Field, Specification
from brief_nouns import identifier, plural, singular
from brief_words import words

_DUE = re.compile(r"due|deadline|return|expir|until|end|next|best_before")
_BEGUN = re.compile(r"birth|born|join|since|created|added")
_STOCK = re.compile(r"stock|quantity|count|amount|copies|level|number|bottles|pieces|units")
_NOT_A_FIELD = re.compile(r"\b(?:day|week|month|year|date)s?$|^(?:it|them|that|this|one|me|us)$")
_AFTER_FIELDS = re.compile(r"\b(?:sorted|ordered|when|so|that|which|from|of|for|in|until)\b.*$")
_ALIKE = (words("phone telephone mobile tel"), words("email mail e-mail"))
MONEY = words("revenue income turnover earnings sales value worth costs cost expenses payments")
TOTALS = words("total totals sum average revenue income turnover")
PRICES = words("price cost amount fee rate total paid")


def match_field(entity: Entity, text: str) -> Field | None:
    """The field of an entity that some words name."""
    name = identifier(text, 4)
    if not name:
        return None
    last = name.split("_")[-1]
    for candidate in (name, plural(name), singular(name), last, plural(last), singular(last)):
        found = entity.get(candidate)
        if found:
            return found
    alike = next((group for group in _ALIKE if last in group), frozenset())
    for one in entity.fields:
        if alike & set(one.name.split("_")):
            return one
    naming = ("name", "title")
    same = [
        f
        for f in entity.fields
        if last in f.name.split("_") or (f.name in naming and last in naming)
    ]
    return same[0] if same else None


def fields_in(entity: Entity, text: str, *, add: bool = False) -> list[Field]:
    """Fields named in a list such as 'author or title'. `add`: unknown ones become fields."""
    found: list[Field] = []
    text = re.sub(r"^.*\b(?:words?|text|parts?|keywords?)\s+(?:in|of|from)\s+", "", text)
    for part in brief_fields.split_list(re.sub(r"\s+(?:or|and/or)\s+", ", ", text)):
        part = _AFTER_FIELDS.sub("", part).strip()
        known = match_field(entity, part) if part else None
        if known is None and add and 0 < len(part.split()) <= 3 and not _NOT_A_FIELD.search(part):
            new = brief_fields.parse_one(part)
            if new and new.name != entity.name:
                known = entity.add(Field(new.name, new.type, True))
        if known and known not in found:
            found.append(known)
    return found


def flag_for(entity: Entity, state: str) -> Field | None:
    """The yes/no field that tells whether a state is reached."""
    flags = [f for f in entity.fields if f.type == "boolean"]
    return next((f for f in flags if states.same_state(state, [f.name.removeprefix("is_")])), None)


def set_state(entity: Entity, state: str) -> str:
    """Makes `state` one of the entity's states; gives 'field=value' for reaching it."""
    flag = flag_for(entity, state)
    if flag:
        return f"{flag.name}=true"
    named = [f for f in entity.fields if f.name in ("status", "state")]
    chosen = next((f for f in named if f.type.startswith("choice")), None)
    if chosen is None:
        chosen = named[0] if named else entity.add(Field("status", "", False))
        chosen.type = f"choice({states.FIRST_STATE.get(state, 'open')})"
    choices = chosen.type[7:-1].split("|")
    same = states.same_state(state, choices)
    if same is None:
        choices.append(state)
        chosen.type = f"choice({'|'.join(choices)})"
    return f"{chosen.name}={same or state}"


def date_field(entity: Entity, name: str = "due_date", *, make: bool = True) -> Field | None:
    """The date that a question about time is asked of; `make`: adds one that is missing."""
    dates = [f for f in entity.fields if f.type in ("date", "datetime")]
    due = [f for f in dates if _DUE.search(f.name)] if name == "due_date" else []
    if name == "due_date":
        dates = [f for f in dates if not _BEGUN.search(f.name)]
    if due or dates:
        return (due or dates)[0]
    return entity.add(Field(name, "date", True)) if make else None


def numbers(entity: Entity) -> list[Field]:
    return [f for f in entity.fields if f.type in ("integer", "decimal")]


def stock_field(entity: Entity, *, make: bool = False) -> Field | None:
    """The number of pieces that are there."""
    best = [f for f in numbers(entity) if _STOCK.search(f.name)]
    if best:
        return best[0]
    return entity.add(Field("quantity", "integer", minimum=0)) if make else None


def loan_of(spec: Specification) -> Entity | None:
    return spec.entities.get("loan")


def state_filter(spec: Specification, entity: Entity, words: set[str]) -> list[str]:
    """The token of the state that some words ask for, if they do."""
    loan = loan_of(spec)
    if loan and loan.get(entity.name) and words & {"available", "free"}:
        return ["@available=true"]
    if loan and loan.get(entity.name) and words & {"borrowed", "lent", "loaned"}:
        return ["@available=false"]
    named = {f.name for f in entity.fields if f.type == "boolean"} & {w.rstrip("s") for w in words}
    if named and "not" not in words:
        return [f"{sorted(named)[0]}=true"]
    for word in sorted(words & (set(states.STATES) - states.OVERDUE - states.TIMES)):
        if word in states.UNFINISHED or word == "unpaid":
            flag = flag_for(entity, {"unpaid": "paid"}.get(word, "done"))
            return [f"{flag.name}=false"] if flag else [set_state(entity, "open")]
        return [set_state(entity, word)]
    return []


def tells_when(field: Field) -> bool:
    """A field that says at what day or hour something is."""
    last = field.name.split("_")[-1]
    starts = field.name in ("time", "start_time", "starts_at", "start", "hour", "period", "slot")
    return field.type in ("date", "datetime") or starts or last in ("weekday", "day", "date")
