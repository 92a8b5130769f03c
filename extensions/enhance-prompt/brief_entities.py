"""Finds the things that a brief is about and what is known of each: entities and their fields."""

# ruff: noqa: E501, RUF001 - patterns and sentences read better unbroken

from __future__ import annotations

import difflib
import re
from dataclasses import replace

import brief_fields
from brief_clauses import NEGATION, Clause, clauses
from brief_gherkin import is_criterion
from brief_model import Entity, Field, Statement
from brief_nouns import identifier, is_plural, noun_phrase, plural, singular, words_of
from brief_words import OVERDUE, STATES

_KEEP = (
    r"(?:store|keep|record|save|note|track|know|need|want|write down|remember|capture|see|enter)"
)
_EACH = r"(?:each|every|an?|the|all|one)"
_HAS = re.compile(
    rf"^(?:{_EACH}\s+)?(?P<noun>[\w'-]+(?: [\w'-]+){{0,2}}?)\s+(?:can |may |should |must |will |also |always )*"
    r"(?:has|have|consists? of|contains?|includes?|is described by|is made of|are made of|comes? with|belongs? to|stands? (?:in|at|on)|lives? in|is identified by|needs?|carr(?:y|ies))[:\s]+(?P<list>.+)$",
    re.IGNORECASE,
)
_FOR_EACH = re.compile(
    rf"^(?:for|of|about|with) {_EACH}\s+(?P<noun>[\w'-]+(?: [\w'-]+)?)[,:]?\s+(?:the (?:system|app|tool) )?(?:we|i|you|they|please|staff)?\s*"
    rf"(?:should |must |also |want to |need to |have to |will |would like to )*{_KEEP}?s?\s*(?:to know )?[:]?\s*(?P<list>.+)$",
    re.IGNORECASE,
)
_KEEP_OF = re.compile(
    rf"\b{_KEEP}s?\s+(?P<list>.+?)\s+(?:of|for|about)\s+(?:each|every|all)\s+(?P<noun>[\w'-]+(?: [\w'-]+)?)$",
    re.IGNORECASE,
)
_COLON = re.compile(
    r"^(?:an? |the |each |every )?(?P<noun>[\w'-]+(?: [\w'-]+){0,1})(?: (?:fields|data|details|record|info))?\s*(?::|\s[-–—=]\s|\s\()\s*(?P<list>.+?)\)?$",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"^\s*[:(]|\b(?:with|including|having|giving|by entering|by giving|and (?:its|their|his|her)|namely|containing|recording|stating|noting|consisting of)\b:?",
    re.IGNORECASE,
)
_ON_A = re.compile(
    r"\b(?:on|at)\b(?= (?:an? |the )?(?:given |certain |specific )?(?:date|time|day)\b)", re.IGNORECASE
)
_NOT_THINGS = frozenset(
    [
        "data",
        "report",
        "statistics",
        "statistic",
        "result",
        "overview",
        "everything",
        "anything",
        "thing",
        "something",
        "information",
        "system",
        "app",
        "application",
        "way",
        "tool",
        "file",
        "program",
        "record",
        "command",
        "list",
        "number",
        "time",
        "copy",
        "history",
        "detail",
        "change",
        "item_list",
        "csv",
        "json",
        "pdf",
        "excel",
        "summary",
        "dashboard",
        "use",
        "user_interface",
        "one",
        "lot",
        "kind",
        "type",
        "part",
        "day",
        "week",
        "month",
        "year",
        "paper",
        "spreadsheet",
        "total",
        "entry",
        "mistake",
        "reminder",
        "app",
        "revenue",
        "income",
        "status",
        "date",
        "price",
        "name",
        "email",
        "phone",
        "feature",
        "field",
    ]
)
_STRONG = frozenset(["create", "manage", "track", "lend", "delete", "update", "status"])
_SETTERS = frozenset(["add", "attach", "set", "enter", "write", "put", "insert", "assign"])


