"""Requirements that show something: lists with their filters, periods and order, and searches."""

from __future__ import annotations

import re
from dataclasses import replace

import brief_figures
import brief_states as states
from brief_known import entity_of
from brief_lookup import (
    date_field,
    fields_in,
    flag_for,
    loan_of,
    match_field,
    numbers,
    set_state,
    state_filter,
    stock_field,
    tells_when,
)
from brief_model import Entity, Field
from brief_nominal import PLANS
from brief_nouns import identifier, is_plural
from brief_request import Request

_RANGE = re.compile(
    r"""\b(?:
        today|tomorrow|yesterday|this\ (?:week|month|year)|next\ (?:\d+\ )?(?:week|month|day)s?
      | (?:for|on)\ (?:a|any|the|one)\ (?:given\ |certain\ |particular\ |specific\
      )?(?:day|date|week|month)
      | between|by\ (?:day|week|month|year|date)|upcoming|last\ (?:\d+\ )?(?:week|month|day)s?
      | in\ the\ next|period|date\ range|of\ (?:a|the)\ (?:day|week|month)
    )\b""",
    re.VERBOSE,
)
_PERIOD = re.compile(
    r"\b(?:(?P<day>today|tomorrow|yesterday)|(?P<which>this|next|last) (?P<unit>week|month|year)"
    r"|last (?P<count>\d{1,4}) (?P<units>day|week|month|year)s?|(?P<ahead>upcoming))\b"
)
_OFFSET = {"today": 0, "tomorrow": 1, "yesterday": -1, "this": 0, "next": 1, "last": -1}
_WITHIN = re.compile(
    r"\b(?:(?:within|in) (?:the )?(?:next |coming )?|(?:for |of )?the next |next )"
    r"(\d{1,4}) (day|week|month|year)s?\b"
)
_OLDER = re.compile(r"\b(?:older than|more than|for over) (\d{1,4}) (day|week|month|year)s?\b")
_REACHED = re.compile(
    r"""(?:\b(?:that|which|who)\s+)?(?:\b(?:i|we|they|you)\s+)?
        (?:\b(?:has|have|had|is|are|was|were)(?P<not>n['\u2019]t|\s+(?:not|never))?)
        (?:\s+(?:yet|already|been))*\s+(?P<state>[a-z]+(?:\ (?:up|out|off|back|away|down))?)
        (?:\s+yet)?\b""",
    re.VERBOSE,
)
_SPAN_OF_TIME = re.compile(r"\b(?:since|for|within|more than|before|after|until) (?:the )?\w+\b")
_FIRST = re.compile(
    r",?\s*\b(newest|latest|oldest|earliest|soonest|highest|largest|biggest|lowest|smallest"
    r"|cheapest) first\b"
)
_BY_DATE = {"newest": "-", "latest": "-", "oldest": "", "earliest": "", "soonest": ""}
_BY_SIZE = {"highest": "-", "largest": "-", "biggest": "-"} | {
    "lowest": "",
    "smallest": "",
    "cheapest": "",
}
_FALLING = re.compile(r"\b(?:descending|desc|in descending order|from high to low|downwards)\b")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_BY = re.compile(
    r"""\b(?:filter(?:ed|ing)?|search(?:ed|able|ing)?|find|by|on|using|in|for|of\ (?:a|one)\
    (?:given|certain))
        \s+(?:(?:its|their|the|a|any)\s+)?(.+)$""",
    re.VERBOSE,
)
_SORT = re.compile(
    r"""\b(?:sort(?:ed|ing)?|order(?:ed|ing)?|rank(?:ed)?)(?:\ \w+)??\ (?:by|on)\s+
        (?:(?:its|their|the)\s+)?([\w -]+)""",
    re.VERBOSE,
)
_FILTER = re.compile(
    r"""\b(?:by|per|with|in|for|of|from|filtered\ by)\s+
        (?:(?:a|an|the|one|each|its|their|given|certain|particular|specific|same)\s+)*(.+)$""",
    re.VERBOSE,
)
_ONE = re.compile(r"(?:the |all )?(?:an? |one |single|details|detail|info|full|the )")
_MANY = re.compile(r"\b(?:list|all|overview|history|schedule|timetable)\b")
_CONDITION = re.compile(
    r"\b(?:that|which|who|whose|where|without|not|more than|at least|before|after)\b"
)
_WHOSE = re.compile(r"\bwhose (?:the )?([a-z]+(?: [a-z]+)?) (?:is|are) (?:overdue|late|expired)\b")
_LOW = re.compile(
    r"\b(?:low|running low|run low|below|under|less than|"
    r"fewer than|out of stock|running out|reorder)\b"
)
_NUMBER = re.compile(r"\b(\d{1,6})\b")


def is_low(request: Request) -> bool:
    return bool(_LOW.search(request.tail) and stock_field(request.entity))


