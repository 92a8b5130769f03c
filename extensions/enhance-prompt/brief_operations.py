"""Turns a clause into a requirement: one operation on one entity, with the details that the code needs.

A detail is a token: `name` (a field), `name=value` (set it), `name<today`, `name<5`, `@key=value` (an option).
What cannot be put that way keeps the brief's verb and becomes a gap.
"""

# ruff: noqa: RUF001, E501, ARG001 - patterns read better unbroken; the handlers share one signature

from __future__ import annotations

import re

import brief_fields
import brief_words as vocabulary
from brief_clauses import NEGATION, Clause
from brief_entities import entity_of
from brief_model import Entity, Field, Requirement, Specification
from brief_nouns import identifier, is_plural, noun_phrase, plural, singular

_RANGE = re.compile(r"\b(?:today|tomorrow|yesterday|this (?:week|month|year)|next (?:\d+ )?(?:week|month|day)s?|for (?:a|the|one) (?:given |certain |particular |specific )?(?:day|date|week|month)|"
                    r"between|by (?:day|week|month|year)|upcoming|on (?:a|any|the) (?:given |certain |particular |specific )?(?:day|date)|by date|last (?:\d+ )?(?:week|month|day)s?|in the next|period|date range|of (?:a|the) (?:day|week|month))\b")  # fmt: skip
_BY = re.compile(
    r"\b(?:filter(?:ed|ing)?|search(?:ed|able|ing)?|find|by|on|using|in|for|of (?:a|one) (?:given|certain))\s+(?:(?:its|their|the|a|any)\s+)?(.+)$"
)
_SORT = re.compile(
    r"\b(?:sort(?:ed|ing)?|order(?:ed|ing)?|rank(?:ed)?)(?: \w+)?? (?:by|on)\s+(?:(?:its|their|the)\s+)?([\w -]+)"
)
_GROUP = re.compile(
    r"\b(?:per|by|for each|in each|of each|for every|grouped by|each)\s+(?:(?:the|its|their)\s+)?([\w-]+(?: [\w-]+)?)"
)
_LOW = re.compile(
    r"\b(?:low|running low|run low|below|under|less than|fewer than|out of stock|running out|reorder)\b"
)
_NUMBER = re.compile(r"\b(\d{1,6})\b")
_FORMATS = re.compile(r"\b(csv|json)\b", re.IGNORECASE)
FOREIGN = re.compile(
    r"\b(pdf|excel|xlsx?|xml|html|ical|ics|calendar|google|word|email|e-mail|sms|whatsapp|printer|label printer|web|website|api|cloud|dropbox|sheets?|barcode|qr|photos?|images?|pictures?|map|graph|chart|voice|phone app|mobile)\b",
    re.IGNORECASE,
)


def requirement(spec: Specification, clause: Clause, text: str, line: int) -> Requirement:
    """The requirement that a clause stands for. Adds to the entities what the requirement needs of them."""
    tail = " ".join(clause.words).lower()
    phrase, rest = noun_phrase(list(clause.words))
    name = _target(spec, phrase, rest, clause)
    made = Requirement(
        text,
        clause.actor,
        clause.op or clause.verb,
        name or _noun(phrase),
        word=clause.verb,
        line=line,
    )
    if clause.verb in vocabulary.GAPS or not clause.op:
        return _as_gap(made, clause)
    if (
        FOREIGN.search(tail)
        and clause.op not in ("create", "update", "delete")
        and not _FORMATS.search(tail)
        and not _named_field(spec, name, tail)
    ):
        return _as_gap(made, clause)
    entity = spec.entities.get(name or "")
    if (
        entity is None
        and clause.op in ("export", "import", "report", "sort", "search")
        and spec.entities
    ):
        entity = next(iter(spec.entities.values()))
        made.noun = entity.name
    if entity is None:
        return _as_gap(made, clause)
    if clause.verb in ("book", "reserve") and entity.stated and entity.name not in _BOOKINGS:
        entity = _booking(spec, entity, made)
    if clause.op == "list" and phrase and phrase[0] in ("total", "sum", "average"):
        made.verb = "sum"
    elif clause.op == "list" and re.match(r"(?:the )?(?:total )?number of\b", tail):
        made.verb = "count"
    fits = _DETAILS[made.verb if made.verb in _DETAILS else clause.op](
        spec, entity, made, phrase, rest, tail
    )
    return made if fits else _as_gap(made, clause)


