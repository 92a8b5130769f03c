"""Expressions in the generated code: conditions, figures, groups and sample values."""

from __future__ import annotations

from code_words import say
from plan_model import Attribute, Feature, Thing, repr_str

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


def equals(a: Attribute, value: str) -> str:
    if value.startswith("!"):
        return f"!= {repr_str(value[1:])}"
    if a.kind == "boolean":
        return "is True" if value == "true" else "is False"
    return f"== {repr_str(value)}"


def literal(a: Attribute, value: str) -> str:
    """The value that `name=value` stands for; any other one for `name=!value`."""
    if value.startswith("!"):
        return other_state(a, value[1:])
    return ("True" if value == "true" else "False") if a.kind == "boolean" else repr_str(value)


def other_state(a: Attribute, value: str) -> str:
    if value.startswith("!"):
        return literal(a, value[1:])
    if a.kind == "boolean":
        return "False" if value == "true" else "True"
    return repr_str(next((c for c in a.choices if c != value), value))


def matches(a: Attribute, name: str) -> str:
    return f"{name} in item.{a.column}" if a.kind == "list" else f"item.{a.column} == {name}"


def figure(f: Feature) -> str:
    """What one item adds to a sum."""
    token = next(t for t in f.tokens if not t.startswith("@"))
    parts = [a for n in token.split("*") if f.thing and (a := f.thing.get(n))]
    terms = [f"(item.{a.column} or 0)" if a.optional else f"item.{a.column}" for a in parts]
    return " * ".join(terms)


_PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


def group_key(f: Feature, pad: str = "", *, testing: bool = False) -> str:
    """An expression over `item` for what a figure is grouped by; empty if by nothing.

    pad: the indentation of the line that it stands in.
    testing: for the tests, which make the name of what is referred to themselves.
    """
    keys = []
    for a, unit in f.groups:
        value = f"item.{a.column}"
        if a.target:
            value = _named(a, value) if testing else f"db.{a.target.plural}.name({value})"
        if unit in _PERIODS:
            value = f'f"{{{value}:{_PERIODS[unit]}}}"' + (
                f" if {value} else None" if a.optional else ""
            )
        keys.append(value)
    if len(keys) < 2:
        return "".join(keys)
    parts = "".join(f"\n{pad}        text({key})," for key in keys)
    return f'", ".join(\n{pad}    ({parts}\n{pad}    )\n{pad})'


def _named(a: Attribute, number: str) -> str:
    """'Anna (3)' for the object that a reference refers to."""
    naming = a.target.naming if a.target else None
    if a.target is None or naming is None:
        return number
    text = f'f"{{db.{a.target.plural}.get({number}).{naming.column}}} ({{{number}}})"'
    return f'({text} if {number} else "-")' if a.optional else text


def missing_date(a: Attribute) -> str:
    return f"day{'.date()' if a.kind == 'datetime' else ''}"


def zero(f: Feature) -> str:
    token = next(t for t in f.tokens if not t.startswith("@"))
    kinds = {a.kind for n in token.split("*") if f.thing and (a := f.thing.get(n))}
    return "Decimal(0)" if "decimal" in kinds else "0"


def sample(a: Attribute, thing: Thing, lower: frozenset[str] = frozenset()) -> str:
    """An expression over `n` and `db` for one attribute of a sample; those in `lower` stay low."""
    low = a.minimum or 0
    if a.maximum is not None and a.kind in ("integer", "decimal"):
        text = f"{low} + n % {a.maximum - low + 1}"
        return text if a.kind == "integer" else f"Decimal({text})"
    if a.name in lower:
        return {"integer": f"{low} + n", "decimal": f"Decimal({low}) + n"}.get(
            a.kind,
            "date(2000, 1, 1) + timedelta(days=n)"
            if a.kind == "date"
            else "datetime(2000, 1, 1, 9) + timedelta(days=n)",
        )
    if a.kind == "ref":
        return "0" if a.argument != thing.name and not a.optional else "None" if a.optional else "0"
    return {
        "text": f'f"{say(a.name)} {{WORDS[n % 8]}} {{n}}"',
        "integer": f"{low} + 10 * n",
        "decimal": f'Decimal("{low}.50") + n',
        "boolean": "False",
        "date": "date(2030, 1, 1) + timedelta(days=n)",
        "datetime": "datetime(2030, 1, 1, 9) + timedelta(days=n)",
        "list": '[f"{WORDS[n % 8]}{n}"]',
        "choice": repr_str(a.choices[0])
        if a.is_initial_state
        else f"{tuple_of(a.choices)}[n % {len(a.choices)}]",
    }[a.kind]


def tuple_of(values: list[str]) -> str:
    inner = ", ".join(repr_str(v) for v in values)
    return f"({inner},)" if len(values) == 1 else f"({inner})"


def record(columns: list[str], item: str) -> str:
    """A tuple of an item's columns."""
    inner = ", ".join(f"{item}.{column}" for column in columns)
    return f"({inner},)" if len(columns) == 1 else f"({inner})"


def cli_arguments(a: Attribute, item: str, between: str = ", ") -> str:
    """Arguments that give an attribute the value that it has in `item`."""
    value = f"{item}.{a.column}"
    if a.kind == "boolean":
        return f'"{a.option}" if {value} else "--no-{a.option[2:]}"'
    if a.kind == "list":
        return f'*(word for value in {value} for word in ("{a.option}", value))'
    value = f"{value}.isoformat()" if a.kind in ("date", "datetime") and not a.optional else value
    if a.kind in ("date", "datetime") and a.optional:
        value = f"str({value})"
    return f'"{a.option}"{between}{value}'


def plain_sample(a: Attribute) -> str:
    if a.kind == "choice":
        return repr_str(a.choices[0])
    return {
        "text": '"some words"',
        "integer": "10",
        "decimal": '"10.50"',
        "date": '"2030-01-01"',
        "datetime": '"2030-01-01T09:00:00"',
        "ref": "1",
    }[a.kind]


FILTERS = {
    "equals": equals,
    "literal": literal,
    "other_state": other_state,
    "matches": matches,
    "record": record,
    "figure": figure,
    "zero": zero,
    "group_key": group_key,
    "missing_date": missing_date,
    "tuple_of": tuple_of,
    "cli_arguments": cli_arguments,
    "plain_sample": plain_sample,
}