def listing(q: Request) -> bool:
    """A list with its filters, or one object with all its fields, or a figure that was asked for
    as a list."""
    if re.search(r"\bhow (?:many|much)\b", q.tail) and "stock" not in q.tail:
        q.made.verb = "count"
        return brief_figures.count(q)
    reached = _reached(q)
    if reached:
        q = replace(q, tail=_REACHED.sub("", q.tail))
    if re.search(r"\b(?:not|never|without|[a-z]+n['\u2019]t)\b", q.tail):
        return False
    if q.made.word in PLANS or q.words & PLANS:
        return _plan(q)
    if not q.phrase and re.match(r"(?:who|what|whether|where|how|if|which|when)\b", q.tail):
        return False
    if q.tail in ("them", "these", "those") and (before := _same_sentence(q)):
        q.made.details = before
        return True
    named = entity_of(q.spec.entities, q.phrase) == q.entity.name
    single = bool(q.phrase) and not is_plural(q.phrase[-1]) and named and _ONE.match(q.tail)
    if (not q.phrase and not re.search(r"\bby\b", q.tail)) or (single and not _MANY.search(q.tail)):
        q.made.verb = "show"
        return True
    if _means_something_else(q):
        return False
    shown, details = _conditions(q)
    details += [d for d in reached if d not in details]
    if (_CONDITION.search(q.tail) or q.words & {"free", "available"}) and not details:
        return False
    tail, by = _sorting(q, shown)
    if by is None:
        return False
    details += [*_chosen(q, shown, details), *by]
    details += _filters(q, shown, tail, details)
    q.made.noun, q.made.details = shown.name, details
    return not (q.made.word == "filter" and not details)


def _reached(q: Request) -> list[str]:
    """'that have been paid', 'that are not picked up', 'we haven't watched yet': the state."""
    match = _REACHED.search(q.tail)
    if not match or _SPAN_OF_TIME.search(q.tail):
        return []
    state, field = match["state"].replace(" ", "-"), q.entity.get(match["state"])
    known = any(state in f.type for f in q.entity.fields if f.type.startswith("choice"))
    flag = field if field and field.type == "boolean" else flag_for(q.entity, state)
    if not (flag or known or re.search(r"(?:ed|en)$", state.split("-")[0])):
        return []
    if flag:
        return [f"{flag.name}={'false' if match['not'] else 'true'}"]
    name, _, value = set_state(q.entity, state).partition("=")
    return [f"{name}={'!' if match['not'] else ''}{value}"]


def _sorting(q: Request, shown: Entity) -> tuple[str, list[str] | None]:
    """The words without those that tell the order, and its token; None if the order is unknown."""
    if first := _FIRST.search(q.tail):
        word, rest = first[1], _FIRST.sub("", q.tail)
        if word in _BY_DATE:
            day = date_field(shown, "date")
            return rest, [f"@sort={_BY_DATE[word]}{day.name}"] if day else None
        figures = numbers(shown)
        return rest, [f"@sort={_BY_SIZE[word]}{figures[0].name}"] if len(figures) == 1 else None
    sort = _SORT.search(q.tail)
    if not sort:
        return q.tail, []
    falling = "-" if _FALLING.search(q.tail) else ""
    found = fields_in(shown, _FALLING.sub("", sort[1]), add=True)
    return q.tail[: sort.start()], [f"@sort={falling}{f.name}" for f in found[:1]]


def _chosen(q: Request, shown: Entity, details: list[str]) -> list[str]:
    """'night shifts', 'tasks with high priority': the value of a field that has few."""
    tokens = []
    named = {re.split("[=<]", d)[0] for d in details}
    for field in shown.fields:
        if field.type.startswith("choice") and field.name not in named:
            values = [c for c in field.type[7:-1].split("|") if len(c) > 2 and c in q.words]
            tokens += [f"{field.name}={values[0]}"] if len(values) == 1 else []
    return tokens


def _plan(q: Request) -> bool:
    """'timetable of a class', 'history of a vehicle': what refers to it and has a time."""
    others = [w for w in q.phrase if w not in PLANS and w not in q.entity.name.split("_")]
    holders = [
        e
        for e in q.spec.entities.values()
        if any(f.type == f"ref({q.entity.name})" for f in e.fields)
    ]
    if others:
        holders = [e for e in holders if e.name.split("_")[-1] in others]
    holders.sort(key=lambda e: -sum(tells_when(f) for f in e.fields))
    if not holders or not any(tells_when(f) for f in holders[0].fields):
        return False
    ref = next(f.name for f in holders[0].fields if f.type == f"ref({q.entity.name})")
    q.made.verb, q.made.noun, q.made.details = "list", holders[0].name, [ref]
    return True


def _same_sentence(q: Request) -> list[str]:
    """'mark favourites and list them': what the clause before has set."""
    before = q.spec.requirements[-1] if q.spec.requirements else None
    same = before and before.text == q.made.text and before.verb == "status"
    return list(before.details) if before and same else []