_BOOKINGS = frozenset(
    [
        "appointment",
        "booking",
        "reservation",
        "visit",
        "session",
        "meeting",
        "slot",
        "order",
        "ticket",
        "table_booking",
    ]
)


def _booking(spec: Specification, entity: Entity, made: Requirement) -> Entity:
    """Who books a thing that has a life of its own makes a booking, not another such thing."""
    booking = spec.entities.setdefault("booking", Entity("booking", "bookings"))
    booking.stated = True
    booking.add(Field(entity.name, f"ref({entity.name})"))
    people = [n for n in spec.entities if n in vocabulary.ACTORS and n != entity.name]
    who = made.actor if made.actor in spec.entities else people[0] if people else None
    booking.add(Field(who or "booked_by", f"ref({who})" if who else "text"))
    made.noun = "booking"
    return booking


def _as_gap(made: Requirement, clause: Clause) -> Requirement:
    made.verb, made.details = clause.verb or "do", []
    if made.verb in vocabulary.OPERATIONS:
        made.verb = f"{made.verb}-other"
    return made


def _noun(phrase: list[str]) -> str:
    return identifier(" ".join([*phrase[-2:-1], singular(phrase[-1])])) if phrase else ""


def _named_field(spec: Specification, name: str | None, tail: str) -> bool:
    entity = spec.entities.get(name or "")
    words = set(re.findall(r"\w+", tail))
    return bool(entity and any(f.name in words for f in entity.fields if FOREIGN.fullmatch(f.name)))


def _target(spec: Specification, phrase: list[str], rest: list[str], clause: Clause) -> str | None:
    """The entity a clause acts on: its object, or what the object belongs to, or what was last spoken of."""
    name = entity_of(spec.entities, phrase)
    words = [w.lower() for w in rest]
    if name is None or (phrase and phrase[-1] in ("list", "number", "total")):
        for index, word in enumerate(words):
            if word in (
                "of",
                "for",
                "to",
                "on",
                "in",
                "from",
                "with",
                "per",
                "by",
                "the",
                "a",
                "an",
                "and",
                "are",
                "is",
                "all",
                "which",
                "they",
                "their",
            ):
                found = entity_of(spec.entities, noun_phrase(rest[index + 1 :])[0])
                if found:
                    return found
        if rest and name is None:
            found = entity_of(spec.entities, noun_phrase(rest)[0])
            if found:
                return found
    if name is None:
        for word in [*phrase, *words]:
            if entity_of(spec.entities, [word]) and singular(word) in spec.entities:
                return singular(word)
    if (
        name is None
        and (not phrase or phrase[-1] in ("one", "ones", "this", "that"))
        and spec.requirements
    ):
        return spec.requirements[-1].noun if spec.requirements[-1].noun in spec.entities else None
    if name is None and "stock" in (*phrase, *words):
        return next((e.name for e in spec.entities.values() if _stock(e)), None)
    spoken = (
        spec.requirements[-1].noun
        if spec.requirements and spec.requirements[-1].noun in spec.entities
        else None
    )
    flag = bool(phrase) and brief_fields.hinted_type(singular(phrase[-1])) == "boolean"
    if (
        name is None
        and spoken
        and (
            (phrase and phrase[0] in ("total", "sum", "average"))
            or (clause.op == "status" and flag)
        )
    ):
        return spoken
    if name is None and clause.op in (
        "search",
        "list",
        "sort",
        "update",
        "sum",
        "count",
        "report",
        "increase",
        "decrease",
    ):
        for entity in spec.entities.values():
            if phrase and _match(entity, " ".join(phrase)):
                return entity.name
    return name