def find(found: list[Statement], actors: frozenset[str]) -> dict[str, Entity]:
    """Entities in the order in which the brief mentions them."""
    entities: dict[str, Entity] = {}
    cut = [
        (
            s,
            []
            if NEGATION.search(s.text)
            else clauses(s.text, s.is_item or s.section == "features", actors),
        )
        for s in found
        if s.section not in ("questions", "out", "acceptance") and not is_criterion(s.text)
    ]
    for statement, _ in cut:
        _define(entities, statement)
    _kinds(entities, found)
    for _, parts in cut:
        for clause in parts:
            for one in several(clause):
                _from_clause(entities, one, strong=True)
    for _, parts in cut:
        for clause in parts:
            _from_clause(entities, clause, strong=False)
    _merge_misspelt(entities)
    for _, parts in cut:
        for clause in parts:
            if clause.op in ("create", "status"):
                _create_fields(entities, clause)
    _references(entities)
    return entities


_KINDS_OF = re.compile(
    r"^(?:the )?(?P<noun>[\w-]+s)(?: (?:are|can be))? (?:like|such as|are|can be|:)? ?"
    r"(?P<list>[\w-]+, [\w-]+(?:, [\w-]+)*(?:,? (?:and|or) [\w-]+)?)(?: - .*)?$",
    re.IGNORECASE,
)


def _kinds(entities: dict[str, Entity], found: list[Statement]) -> None:
    """'categories like soup, main, dessert' are what the category of the thing spoken of may be."""
    for statement in found:
        match = _KINDS_OF.match(statement.text.strip(" ."))
        name = identifier(singular(match["noun"])) if match else ""
        if match and entities and name not in entities and statement.section != "data":
            field = brief_fields.parse_one(f"{name} ({match['list']})")
            if field and field.type.startswith("choice"):
                next(reversed(entities.values())).add(field)


def several(clause: Clause) -> list[Clause]:
    """'add teachers, rooms and classes' → one clause for each; the clause itself if it is no such list."""
    parts: list[list[str]] = [[]]
    for word in clause.words:
        if word in (",", "/") or word.lower() in ("and", "or"):
            parts.append([])
        else:
            parts[-1].append(word)
    parts = [p for p in parts if p]
    phrases = [noun_phrase(p) for p in parts]
    alike = all(p and not rest and len(p) <= 2 and is_plural(p[-1]) for p, rest in phrases)
    if clause.op not in ("create", "update", "delete", "list", "manage", "track") or len(parts) < 2 or not alike:
        return [clause]
    return [replace(clause, words=tuple(p)) for p in parts]


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
            return close[0] if close else None
    return None


def _name(phrase: list[str]) -> str:
    words = [w for w in phrase if w not in STATES and w not in OVERDUE]
    return identifier(" ".join([*words[-2:-1], singular(words[-1])])) if words else ""


def _define(entities: dict[str, Entity], s: Statement) -> None:
    text = re.sub(
        r"^(?:and|also|then|plus|so)[,:]?\s+", "", s.text.strip(" .;"), flags=re.IGNORECASE
    )
    if s.parent and (
        s.section == "data"
        or re.search(r"(?:has|have|:|with|fields)\s*:?$", s.parent, re.IGNORECASE)
    ):
        noun = re.sub(
            r"\s+(?:has|have|with|fields|data|consists of|contains)\b.*$",
            "",
            s.parent.strip(" :.*"),
            flags=re.IGNORECASE,
        )
        phrase, rest = noun_phrase(words_of(noun))
        listed = (
            [brief_fields.parse_one(text)]
            if "(" in text or ":" in text
            else list(brief_fields.parse(text))
        )
        fields = [f for f in listed if f]
        if phrase and not rest and fields and len(phrase) <= 2 and not clauses(s.parent, True):
            _entity(entities, _name(phrase), fields)
        return
    if " | " in text:
        cells = [c.strip() for c in text.split("|")]
        if s.section == "data" and len(cells) >= 2 and "," in cells[1]:
            _entity(entities, _name(words_of(cells[0])), brief_fields.parse(cells[1]))
        return
    for pattern in (_FOR_EACH, _HAS, _KEEP_OF, _COLON):
        match = pattern.search(text)
        if not match:
            continue
        phrase, rest = noun_phrase(words_of(match["noun"]))
        fields = brief_fields.parse(match["list"])
        loose = (
            pattern is _COLON
            and s.section != "data"
            and (
                len(fields) < 2
                or not (s.is_item or is_plural(words_of(match["noun"])[-1]))
                or clauses(text, True)
            )
        )
        if pattern is _HAS and not _plausible(text, match["list"], fields):
            continue
        name = _name(phrase)
        if (
            phrase
            and not rest
            and fields
            and not loose
            and name
            and name not in _NOT_THINGS
            and name not in ("i", "we", "it", "they", "user", "you")
        ):
            _entity(entities, name, fields)
            return