def _means_something_else(q: Request) -> bool:
    """The object is neither the entity nor one of its fields: what is to be listed is not known."""
    plain = ("list", "stock", "low", "history", "timetable", "schedule", "overview")
    others = [w for w in q.phrase if w not in states.STATES and w not in plain]
    return bool(
        others
        and q.phrase != ["s"]
        and entity_of(q.spec.entities, q.phrase) is None
        and not match_field(q.entity, others[-1])
        and not q.words & (states.OVERDUE | {"ones"})
    )


def _conditions(q: Request) -> tuple[Entity, list[str]]:
    """The entity that is shown and the tokens of what is asked of date, stock and state."""
    shown, words = q.entity, q.words
    details: list[str] = []
    if within := _WITHIN.search(q.tail):
        day = _dated(shown, q.tail)
        details.append(f"{day.name}<+{int(within[1]) * _DAYS[within[2]]}d")
    elif older := _OLDER.search(q.tail):
        day = _dated(shown, q.tail)
        details.append(f"{day.name}<-{int(older[1]) * _DAYS[older[2]]}d")
    elif words & states.OVERDUE or re.search(r"past due|too late|past their", q.tail):
        loan = loan_of(q.spec)
        if loan is not None and loan is not shown and date_field(shown, make=False) is None:
            shown = loan
        whose = _WHOSE.search(q.tail)
        due = _due_of(shown, whose[1]) if whose else date_field(shown)
        details.append(f"{due.name if due else 'due_date'}<today")
    elif _LOW.search(q.tail) and (stock := stock_field(shown)):
        number = _NUMBER.search(q.tail)
        least = number[1] if number else "1" if "out of stock" in q.tail else "5"
        details.append(f"{stock.name}<{least}")
    elif _RANGE.search(q.tail):
        day = date_field(shown, "date") or shown.add(Field("date", "date", True))
        details.append(f"@range={day.name}")
        details += period(q.tail)
    return shown, details + state_filter(q.spec, shown, words)


def period(tail: str) -> list[str]:
    """'today' → `@period=day:0`, 'last week' → `@period=week:-1`, 'the last 7 days' →
    `@period=days:-7`."""
    found = _PERIOD.search(tail)
    if not found:
        return []
    if found["day"]:
        return [f"@period=day:{_OFFSET[found['day']]}"]
    if found["which"]:
        return [f"@period={found['unit']}:{_OFFSET[found['which']]}"]
    if found["ahead"]:
        return ["@period=days:36500"]
    return [f"@period=days:-{int(found['count']) * _DAYS[found['units']]}"]


def _due_of(entity: Entity, what: str) -> Field:
    """'whose vaccination is overdue': the date that tells it, or one that is missing yet."""
    known = match_field(entity, what)
    if known and known.type in ("date", "datetime"):
        return known
    return entity.add(Field(f"{identifier(what)}_due_date", "date", True))


def _dated(entity: Entity, tail: str) -> Field:
    """The date that 'expires', 'is due' or 'older than' speaks of."""
    named = next(
        (
            f
            for f in entity.fields
            if f.type in ("date", "datetime")
            and set(f.name.split("_")) & set(re.findall(r"\w+", tail)) - {"date", "of"}
        ),
        None,
    )
    if named:
        return named
    if re.search(r"\bexpir\w+|\bruns? out", tail):
        known = next((f for f in entity.fields if "expir" in f.name), None)
        return known or entity.add(Field("expiry_date", "date", True))
    wanted = "due_date" if re.search(r"\bdue\b", tail) else "date"
    return date_field(entity, wanted) or entity.add(Field(wanted, "date", True))


def _filters(q: Request, shown: Entity, tail: str, details: list[str]) -> list[str]:
    by = _FILTER.search(tail)
    if not by:
        return []
    names = [re.split("[=<]", d)[0] for d in details] + [d.split("=")[-1] for d in details]
    explicit = q.made.word == "filter" or re.search(r"\b(?:by|per)\b", tail)
    add = bool(explicit) and not _RANGE.search(tail)
    found = fields_in(shown, re.sub(_WITHIN, "", by[1]), add=add)
    return [f.name for f in found if f.name not in names]


def search(q: Request) -> bool:
    if q.words & (states.OVERDUE | {"available", "unpaid"}) or is_low(q):
        q.made.verb = "list"
        return listing(q.about([*q.phrase, "s"]))
    if by := _BY.search(q.tail):
        wanted = by[1].split(" by ")[-1]
        found = fields_in(q.entity, wanted, add=" by " in f" {q.tail}")
        if found and all(f.type not in ("text", "list") for f in found):
            q.made.verb = "list"
        q.made.details = [f.name for f in found]
    return True


def ordered(q: Request) -> bool:
    by = re.search(r"\bby\s+(.+)$", q.tail)
    fields = fields_in(q.entity, by[1], add=True) if by else []
    q.made.verb, q.made.details = "list", [f"@sort={f.name}" for f in fields[:1]]
    return bool(fields)