def _match(entity: Entity, text: str) -> Field | None:
    """The field of an entity that some words name."""
    name = identifier(text, 4)
    if not name:
        return None
    last = name.split("_")[-1]
    for candidate in (name, plural(name), singular(name), last, singular(last)):
        found = entity.get(candidate)
        if found:
            return found
    same = [
        f
        for f in entity.fields
        if last in f.name.split("_") or (f.name in ("name", "title") and last in ("name", "title"))
    ]
    return same[0] if same else None


def _fields_in(entity: Entity, text: str, add: bool = False) -> list[Field]:
    """Fields named in a list such as 'author or title'."""
    found: list[Field] = []
    text = re.sub(r"^.*\b(?:words?|text|parts?|keywords?)\s+(?:in|of|from)\s+", "", text)
    for part in brief_fields.split_list(re.sub(r"\s+(?:or|and/or)\s+", ", ", text)):
        part = re.sub(
            r"\b(?:sorted|ordered|when|so|that|which|from|of|for|in)\b.*$", "", part
        ).strip()
        known = _match(entity, part) if part else None
        if (
            known is None
            and add
            and part
            and len(part.split()) <= 3
            and not re.search(r"\b(?:day|week|month|year)s?$", part)
        ):
            new = brief_fields.parse_one(part)
            known = (
                entity.add(Field(new.name, new.type, True))
                if new and new.name != entity.name
                else None
            )
        if known and known not in found:
            found.append(known)
    return found


def set_state(entity: Entity, state: str) -> str:
    """Makes `state` one of the entity's states; gives 'field=value' for reaching it."""
    flag = next(
        (
            f
            for f in entity.fields
            if f.type == "boolean" and vocabulary.same_state(state, [f.name.removeprefix("is_")])
        ),
        None,
    )
    if flag:
        return f"{flag.name}=true"
    chosen = next(
        (f for f in entity.fields if f.name in ("status", "state") and f.type.startswith("choice")),
        None,
    )
    if chosen is None:
        old = entity.get("status") or entity.get("state")
        chosen = old or entity.add(Field("status", "", False))
        chosen.type = "choice(open)"
    choices = chosen.type[7:-1].split("|")
    same = vocabulary.same_state(state, choices)
    if same is None:
        choices.append(state)
        chosen.type = f"choice({'|'.join(choices)})"
    return f"{chosen.name}={same or state}"


def date_field(entity: Entity, name: str = "due_date", make: bool = True) -> Field | None:
    dates = [f for f in entity.fields if f.type in ("date", "datetime")]
    due = (
        [
            f
            for f in dates
            if re.search(r"due|deadline|return|expir|until|end|next|best_before|birth", f.name)
        ]
        if name == "due_date"
        else []
    )
    if due or dates:
        return (due or dates)[0]
    return entity.add(Field(name, "date", True)) if make else None