def _plausible(text: str, listed: str, fields: list[Field]) -> bool:
    """'has a title and an author', but not 'has to pay' or 'needs to be fast'."""
    if re.match(
        r"(?:to|been|not|no|too|become|got|many problems|only|about|some|some \d+|\d+|two|three|four|\w{3,}ed)\b",
        listed.strip(),
        re.IGNORECASE,
    ):
        return False
    if re.match(r"^(?:i|we|it|they|you|he|she|there|my|our)\b", text, re.IGNORECASE):
        return False
    return bool(fields)


def _entity(
    entities: dict[str, Entity], name: str, fields: list[Field], stated: bool = True
) -> Entity | None:
    if not name or name in _NOT_THINGS or len(name) < 3:
        return None
    entity = entities.setdefault(name, Entity(name, plural(name)))
    entity.stated = entity.stated or stated
    for one in fields:
        if one.name != name:
            entity.add(one)
    return entity


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
    if _is_field(entities, phrase) and clause.op != "create":
        return
    if clause.op == "create" and clause.verb in ("make", "build", "print") and "list" in clause.words:
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
    if entity_of(entities, phrase) is None:
        words = phrase if strong else phrase[-1:]
        name = _name(words[-2:])
        if name.split("_")[-1] not in _NOT_THINGS:
            _entity(entities, name, [], stated=False)


def _is_field(entities: dict[str, Entity], phrase: list[str]) -> bool:
    """'track my bottles' where a wine has bottles, 'renew a membership' where a member has a type of it."""
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
    listed = _WITH.split(_joined(rest), maxsplit=1)
    fields = brief_fields.parse(listed[1].strip(" :()")) if len(listed) == 2 else []
    name = _name(phrase)
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
    """Fields named where the thing is made: 'book an appointment for a patient on a date, with a note'."""
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
            if one.name != name and len(one.name) > 1:
                one.optional = one.optional or clause.op == "status"
                entities[name].add(one)
    if clause.op == "status":
        return
    for part in re.split(r"\b(?:for|of|on|at|by|to|under|in|from|with|and|per)\b|,", parts[0]):
        found = brief_fields.parse_one(part, known) if part.strip() else None
        if found and found.name != name and (found.type != "text" or found.name in known):
            entities[name].add(found)


def _merge_misspelt(entities: dict[str, Entity]) -> None:
    """'custmer' and 'customer' are one thing; the one known better stays."""
    for name in sorted(
        entities, key=lambda n: (entities[n].stated, len(entities[n].fields), len(n))
    ):
        others = [o for o in entities if o != name]
        close = difflib.get_close_matches(name, others, 1, 0.88) if len(name) >= 5 else []
        close = close or [o for o in others if len(name) >= 5 and _sounds(o) == _sounds(name)]
        if close and not entities[name].stated:
            for one in entities.pop(name).fields:
                entities[close[0]].add(one)


def _sounds(name: str) -> str:
    """Consonants only: 'recepy', 'recipie' and 'recipe' are alike."""
    return name[:1] + re.sub(r"[aeiouy]", "", name[1:])


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
