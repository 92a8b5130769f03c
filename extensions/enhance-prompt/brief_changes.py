"""Requirements that change something: adding, editing, states, deleting, lending, stock, files."""

from __future__ import annotations

import re

import brief_fields
import brief_states as states
import brief_words as vocabulary
from brief_known import entity_of
from brief_lookup import (
    date_field,
    fields_in,
    loan_of,
    match_field,
    numbers,
    set_state,
    stock_field,
)
from brief_model import Field
from brief_nouns import identifier, is_plural, noun_phrase, singular
from brief_request import Request

FORMATS = re.compile(r"\b(csv|json)\b", re.IGNORECASE)
FOREIGN = re.compile(
    r"""\b(pdf|excel|xlsx?|xml|html|ical|ics|calendar|google|word|email|e-mail|sms|whatsapp|printer
        |label\ printer|web|website|api|cloud|dropbox|sheets?|barcode|qr|photos?|images?|pictures?
        |map|graph|chart|voice|phone\ app|mobile)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_STATE = re.compile(
    r"\b(?:as|to)\s+(?:being\s+|an?\s+)?(in progress|on"
    r" hold|out of (?:service|order)|no longer \w+|[\w-]+(?: (?:up|out|off|back|away|down)\b)?)"
)
_SOME = re.compile(
    r"\b(?:(?:older|newer|more|less) than|before \d|all .*(?:that|which|with|from)\b)"
)
_TIME_OF = re.compile(r"day|date|time|week|month|hour|slot|one|value")
_NOBODY = frozenset(["themselves", "themself", "himself", "herself", "someone", "somebody"])


def create(q: Request) -> bool:
    if entity_of(q.spec.entities, q.phrase) == q.entity.name:
        return True
    field = match_field(q.entity, " ".join(q.phrase))
    if field is None:
        return False
    q.made.verb, q.made.details = ("tag" if field.type == "list" else "update"), [field.name]
    return True


def update(q: Request) -> bool:
    to = re.search(r"\bto\s+(?:be\s+)?(\w+)$", q.tail)
    if to and to[1] in states.STATES:
        q.made.verb, q.made.details = "status", [set_state(q.entity, to[1])]
        return True
    if q.made.word == "rate":
        q.made.details = _rating(q)
        return True
    named = _named_changes(q)
    q.made.details = [f.name for f in named or []]
    return named is not None


def _rating(q: Request) -> list[str]:
    """'rate a wine from 1 to 100 with notes': a bounded number and what is noted besides."""
    span = brief_fields.SPAN.search(q.tail)
    rating = match_field(q.entity, "rating") or q.entity.add(Field("rating", "integer", True))
    if span and rating.maximum is None:
        rating.minimum, rating.maximum = int(span["low"]), int(span["high"])
    besides = re.search(r"\bwith (.+)$", q.tail)
    return [
        rating.name,
        *(f.name for f in fields_in(q.entity, besides[1] if besides else "", add=True)),
    ]


def _named_changes(q: Request) -> list[Field] | None:
    """The fields that an update speaks of; an empty list means all, None that they are not
    known."""
    names: list[Field] = []
    other = re.search(r"\bto (?:an?other|a different|a new|an?|the) ([\w-]+)", q.tail)
    moved = match_field(q.entity, other[1]) if other else None
    if moved:
        return [moved]
    if (
        other
        and not _TIME_OF.fullmatch(other[1])
        and entity_of(q.spec.entities, [other[1]]) is None
    ):
        return None  # 'moved to another shelf', of which nothing is known
    if q.made.word in ("reschedule", "postpone", "extend", "renew"):
        day = date_field(q.entity)
        return [day] if day else []
    if entity_of(q.spec.entities, q.phrase) != q.entity.name and q.phrase:
        named = re.sub(r"\b(?:of|for|on|in)\b.*$", "", q.tail)
        several = re.search(r",| and | or ", named)
        names = fields_in(q.entity, named if several else " ".join(q.phrase), add=True)
    elif q.rest:
        names = fields_in(q.entity, re.sub(r"\b(?:of|on)\b.*$", "", " ".join(q.rest)))
    if not names and q.made.word == "move":
        day = date_field(q.entity)
        names = [day] if day else []
    if not names and q.made.word == "rename":
        names = [f for f in q.entity.fields if f.name in ("name", "title")][:1]
    return names


def status(q: Request) -> bool:
    flag = singular(q.phrase[-1]) if q.phrase else ""
    if brief_fields.hinted_type(flag) == "boolean" and flag not in states.STATES:
        q.entity.add(Field(flag, "boolean"))
        q.made.details = [f"{flag}=true"]
        return True
    state = states.past(q.made.word)
    if q.made.word in ("mark", "flag", "set"):
        to = _STATE.search(q.tail) or re.search(r"\b(" + "|".join(states.STATES) + r")\b", q.tail)
        state = to[1] if to else state
    state = "-".join(state.split())
    if brief_fields.hinted_type(state) == "boolean" and state not in states.STATES:
        q.entity.add(Field(state, "boolean"))
        q.made.details = [f"{state}=true"]
    else:
        q.made.details = [set_state(q.entity, state)]
    return True


def delete(q: Request) -> bool:
    if _SOME.search(q.tail):
        return False  # which of them is asked for is more than a number can tell
    named = entity_of(q.spec.entities, q.phrase) == q.entity.name
    return named or not q.phrase or q.phrase[-1] in ("one", "ones", "entry", "entries")


def transfer(q: Request) -> bool:
    formats = FORMATS.search(q.tail)
    q.made.details = [f"@format={formats[1].lower() if formats else 'csv'}"]
    return not (FOREIGN.search(q.tail) and not formats)


def lend(q: Request) -> bool:
    links = ("to", "from", "by", "a", "an", "the")
    others = [w for i, w in enumerate(q.rest) if i and q.rest[i - 1].lower() in links]
    entities = q.spec.entities
    named = (entity_of(entities, [w]) for w in others)
    borrower = next((n for n in named if n and n != q.entity.name), None)
    people = [n for n in entities if n in vocabulary.ACTORS and n != q.entity.name]
    by_actor = q.made.actor if q.made.actor in entities and q.made.actor != q.entity.name else None
    borrower = borrower or by_actor or (people[0] if people else None)
    loan = q.spec.entity("loan", "loans")
    loan.stated = True
    loan.add(Field(q.entity.name, f"ref({q.entity.name})")).type = f"ref({q.entity.name})"
    if borrower:
        loan.add(Field(borrower, f"ref({borrower})")).type = f"ref({borrower})"
    else:
        loan.add(Field("borrower", "text"))
    date_field(loan)
    set_state(loan, "returned")
    q.made.details = [f"@item={q.entity.name}", f"@borrower={borrower or 'borrower'}"]
    return True


def bring_back(q: Request) -> bool:
    loan = loan_of(q.spec)
    if loan is None or not loan.get(q.entity.name):
        if q.entity.name == "loan":
            return False
        q.made.verb, q.made.details = "status", [set_state(q.entity, "returned")]
        return True
    q.made.details = [f"@item={q.entity.name}"]
    return True


def assign(q: Request) -> bool:
    """'assign a task to a person' changes the task's person; 'a plate to a car' the car's plate."""
    entity = q.entity
    to = noun_phrase(q.rest[1:])[0] if q.rest and q.rest[0].lower() in ("to", "with") else []
    other = entity_of(q.spec.entities, to) if to else None
    if other and (held := q.spec.entities[other].get(entity.name)) and held.type.startswith("ref"):
        q.made.verb, q.made.noun, q.made.details = "update", other, [held.name]
        return True
    if other and other != entity.name:
        name = other
    else:
        name = identifier(singular(to[-1])) if to and to[-1] not in _NOBODY else "assignee"
    if other and entity_of(q.spec.entities, q.phrase) is None:
        field = brief_fields.parse_one(" ".join(q.phrase))
        name, entity, other = (field.name if field else "assignee"), q.spec.entities[other], None
        q.made.noun = entity.name
    if name == entity.name:
        return False
    entity.add(Field(name, f"ref({other})" if other else "text", True))
    q.made.verb, q.made.details = "update", [name]
    return True


def tag(q: Request) -> bool:
    q.entity.add(Field("tags", "list", True))
    q.made.details = ["tags"]
    return True


def adjust(q: Request) -> bool:
    """More or fewer pieces. What has fields of its own but no stock is not counted but made, once
    each."""
    stock = stock_field(q.entity)
    if stock is None and q.entity.stated and any(f.type.startswith("ref") for f in q.entity.fields):
        q.made.verb = "create" if q.made.word in ("sell", "receive", "buy") else q.made.verb
        return q.made.verb == "create"
    once = bool(q.phrase) and not is_plural(q.phrase[-1]) and not numbers(q.entity)
    if stock is None and once and q.made.word in ("buy", "purchase") and not q.entity.stated:
        q.made.verb = "create"
        return True
    stock = stock or stock_field(q.entity, make=True)
    q.made.details = [stock.name] if stock else []
    return stock is not None
