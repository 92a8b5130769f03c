"""Constraints: the sentences that forbid something, as rules that the generated code enforces.

The first detail of a rule is `@KIND=VALUE`; which kinds there are stands in `_KINDS`, tried in
that order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import brief_states as states
import brief_words as vocabulary
from brief_clauses import NEGATION
from brief_known import entity_of
from brief_lookup import (
    fields_in,
    flag_for,
    loan_of,
    match_field,
    set_state,
    stock_field,
    tells_when,
)
from brief_model import Clause, Entity, Field, Requirement, Specification
from brief_request import as_gap

_LIMIT = re.compile(
    r"\b(?:at most|no more than|more than|up to|maximum of|"
    r"not exceed)\s+(\d+|one|two|three|four|five|six|ten)\b"
)
_WORD_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_AGAIN = re.compile(r"twice|already|same time|again|second time|available|unless|is lent|lent out")
_TWICE = re.compile(
    r"\b(?:no|never|not|cannot|can't|cant|prevents?|forbids?|rejects?) ?.*?"
    r"\b(?:same|twice|double|overlap\w*|two)\b"
)
_DELETED = re.compile(r"\b(?:delete|deleted|deleting|remove|removed|removing|erased?)\b")
_WHILE = re.compile(r"\b(?:while|if|when|as long as|that still|that|with|who|which)\b(.*)$")
_COMPARED = re.compile(
    r"(?P<a>[\w -]+?) (?:must|can|may|should|shall)(?:not| not|n't)? (?:be )?"
    r"(?P<how>lower|less|smaller|earlier|before|later|after|"
    r"greater|higher|more)(?: than)?(?: the)? (?P<b>[\w -]+)$"
)
_FULL = re.compile(r"\b(?:capacity|full|sold out|free seats?|places left|overbook\w*)\b")


@dataclass(frozen=True)
class _Sentence:
    spec: Specification
    low: str
    names: list[str]  # the entities that it speaks of
    made: Requirement

    @property
    def candidates(self) -> list[Entity]:
        entities = self.spec.entities
        return [entities[n] for n in dict.fromkeys(self.names)] or list(entities.values())


def rule_of_capacity(spec: Specification, text: str, line: int) -> Requirement | None:
    """'Members can sign up until the class is full' wishes and forbids at once: what it forbids."""
    low = text.lower()
    names = [n for w in re.findall(r"[\w-]+", low) if (n := entity_of(spec.entities, [w]))]
    made = Requirement(text, "user", "rule", "", line=line, word="rule")
    made.details = _capacity(_Sentence(spec, low, names, made))
    return made if made.details else None


def rule(spec: Specification, text: str, line: int) -> Requirement | None:
    """A constraint that the code can enforce; a gap if it is one that it cannot; None if it is no
    constraint."""
    low = text.lower().replace("\u2019", "'").strip(" .!")
    words = re.findall(r"[\w-]+", low)
    names = [n for w in words if (n := entity_of(spec.entities, [w]))]
    made = Requirement(text, "user", "rule", names[0] if names else "", line=line, word="rule")
    sentence = _Sentence(spec, low, names, made)
    for kind in _KINDS:
        details = kind(sentence)
        if details:
            made.details = details
            return made
    clause = Clause("user", "", "enforce", (), True)
    return as_gap(made, clause) if NEGATION.search(text) else None


def _limit(s: _Sentence) -> list[str]:
    limit, loan = _LIMIT.search(s.low), loan_of(s.spec)
    if not (limit and loan and re.search(r"borrow|loan|lent|lend|rent|check", s.low)):
        return []
    people = [f.name for f in loan.fields if f.name in s.names and f.name in vocabulary.ACTORS]
    others = [f.name for f in loan.fields if f.type != "date" and not f.type.startswith("choice")]
    s.made.noun = "loan"
    return [f"@limit={(people or others or [''])[0]}<={_WORD_NUMBERS.get(limit[1]) or limit[1]}"]


def _exclusive(s: _Sentence) -> list[str]:
    loan = loan_of(s.spec)
    if not (loan and _AGAIN.search(s.low) and re.search(r"borrow|lent|lend|loan|rent", s.low)):
        return []
    item = next((n for n in s.names if loan.get(n)), "")
    s.made.noun = "loan" if item else s.made.noun
    return [f"@exclusive={item}"] if item else []


def _capacity(s: _Sentence) -> list[str]:
    """No more rows that refer to a thing than its capacity."""
    if not _FULL.search(s.low):
        return []
    for entity in s.spec.entities.values():
        for ref in (f for f in entity.fields if f.type.startswith("ref(")):
            place = s.spec.entities.get(ref.type[4:-1])
            size = (
                next(
                    (
                        f
                        for f in place.fields
                        if re.search(r"capacity|seats|places|maximum", f.name)
                        and f.type == "integer"
                    ),
                    None,
                )
                if place
                else None
            )
            if size and (entity.name in s.names or ref.name in s.names):
                s.made.noun = entity.name
                return [f"@capacity={ref.name}<={size.name}"]
    return []


def _kept(s: _Sentence) -> list[str]:
    """Something may not be deleted: never, in a state, or while something else refers to it."""
    entity = s.spec.entities.get(s.names[0]) if s.names else None
    if not (entity and _DELETED.search(s.low)):
        return []
    after = _WHILE.search(s.low)
    users = [
        e
        for e in s.spec.entities.values()
        if any(f.type == f"ref({entity.name})" for f in e.fields)
    ]
    using = next((e.name for e in users if after and e.name in s.names[1:]), "")
    if using:
        return [f"@referred={using}"]
    state = next((w for w in re.findall(r"[\w-]+", s.low) if w in states.STATES), "")
    if state:
        flag = flag_for(entity, state)
        return [
            f"@kept={f'{flag.name}:true' if flag else set_state(entity, state).replace('=', ':')}"
        ]
    return [] if after and re.search(r"\w", after[1]) else ["@kept=always"]


def _distinct(s: _Sentence) -> list[str]:
    """No two with the same values; for what refers to things at a time, no two at that time."""
    entity = s.spec.entities.get(s.names[0]) if s.names else None
    clash = re.search(r"\b(?:double.?book\w*|no duplicates?|same time|overlap\w*)\b", s.low)
    if not entity or not (_TWICE.search(s.low) or clash) or re.search(r"borrow|lent", s.low):
        return []
    timed = _clashes(s, entity) if clash else None
    if timed:
        s.made.noun = timed[0].name
        return [f"@distinct={','.join(f.name for f in timed[1])}"]
    after = s.low[s.low.find("same") :] if "same" in s.low else ""
    parts = re.findall(r"same ([\w-]+(?: and (?:the same )?[\w-]+)?)", after)
    fields = list({f.name: f for part in parts for f in fields_in(entity, part)}.values())
    if "same day" in s.low and not fields:
        held = (_clashes(s, s.spec.entities[name]) for name in dict.fromkeys(s.names))
        if found := next((pair for pair in held if pair), None):
            s.made.noun = found[0].name
            days = [f for f in found[1] if f.type.startswith(("ref", "date"))]
            return [f"@distinct={','.join(f.name for f in days)}"]
    if re.search(r"overlap|double", s.low) and not fields:
        fields = [f for f in entity.fields if tells_when(f) or f.type.startswith("ref")][:3]
    if len(fields) == 1 and entity.get("time") is None:
        fields[0].unique = fields[0].type not in ("boolean", "list")
        return [f"@unique={fields[0].name}"]
    return [f"@distinct={','.join(f.name for f in fields)}"] if fields else []


def _clashes(s: _Sentence, entity: Entity) -> tuple[Entity, list[Field]] | None:
    """'A room must not be double-booked': the lessons that have a room, a day and a time."""
    for holder in s.spec.entities.values():
        ref = holder.get(entity.name)
        when = [f for f in holder.fields if tells_when(f)]
        if holder is not entity and ref and when:
            return holder, [ref, *when]
    return None


def _ordered(s: _Sentence) -> list[str]:
    """One field is never below another."""
    match = _COMPARED.search(s.low)
    if not match or not re.search(r"not|n't|never", s.low):
        return []
    for entity in s.candidates:
        first, second = match_field(entity, match["a"]), match_field(entity, match["b"])
        kinds = {f.type for f in (first, second) if f}
        if first and second and first is not second and len(kinds) == 1 and kinds <= _ORDERED:
            s.made.noun = entity.name
            low = match["how"] in ("lower", "less", "smaller", "earlier", "before")
            pair = (second.name, first.name) if low else (first.name, second.name)
            return [f"@ordered={pair[0]}<={pair[1]}"]
    return []


_ORDERED = frozenset(["integer", "decimal", "date", "datetime"])


def _field_rule(s: _Sentence) -> list[str]:
    """A field that is unique, not negative or not empty."""
    for entity in s.candidates:
        names = [(f, f.name.replace("_", " ")) for f in entity.fields]
        fields = [f for f, name in names if re.search(rf"\b{re.escape(name)}s?\b", s.low)]
        stock = stock_field(entity)
        if not fields and stock and re.search(r"\bstock|negative\b|below zero", s.low):
            fields = [stock]
        if not fields and "unique" in s.low and entity.name in s.names:
            noun = re.escape(entity.name.replace("_", " "))
            named = re.search(rf"\b{noun} (\w+?)s? (?:must|should|has to|have to|is|are)\b", s.low)
            fields = [entity.add(Field(named[1], "text"))] if named else []
        if not fields:
            continue
        s.made.noun = entity.name
        one = fields[0]
        if "unique" in s.low:
            one.unique = True
            return [f"@unique={one.name}"]
        if one.type in ("integer", "decimal") and re.search(
            r"negative|below (?:0|zero)|less than (?:0|"
            r"zero)|under zero|positive|at least (?:0|zero)",
            s.low,
        ):
            one.minimum = 0
            return [f"@minimum={one.name}>=0"]
        if one.type != "boolean" and re.search(r"empty|required|mandatory|blank|without", s.low):
            one.optional = False
            return [f"@required={one.name}"]
    return []


_KINDS: tuple[Callable[[_Sentence], list[str]], ...] = (
    _limit,
    _exclusive,
    _capacity,
    _kept,
    _distinct,
    _ordered,
    _field_rule,
)
