"""Finds the things that a brief is about and what is known of each: entities and their fields."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

import brief_fields
from brief_clauses import NEGATION, clauses
from brief_define import define, kinds
from brief_gherkin import is_criterion
from brief_known import NOT_THINGS, add_entity, entity_of, name_of, requested, sounds
from brief_model import Clause, Entity, Field, Statement
from brief_nouns import identifier, is_plural, noun_phrase, plural, singular
from brief_words import words

_WITH = re.compile(
    r"^\s*[:(]|\b(?:with|including|having|giving|by entering|by giving|and (?:its|"
    r"their|his|her)|namely|containing|recording|stating|noting|consisting of)\b:?",
    re.IGNORECASE,
)
_ON_A = re.compile(
    r"\b(?:on|at)\b(?= (?:an? |the )?(?:given |certain |specific )?(?:date|time|day)\b)",
    re.IGNORECASE,
)
_STRONG = frozenset(["create", "manage", "track", "lend", "delete", "update", "status"])
_UNITS = words("kg g km m cm mm litres hours minutes days weeks euros euro dollars percent")
_SETTERS = words("add attach set enter write put insert assign")


def find(
    found: list[Statement], actors: frozenset[str]
) -> tuple[dict[str, Entity], frozenset[Statement]]:
    """Entities in the order in which the brief mentions them, and the statements that describe
    them."""
    entities: dict[str, Entity] = {}
    cut = [
        (
            s,
            []
            if NEGATION.search(s.text)
            else clauses(s.text, s.is_item or s.section == "features", actors),
        )
        for s in found
        if s.section not in ("questions", "out", "acceptance", "example")
        and not is_criterion(s.text)
    ]
    described = {statement for statement, _ in cut if define(entities, statement)}
    described |= kinds(entities, found)
    strong = [one for _, parts in cut for clause in parts for one in several(clause)]
    for clause in [c for c in strong if c.op == "create"]:
        _from_clause(entities, clause, strong=True)
    for clause in [c for c in strong if c.op == "create"]:
        _create_fields(entities, clause)
    for clause in [c for c in strong if c.op != "create"]:
        _from_clause(entities, clause, strong=True)
    for _, parts in cut:
        for clause in parts:
            _from_clause(entities, clause, strong=False)
    _merge_misspelt(entities)
    for _, parts in cut:
        for clause in parts:
            if clause.op in ("create", "status", "track"):
                _create_fields(entities, clause)
    _references(entities)
    return entities, frozenset(described)


def several(clause: Clause) -> list[Clause]:
    """'add teachers, rooms and classes' → one clause for each; the clause itself if it is no such
    list."""
    parts: list[list[str]] = [[]]
    for word in clause.words:
        if word in (",", "/") or word.lower() in ("and", "or"):
            parts.append([])
        else:
            parts[-1].append(word)
    parts = [p for p in parts if p]
    phrases = [noun_phrase(p) for p in parts]
    alike = all(p and not rest and len(p) <= 2 and is_plural(p[-1]) for p, rest in phrases)
    if (
        clause.op not in ("create", "update", "delete", "list", "manage", "track")
        or len(parts) < 2
        or not alike
    ):
        return [clause]
    return [replace(clause, words=tuple(p)) for p in parts]


def _from_clause(entities: dict[str, Entity], clause: Clause, *, strong: bool) -> None:
    phrase, rest = noun_phrase(list(clause.words))
    if not phrase or not clause.asked or (strong and clause.op not in _STRONG):
        return
    if not strong and (
        clause.op
        not in (
            "list",
            "search",
            "count",
            "status",
            "tag",
            "return",
            "sort",
            "increase",
            "decrease",
        )
        or not is_plural(phrase[-1])
        or clause.verb == "print"
    ):
        return
    if (
        clause.op == "create"
        and rest[:1] == ["of"]
        and _owner(entities, rest)
        and _is_field(entities, phrase)
    ):
        return
    if _is_field(entities, phrase) and clause.op != "create":
        return
    if (
        clause.op == "create"
        and clause.verb in ("make", "build", "print")
        and "list" in clause.words
    ):
        return
    if clause.op == "create" and clause.verb in _SETTERS and _add_parts(entities, phrase, rest):
        return
    owner = _owner(entities, rest) if clause.op in ("create", "update", "delete") else None
    if (
        owner
        and (clause.verb in _SETTERS or clause.op != "create")
        and entity_of(entities, phrase) is None
    ):
        if clause.op == "create" or clause.op == "update":
            listed = is_plural(phrase[-1]) or singular(phrase[-1]) in (
                "tag",
                "label",
                "note",
                "comment",
                "ingredient",
            )
            field = brief_fields.parse_one(" ".join(phrase))
            if field and clause.op == "create":
                plural_name = (
                    plural(field.name) if listed and not is_plural(phrase[-1]) else field.name
                )
                entities[owner].add(Field(plural_name, "list" if listed else field.type, True))
            elif field:
                entities[owner].add(Field(field.name, field.type, True))
        return
    if (clause.op in ("update", "status") or not strong) and (
        owner or brief_fields.hinted_type(identifier(" ".join(phrase))) != "text"
    ):
        return
    if not strong and clause.op == "list" and len(phrase) > 2:
        return
    if entity_of(entities, phrase) is None and not requested(entities, clause.verb, phrase):
        words = phrase if strong else phrase[-1:]
        name = name_of(words[-2:])
        if name.split("_")[-1] not in NOT_THINGS:
            add_entity(entities, name, [], stated=False)


def _is_field(entities: dict[str, Entity], phrase: list[str]) -> bool:
    """'track my bottles' where a wine has bottles, 'renew a membership' where a member has a type
    of it."""
    last = singular(phrase[-1])
    if entity_of(entities, phrase):
        return False
    if brief_fields.hinted_type(last) == "boolean":
        return True
    names = [f.name.split("_") for e in entities.values() for f in e.fields]
    return any(last in map(singular, name) for name in names)


def _add_parts(entities: dict[str, Entity], phrase: list[str], rest: list[str]) -> bool:
    """'add line items to an invoice (description, quantity)': parts with fields of their own."""
    owner = _owner(entities, rest)
    if not owner or not is_plural(phrase[-1]):
        return False
    listed = re.split(r"[(:]|\b(?:with|having)\b", _joined(rest), maxsplit=1)
    fields = brief_fields.parse(listed[1].strip(" :()")) if len(listed) == 2 else []
    name = name_of(phrase)
    if len(fields) < 2 or not name:
        return False
    part = entities.setdefault(name, Entity(name, plural(name)))
    part.stated = True
    for one in (Field(owner, f"ref({owner})"), *fields):
        part.add(one)
    return True


def _joined(words: list[str]) -> str:
    text = " ".join(words).replace(" ,", ",").replace(" :", ":")
    return text.replace("( ", "(").replace(" )", ")")


def _owner(entities: dict[str, Entity], rest: list[str]) -> str | None:
    """In 'a due date to a task', the task."""
    if rest and rest[0].lower() in ("to", "of", "on", "for", "in", "from"):
        phrase, _ = noun_phrase(rest[1:])
        return entity_of(entities, phrase)
    if rest and rest[0].lower() not in (",", ":", "("):
        phrase, _ = noun_phrase(rest)
        return entity_of(entities, phrase)
    return None


def _create_fields(entities: dict[str, Entity], clause: Clause) -> None:
    """Fields named where the thing is made: 'book an appointment for a patient on a date, with a
    note'."""
    phrase, rest = noun_phrase(list(clause.words))
    name = entity_of(entities, phrase)
    if not name or not rest:
        return
    text = _joined(rest)
    if clause.op == "status" and not re.search(r"\b(?:recording|noting|stating|entering)\b", text):
        return
    parts = _WITH.split(text, maxsplit=1)
    known = frozenset(entities)
    if len(parts) == 2:
        for one in brief_fields.parse(_ON_A.sub(",", parts[1].strip(" :()")), known):
            of_their_own = is_plural(one.name) and singular(one.name) in known
            if one.name != name and len(one.name) > 1 and not of_their_own:
                one.optional = one.optional or clause.op == "status"
                entities[name].add(one)
    if clause.op == "status":
        return
    for part in re.split(
        r"(?<!when )\b(?:for|of|on|at|by|to|under|in|from|with|and|per)\b|,", parts[0]
    ):
        unit = part.strip().lower() in _UNITS
        found = brief_fields.parse_one(part, known) if part.strip() and not unit else None
        if found and found.name != name and (found.type != "text" or found.name in known):
            entities[name].add(found)


def _merge_misspelt(entities: dict[str, Entity]) -> None:
    """'custmer' and 'customer' are one thing; the one known better stays."""
    for name in sorted(
        entities, key=lambda n: (entities[n].stated, len(entities[n].fields), len(n))
    ):
        others = [o for o in entities if o != name]
        close = difflib.get_close_matches(name, others, 1, 0.88) if len(name) >= 5 else []
        close = close or [o for o in others if len(name) >= 5 and sounds(o) == sounds(name)]
        if close and not entities[name].stated:
            for one in entities.pop(name).fields:
                entities[close[0]].add(one)


def _references(entities: dict[str, Entity]) -> None:
    for entity in entities.values():
        for one in entity.fields:
            target = singular(one.name)
            if (
                one.type == "text"
                and target in entities
                and target != entity.name
                and one.name == target
            ):
                one.type = f"ref({target})"
