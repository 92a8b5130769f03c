"""Requirements that ask for a figure: counts, sums and averages, for each of something or for
each month."""

from __future__ import annotations

import re

from brief_lookup import date_field, fields_in, numbers, state_filter, stock_field
from brief_model import Entity, Field
from brief_nouns import singular
from brief_request import Request

GROUP = re.compile(
    r"""\b(?:per|by|for\ each|in\ each|of\ each|for\ every|grouped\ by|each|every)\s+
        (?:(?:the|its|their)\s+)?([\w-]+(?:\ [\w-]+)?)""",
    re.VERBOSE,
)
_PERIOD = re.compile(
    r"\b(?:(?:per|by|for each|each|every|a|of the|in"
    r" the|this) (day|month|year)|(dai|month|year)ly)\b"
)
_ONE_PERIOD = re.compile(
    r"\b(?:today|tomorrow|yesterday|(?:this|next|last) week|(?:next|last) (?:month|year)"
    r"|(?:next|last) \d+ (?:day|week|month|year)s?)\b"
)
_AND_PER = re.compile(r"\b(?:per|by) ([\w-]+) and (?:per |by )?([\w-]+)")
_MONEY = re.compile(r"price|cost|rate|fee")
WORTH = re.compile(r"\b(?:value|worth|revenue|total|cost|turnover|income|sales)\b")


def count(q: Request) -> bool:
    if _ONE_PERIOD.search(q.tail):
        return False  # a figure of one period only is more than a group can tell
    group = _groups(q)
    if group is None:
        return False
    q.made.details = state_filter(q.spec, q.entity, q.words) + group
    return True


def total(q: Request) -> bool:
    if _ONE_PERIOD.search(q.tail):
        return False
    found = numbers(q.entity)
    words = {singular(w) for w in re.findall(r"\w+", q.tail)}
    named = [f for f in found if {singular(w) for w in f.name.split("_")} & words]
    stock = stock_field(q.entity)
    price = next((f for f in found if _MONEY.search(f.name)), None)
    worth = WORTH.search(f"{q.tail} {q.made.text.lower()}") and "average" not in q.tail
    if stock and price and stock is not price and worth:
        figure = f"{price.name}*{stock.name}"
    elif named or found:
        figure = (named or [price] if price else named or found)[0].name
    elif re.search(r"number|how many|count", q.tail):
        q.made.verb = "count"
        return count(q)
    else:
        return False
    group = _groups(q, figure)
    if group is None:
        return False
    average = q.made.word == "average" or "average" in q.tail
    q.made.details = [figure, *(["@average=true"] if average else []), *group]
    return True


def _groups(q: Request, figure: str = "") -> list[str] | None:
    """The tokens of 'per month' and 'per customer'; None if what it is grouped by is not known."""
    tokens: list[str] = []
    rest = _AND_PER.sub(r"per \1 per \2", q.tail)
    if period := _PERIOD.search(rest):
        unit = period[1] or {"dai": "day"}.get(period[2], period[2])
        field = _dated(q.entity)
        tokens.append(f"{field.name}.{unit}")
        rest = rest.replace(period[0], " ")
    for group in GROUP.finditer(rest):
        words = re.sub(r"\b(?:and|or|per|by|in|of|for)\b.*$", "", group[1])
        found = [f for f in fields_in(q.entity, words, add=not figure) if f.name != figure]
        if not found:
            return None
        tokens.append(found[0].name)
    return [f"@group={','.join(dict.fromkeys(tokens))}"] if tokens else []


def _dated(entity: Entity) -> Field:
    """Figures by month need a date that is always there."""
    field = date_field(entity, "date", make=False)
    return field or entity.add(Field("date", "date"))
