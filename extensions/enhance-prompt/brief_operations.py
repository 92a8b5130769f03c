"""Turns a clause into a requirement: one operation on one entity, with the details that the code
needs.

A detail is a token: `name` (a field), `name=value` (set it), `name<today`, `name<5`, `name<+30d`
(from today
on, at most 30 days ahead), `name<-14d` (more than 14 days ago), `name=!value` (any other value),
`@key=value` (an option; `@sort=-name` is highest first, `@period=week:-1` last week,
`@period=days:-7`
the last 7 days: what a list with `@range` shows where no days are named). What cannot be put that
way keeps the brief's verb and becomes a gap.
"""

from __future__ import annotations

import re

import brief_changes
import brief_figures
import brief_queries
import brief_reports
import brief_verbs as verbs
import brief_words as vocabulary
from brief_changes import FOREIGN, FORMATS
from brief_known import NOT_THINGS, entity_of, requested
from brief_lookup import TOTALS, match_field
from brief_model import Clause, Entity, Field, Requirement, Specification
from brief_nouns import identifier, noun_phrase, singular
from brief_request import Handler, Request, as_gap
from brief_target import target
from brief_words import words

_HANDLERS: dict[str, Handler] = {
    "create": brief_changes.create,
    "list": brief_queries.listing,
    "update": brief_changes.update,
    "status": brief_changes.status,
    "delete": brief_changes.delete,
    "search": brief_queries.search,
    "count": brief_figures.count,
    "sum": brief_figures.total,
    "report": brief_reports.report,
    "export": brief_changes.transfer,
    "import": brief_changes.transfer,
    "lend": brief_changes.lend,
    "return": brief_changes.bring_back,
    "assign": brief_changes.assign,
    "tag": brief_changes.tag,
    "increase": brief_changes.adjust,
    "decrease": brief_changes.adjust,
    "sort": brief_queries.ordered,
}
_BOOKINGS = words(
    "appointment booking reservation visit session meeting slot order ticket trip lesson"
)
_WHOLE_DATA = ("export", "import", "report", "sort", "search")
_DOCUMENT = re.compile(r"\b(?:list|report|overview|plan|letter|bill)\b.* (?:out of|from|with)\b")


def requirement(spec: Specification, clause: Clause, text: str, line: int) -> Requirement:
    """The requirement that a clause stands for. Adds to the entities what the requirement needs
    of them."""
    tail = " ".join(clause.words).lower()
    phrase, rest = noun_phrase(list(clause.words))
    name = target(spec, phrase, rest, clause)
    if asked := requested(spec.entities, clause.verb, phrase):
        name, phrase = asked, [asked]
    if not clause.op and not phrase:
        name = None
    verb, noun = clause.op or clause.verb, name or _noun(phrase)
    made = Requirement(text, clause.actor, verb, noun, word=clause.verb, line=line)
    entity = spec.entities.get(name or "")
    if entity is None and clause.op in _WHOLE_DATA and spec.entities and _means_all(spec, phrase):
        entity = next(iter(spec.entities.values()))
        made.noun = entity.name
    if entity is None or not clause.op or clause.verb in verbs.GAPS or _beyond(clause, entity):
        return as_gap(made, clause)
    if clause.verb in ("book", "reserve") and _is_offered(spec, entity):
        entity = _booking(spec, entity, made)
        phrase = [entity.name]
    made.verb = _figure_in_disguise(clause, phrase, tail) or made.verb
    handler = _HANDLERS.get(made.verb) or _HANDLERS.get(clause.op)
    fits = handler is not None and handler(Request(spec, entity, made, phrase, rest, tail))
    return made if fits else as_gap(made, clause)


def _means_all(spec: Specification, phrase: list[str]) -> bool:
    """'export to CSV', 'export the data', 'search by name': no other thing is named."""
    last = phrase[-1].lower() if phrase else ""
    return (
        not last
        or last in NOT_THINGS
        or singular(last) in NOT_THINGS
        or any(match_field(entity, last) for entity in spec.entities.values())
    )


def _figure_in_disguise(clause: Clause, phrase: list[str], tail: str) -> str:
    """'see the total revenue', 'list the number of lessons' ask for a figure."""
    if clause.op != "list":
        return ""
    if set(phrase) & TOTALS:
        return "sum"
    return "count" if re.match(r"(?:the )?(?:total )?number of\b", tail) else ""


def _beyond(clause: Clause, entity: Entity) -> bool:
    """Asks for a format, device or document that the generated program has no part in."""
    tail = " ".join(clause.words).lower()
    if clause.op == "create" and clause.verb in ("make", "build", "write", "create"):
        return bool(_DOCUMENT.search(tail))
    if clause.op in ("create", "update", "delete", "tag") or FORMATS.search(tail):
        return False
    named = {f.name for f in entity.fields if FOREIGN.fullmatch(f.name)}
    return bool(FOREIGN.search(tail)) and not named & set(re.findall(r"\w+", tail))


def _is_offered(spec: Specification, entity: Entity) -> bool:
    """The thing that is booked is there already: the brief describes it, or lets others make it."""
    made = (r for r in spec.requirements if (r.verb, r.noun) == ("create", entity.name))
    others = any(r.word not in ("book", "reserve") for r in made)
    return entity.name not in _BOOKINGS and (entity.stated or others)


def _booking(spec: Specification, entity: Entity, made: Requirement) -> Entity:
    """Who books a thing that has a life of its own makes a booking, not another such thing."""
    own = next((n for n in ("sign_up", "reservation", "enrolment") if n in spec.entities), "")
    booking = spec.entity(own or "booking", "bookings")
    booking.stated = True
    booking.add(Field(entity.name, f"ref({entity.name})"))
    people = [n for n in spec.entities if n in vocabulary.ACTORS and n != entity.name]
    who = made.actor if made.actor in spec.entities else people[0] if people else None
    booking.add(Field(who or "booked_by", f"ref({who})" if who else "text"))
    made.noun = booking.name
    return booking


def _noun(phrase: list[str]) -> str:
    return identifier(" ".join([*phrase[-2:-1], singular(phrase[-1])])) if phrase else ""


def known(spec: Specification, clause: Clause) -> bool:
    """Whether the object of a clause is an entity."""
    return entity_of(spec.entities, noun_phrase(list(clause.words))[0]) is not None