def _create(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    owner = entity_of(spec.entities, phrase)
    if owner == entity.name:
        return True
    field = _match(entity, " ".join(phrase))
    if field is None:
        return False
    made.verb, made.details = ("tag" if field.type == "list" else "update"), [field.name]
    return True


def _list(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    if re.search(r"\bhow (?:many|much)\b", tail) and "stock" not in tail:
        made.verb = "count"
        return _count(spec, entity, made, phrase, rest, tail)
    if not phrase and re.match(r"(?:who|what|whether|where|how|if)\b", tail):
        return False
    if (not phrase and not re.search(r"\bby\b", tail)) or (phrase and not is_plural(phrase[-1]) and re.match(r"(?:the |all )?(?:an? |one |single|details|detail|info|full|the )", tail)
                      and entity_of(spec.entities, phrase) == entity.name and not re.search(r"\b(?:list|all|overview|history|schedule)\b", tail)):  # fmt: skip
        made.verb = "show"
        return True
    target = entity
    details: list[str] = []
    words = set(re.findall(r"[\w-]+", tail))
    others = [w for w in phrase if w not in vocabulary.STATES and w not in ("list", "stock", "low")]
    if (
        others
        and phrase != ["s"]
        and entity_of(spec.entities, phrase) is None
        and not _match(entity, others[-1])
        and not words & (vocabulary.OVERDUE | {"ones"})
    ):
        return False
    if (
        words & vocabulary.OVERDUE
        or "past due" in tail
        or "too late" in tail
        or "past their" in tail
    ):
        loan = _loan(spec)
        target = (
            loan
            if loan is not None and loan is not entity and date_field(entity, make=False) is None
            else entity
        )
        due = date_field(target)
        details.append(f"{due.name if due else 'due_date'}<today")
    elif _LOW.search(tail) and (stock := _stock(entity)):
        number = _NUMBER.search(tail)
        details.append(
            f"{stock.name}<{number[1] if number else '1' if 'out of stock' in tail else '5'}"
        )
    elif _RANGE.search(tail):
        day = date_field(entity, "date")
        details.append(f"@range={day.name if day else 'date'}")
    details += _state_filter(spec, target, words)
    if sort := _SORT.search(tail):
        found = _fields_in(target, sort[1], add=True)
        details += [f"@sort={found[0].name}"] if found else []
        tail = tail[: sort.start()]
    if by := re.search(
        r"\b(?:by|per|with|in|for|of|from|filtered by)\s+(?:(?:a|an|the|one|each|its|their|given|certain|particular|specific|same)\s+)*(.+)$",
        tail,
    ):
        known = {d.split("=")[0].split("<")[0] for d in details} | {
            d.split("=")[-1] for d in details
        }
        explicit = made.word == "filter" or re.search(r"\b(?:by|per)\b", tail)
        for one in _fields_in(target, by[1], add=bool(explicit) and not _RANGE.search(tail)):
            if one.name not in known:
                details.append(one.name)
    made.noun, made.details = target.name, details
    return not (made.word == "filter" and not details)


def _state_filter(spec: Specification, entity: Entity, words: set[str]) -> list[str]:
    if words & {"available", "free"} and (loan := _loan(spec)) and loan.get(entity.name):
        return ["@available=true"]
    if words & {"borrowed", "lent", "loaned"} and (loan := _loan(spec)) and loan.get(entity.name):
        return ["@available=false"]
    for word in sorted(
        words & (set(vocabulary.STATES) - vocabulary.OVERDUE - {"late", "upcoming", "past"})
    ):
        if word in vocabulary.UNFINISHED or word == "unpaid":
            done = {"unpaid": "paid"}.get(word, "done")
            flag = next(
                (
                    f
                    for f in entity.fields
                    if f.type == "boolean" and vocabulary.same_state(done, [f.name])
                ),
                None,
            )
            return [f"{flag.name}=false"] if flag else [set_state(entity, "open")]
        return [set_state(entity, word)]
    return []


def _stock(entity: Entity, make: bool = False) -> Field | None:
    numbers = [f for f in entity.fields if f.type in ("integer", "decimal")]
    best = [
        f for f in numbers if re.search(r"stock|quantity|count|amount|copies|level|number", f.name)
    ]
    if best:
        return best[0]
    return entity.add(Field("quantity", "integer", minimum=0)) if make else None


def _loan(spec: Specification) -> Entity | None:
    return spec.entities.get("loan")


def _update(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    to = re.search(r"\bto\s+(?:be\s+)?(\w+)$", tail)
    if to and to[1] in vocabulary.STATES:
        made.verb, made.details = "status", [set_state(entity, to[1])]
        return True
    names: list[Field] = []
    if made.word == "rate":
        made.details = [entity.add(Field("rating", "integer", True)).name]
        return True
    if entity_of(spec.entities, phrase) != entity.name and phrase:
        named = re.sub(r"\b(?:of|for|on|in)\b.*$", "", tail)
        names = _fields_in(
            entity, named if re.search(r",| and | or ", named) else " ".join(phrase), add=True
        )
    elif rest:
        names = _fields_in(entity, re.sub(r"\b(?:of|on)\b.*$", "", " ".join(rest)))
    if not names and made.word in ("reschedule", "move", "postpone", "extend", "renew"):
        day = date_field(entity)
        names = [day] if day else []
    if not names and made.word == "rename":
        names = [f for f in entity.fields if f.name in ("name", "title")][:1]
    made.details = [f.name for f in names]
    return True


def _status(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    flag = singular(phrase[-1]) if phrase else ""
    if brief_fields.hinted_type(flag) == "boolean" and flag not in vocabulary.STATES:
        entity.add(Field(flag, "boolean"))
        made.details = [f"{flag}=true"]
        return True
    state = vocabulary.past(made.word)
    if made.word in ("mark", "flag", "set"):
        to = re.search(r"\b(?:as|to)\s+(?:being\s+|a\s+)?([\w-]+)", tail) or re.search(
            r"\b(" + "|".join(vocabulary.STATES) + r")\b", tail
        )
        state = to[1] if to else vocabulary.past(made.word)
    made.details = [set_state(entity, state)]
    return True


def _delete(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    return (
        entity_of(spec.entities, phrase) == entity.name
        or not phrase
        or phrase[-1] in ("one", "ones")
    )


def _search(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    words = set(re.findall(r"[\w-]+", tail))
    if words & (vocabulary.OVERDUE | {"available", "unpaid"}) or (
        _LOW.search(tail) and _stock(entity)
    ):
        made.verb = "list"
        return _list(spec, entity, made, [*phrase, "s"], rest, tail)
    by = _BY.search(tail)
    if by:
        made.details = [
            f.name for f in _fields_in(entity, by[1].split(" by ")[-1], add=" by " in f" {tail}")
        ]
    return True


def _count(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    group = _GROUP.search(tail)
    fields = _fields_in(entity, group[1], add=True) if group else []
    if group and not fields:
        return False
    made.details = _state_filter(spec, entity, set(re.findall(r"[\w-]+", tail)))
    made.details += [f"@group={fields[0].name}"] if fields else []
    return True


def _sum(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    numbers = [f for f in entity.fields if f.type in ("integer", "decimal")]
    named = [
        f
        for f in numbers
        if set(f.name.split("_")) & {singular(w) for w in re.findall(r"\w+", tail)}
    ]
    stock, price = (
        _stock(entity),
        next((f for f in numbers if re.search(r"price|cost|rate", f.name)), None),
    )
    if (
        stock
        and price
        and stock is not price
        and re.search(r"\b(?:value|worth|revenue|total|cost)\b", tail + made.text.lower())
        and "average" not in tail
    ):
        made.details = [f"{price.name}*{stock.name}"]
    elif named or numbers:
        made.details = [(named or numbers)[0].name]
    elif re.search(r"number|how many|count", tail):
        made.verb = "count"
    else:
        return False
    if made.word == "average" or "average" in tail:
        made.details.append("@average=true")
    group = _GROUP.search(tail)
    fields = _fields_in(entity, group[1]) if group else []
    if group and not fields:
        return False
    made.details += (
        [f"@group={fields[0].name}"] if fields and fields[0].name not in made.details else []
    )
    return True


def _report(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    words = set(re.findall(r"[\w-]+", tail))
    if words & vocabulary.OVERDUE or (_LOW.search(tail) and _stock(entity)):
        made.verb = "list"
        return _list(spec, entity, made, [*phrase, "s"], rest, tail)
    if re.search(r"\b(?:total|sum|revenue|value|average|income|sales)\b", tail) and _sum(
        spec, entity, made, phrase, rest, tail
    ):
        made.verb = "sum" if made.verb == "report" else made.verb
        return True
    if _GROUP.search(tail) or re.search(r"how many|number|count", tail):
        made.verb = "count"
        return _count(spec, entity, made, phrase, rest, tail)
    if words & set(vocabulary.STATES):
        made.verb = "list"
        return _list(spec, entity, made, [*phrase, "s"], rest, tail)
    return False


def _transfer(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    formats = _FORMATS.search(tail)
    made.details = [f"@format={formats[1].lower() if formats else 'csv'}"]
    return not (FOREIGN.search(tail) and not formats)


def _lend(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    others = [
        w
        for i, w in enumerate(rest)
        if i and rest[i - 1].lower() in ("to", "from", "by", "a", "an", "the")
    ]
    borrower = next(
        (n for w in others if (n := entity_of(spec.entities, [w])) and n != entity.name), None
    )
    people = [n for n in spec.entities if n in vocabulary.ACTORS and n != entity.name]
    by_actor = made.actor if made.actor in spec.entities and made.actor != entity.name else None
    borrower = borrower or by_actor or (people[0] if people else None)
    loan = spec.entities.setdefault("loan", Entity("loan", "loans"))
    loan.stated = True
    loan.add(Field(entity.name, f"ref({entity.name})")).type = f"ref({entity.name})"
    if borrower:
        loan.add(Field(borrower, f"ref({borrower})")).type = f"ref({borrower})"
    else:
        loan.add(Field("borrower", "text"))
    date_field(loan)
    set_state(loan, "returned")
    made.details = [f"@item={entity.name}", f"@borrower={borrower or 'borrower'}"]
    return True


def _return(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    loan = _loan(spec)
    if loan is None or not loan.get(entity.name):
        if entity.name == "loan":
            return False
        made.verb, made.details = "status", [set_state(entity, "returned")]
        return True
    made.details = [f"@item={entity.name}"]
    return True


def _assign(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    to = noun_phrase(rest[1:])[0] if rest and rest[0].lower() in ("to", "with") else []
    other = entity_of(spec.entities, to) if to else None
    name = (
        other
        if other and other != entity.name
        else identifier(singular(to[-1]))
        if to and to[-1] not in ("themselves", "themself", "himself", "herself", "someone")
        else "assignee"
    )
    if other and entity_of(spec.entities, phrase) is None:
        field = brief_fields.parse_one(" ".join(phrase))
        name, entity, other = (field.name if field else "assignee"), spec.entities[other], None
        made.noun = entity.name
    if name == entity.name:
        return False
    entity.add(Field(name, f"ref({other})" if other else "text", True))
    made.verb, made.details = "update", [name]
    return True


def _tag(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    entity.add(Field("tags", "list", True))
    made.details = ["tags"]
    return True


def _adjust(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    stock = _stock(entity, make=True)
    made.details = [stock.name] if stock else []
    return stock is not None


def _sort(
    spec: Specification,
    entity: Entity,
    made: Requirement,
    phrase: list[str],
    rest: list[str],
    tail: str,
) -> bool:
    by = re.search(r"\bby\s+(.+)$", tail)
    fields = _fields_in(entity, by[1], add=True) if by else []
    made.verb, made.details = "list", [f"@sort={f.name}" for f in fields[:1]]
    return bool(fields)


_DETAILS = {
    "create": _create, "list": _list, "update": _update, "status": _status, "delete": _delete, "search": _search,
    "count": _count, "sum": _sum, "report": _report, "export": _transfer, "import": _transfer, "lend": _lend,
    "return": _return, "assign": _assign, "tag": _tag, "increase": _adjust, "decrease": _adjust, "sort": _sort,
}  # fmt: skip

_LIMIT = re.compile(
    r"\b(?:at most|no more than|more than|up to|maximum of|not exceed)\s+(\d+|one|two|three|four|five|six|ten)\b",
    re.IGNORECASE,
)
_WORD_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}


def rule(spec: Specification, text: str, line: int) -> Requirement | None:
    """A constraint that the code can enforce; a gap if it is one that it cannot; None if it is no constraint."""
    low = text.lower().replace("’", "'")
    words = re.findall(r"[\w-]+", low)
    names = [n for w in words if (n := entity_of(spec.entities, [w]))]
    loan = _loan(spec)
    made = Requirement(text, "user", "rule", names[0] if names else "", line=line, word="rule")
    limit = _LIMIT.search(low)
    if limit and loan and re.search(r"borrow|loan|lent|lend|rent|check", low):
        borrower = next(
            (f.name for f in loan.fields if f.name in names and f.name in vocabulary.ACTORS), None
        ) or next(
            (f.name for f in loan.fields if f.type != "date" and not f.type.startswith("choice")),
            "",
        )
        made.noun, made.details = (
            "loan",
            [f"@limit={borrower}<={_WORD_NUMBERS.get(limit[1]) or limit[1]}"],
        )
        return made
    if (
        loan
        and re.search(
            r"twice|already|same time|again|second time|available|unless|is lent|lent out", low
        )
        and re.search(r"borrow|lent|lend|loan|rent", low)
    ):
        made.noun, made.details = (
            "loan",
            ["@exclusive=" + next((n for n in names if loan.get(n)), "")],
        )
        return made if not made.details[0].endswith("=") else None
    both = re.search(
        r"\b(?:no|never|not|cannot|can't|cant) ?.*?\b(?:same|twice|double|overlap\w*|two)\b", low
    )
    entity = spec.entities.get(names[0]) if names else None
    if entity and both and not re.search(r"borrow|lent", low):
        after = low[low.find("same") :] if "same" in low else ""
        fields = [
            f
            for part in re.findall(r"same ([\w-]+(?: and [\w-]+)?)", after)
            for f in _fields_in(entity, part)
        ]
        if re.search(r"overlap|double", low) and not fields:
            fields = [
                f
                for f in entity.fields
                if f.type in ("date", "datetime") or f.type.startswith("ref") or f.name == "time"
            ][:3]
        if len(fields) == 1 and entity.get("time") is None:
            fields[0].unique = fields[0].type not in ("boolean", "list")
            made.details = [f"@unique={fields[0].name}"]
            return made
        if fields:
            made.details = ["@distinct=" + ",".join(dict.fromkeys(f.name for f in fields))]
            return made
    for candidate in [spec.entities[n] for n in dict.fromkeys(names)] or list(
        spec.entities.values()
    ):
        fields = [
            f
            for f in candidate.fields
            if re.search(rf"\b{re.escape(f.name.replace('_', ' '))}s?\b", low)
        ]
        if not fields and re.search(r"\bstock|negative\b", low) and (stock := _stock(candidate)):
            fields = [stock]
        if not fields:
            continue
        made.noun = candidate.name
        if "unique" in low:
            fields[0].unique = True
            made.details = [f"@unique={fields[0].name}"]
            return made
        if re.search(
            r"negative|below zero|less than (?:0|zero)|under zero|positive|at least (?:0|zero)", low
        ) and fields[0].type in ("integer", "decimal"):
            fields[0].minimum = 0
            made.details = [f"@minimum={fields[0].name}>=0"]
            return made
        if re.search(r"empty|required|mandatory|blank|without", low) and fields[0].type not in (
            "boolean",
        ):
            fields[0].optional = False
            made.details = [f"@required={fields[0].name}"]
            return made
    return _as_gap(made, Clause("user", "", "enforce", (), True)) if NEGATION.search(text) else None
