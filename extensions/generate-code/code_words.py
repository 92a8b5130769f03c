"""Template filters: how a plan's names and values are written in Python, SQL and TOML."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

from plan_model import Attribute, Feature, Plan, Thing, repr_str

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
_PARSERS = {
    "date": "date.fromisoformat",
    "datetime": "datetime.fromisoformat",
    "decimal": "decimal",
}
_SQL = {"integer": "INTEGER", "boolean": "INTEGER", "ref": "INTEGER"}


def say(name: str) -> str:
    return name.replace("_", " ").strip()


def wrapped(text: str) -> str:
    """Text for a docstring: no line over 90 columns, nothing that could end the string."""
    clean = " ".join(text.replace("\\", "/").replace('"', "'").split()) or "No text."
    clean = "".join(c if c.isprintable() else " " for c in clean)
    lines = textwrap.wrap(clean, 88)
    return lines[0] if len(lines) == 1 else "\n    ".join(lines) + "\n    "


def feature_doc(f: Feature) -> str:
    return wrapped(f"{f.id}: {f.text}")


def gap_name(f: Feature) -> str:
    return repr_str(textwrap.shorten(f"{f.id}: {f.text}", 60, placeholder="…"))


def gap_reason(f: Feature) -> str:
    return repr_str(f"{f.id} is not generated")


def has_check(a: Attribute) -> bool:
    return (
        a.kind == "choice"
        or (a.kind == "text" and not a.optional)
        or a.minimum is not None
        or a.maximum is not None
    )


def column_sql(a: Attribute, plan: Plan) -> str:
    parts = [f'"{a.column}"', _SQL.get(a.kind, "TEXT")]
    parts += [] if a.optional and a.kind != "list" else ["NOT NULL"]
    parts += ["UNIQUE"] if a.unique else []
    target = plan.thing(a.argument) if a.kind == "ref" else None
    parts += [f'REFERENCES "{target.plural}" (id)'] if target else []
    return " ".join(parts)


def option(a: Attribute, optional: bool = False, single: bool = False) -> str:
    """The Annotated type of a command's option."""
    base = a.base if not (single and a.kind == "list") else "str"
    none = optional and (a.kind not in ("choice", "boolean") or single or False)
    help_text = {
        "choice": "One of: " + ", ".join(a.choices) + ".",
        "date": "As YYYY-MM-DD.",
        "datetime": "As YYYY-MM-DDTHH:MM.",
        "list": "May be given several times.",
        "ref": f"Number of the {say(a.argument)}.",
    }.get(a.kind, "")
    flag = f"{a.option}/--no-{a.option[2:]}" if a.kind == "boolean" else a.option
    parts = [repr_str(flag)]
    parts += [f"parser={_PARSERS[a.kind]}"] if a.kind in _PARSERS else []
    parts += [f"help={repr_str(help_text)}"] if help_text else []
    return _annotated(base + (" | None" if none else ""), parts)


def date_option(flag: str, help_text: str) -> str:
    return _annotated(
        "date | None", [repr_str(flag), "parser=date.fromisoformat", f"help={repr_str(help_text)}"]
    )


def _annotated(type_: str, parts: list[str]) -> str:
    line = f"Annotated[{type_}, typer.Option({', '.join(parts)})]"
    if len(line) < 58:
        return line
    inner = f"        typer.Option({', '.join(parts)}),"
    if len(inner) > 100:
        inner = (
            "        typer.Option(\n" + "".join(f"            {p},\n" for p in parts) + "        ),"
        )
    return f"Annotated[\n        {type_},\n{inner}\n    ]"


def update_option(a: Attribute) -> str:
    text = option(a, optional=True)
    return text if " | None" in text else text.replace(a.base, a.base + " | None", 1)


def changed(f: Feature) -> list[Attribute]:
    """What an update command can change: the fields it names, or all but a state."""
    if f.attributes or f.thing is None:
        return f.attributes
    return [a for a in f.thing.ordered if not a.is_initial_state] or f.thing.ordered


def equals(a: Attribute, value: str) -> str:
    if a.kind == "boolean":
        return "is True" if value == "true" else "is False"
    return f"== {repr_str(value)}"


def literal(a: Attribute, value: str) -> str:
    return ("True" if value == "true" else "False") if a.kind == "boolean" else repr_str(value)


def other_state(a: Attribute, value: str) -> str:
    if a.kind == "boolean":
        return "False" if value == "true" else "True"
    return repr_str(next((c for c in a.choices if c != value), value))


def matches(a: Attribute, name: str) -> str:
    return f"{name} in item.{a.column}" if a.kind == "list" else f"item.{a.column} == {name}"


def state(t: Thing) -> Attribute | None:
    return next((a for a in t.attributes if a.is_initial_state), None)


def first_of(f: Feature, *kinds: str) -> Attribute:
    return next(a for a in f.attributes if a.kind in kinds)


def first_needed(t: Thing) -> Attribute | None:
    return next((a for a in t.ordered if a.default is None), None)


def figure(f: Feature) -> str:
    """What one item adds to a sum."""
    token = next(t for t in f.tokens if not t.startswith("@"))
    parts = [a for n in token.split("*") if f.thing and (a := f.thing.get(n))]
    terms = [f"(item.{a.column} or 0)" if a.optional else f"item.{a.column}" for a in parts]
    return " * ".join(terms)


_PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


def group_key(f: Feature, item: str = "item") -> str:
    """An expression for what a figure is grouped by; empty if by nothing."""
    keys = []
    for a, unit in f.groups:
        value = f"{item}.{a.column}"
        if unit in _PERIODS:
            value = f'f"{{{value}:{_PERIODS[unit]}}}"' + (
                f" if {value} else None" if a.optional else ""
            )
        keys.append(value)
    return (
        keys[0]
        if len(keys) == 1
        else f'", ".join(({", ".join(f"text({k})" for k in keys)}))'
        if keys
        else ""
    )


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


def model_type(python: str) -> str:
    """In the models a field may be called `date`; the type has another name there."""
    return re.sub(r"\bdatetime\b", "DateTime", re.sub(r"\bdate\b", "Date", python))


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
    return {
        "text": '"some words"',
        "integer": "10",
        "decimal": '"10.50"',
        "date": '"2030-01-01"',
        "datetime": '"2030-01-01T09:00:00"',
        "ref": "1",
    }[a.kind]


def toml(text: str) -> str:
    return json.dumps("".join(c for c in text if c.isprintable()), ensure_ascii=False)


def dashed(name: str) -> str:
    return name.replace("_", "-")


FILTERS: dict[str, Any] = {
    name: globals()[name]
    for name in [
        "say",
        "wrapped",
        "feature_doc",
        "gap_name",
        "gap_reason",
        "has_check",
        "column_sql",
        "option",
        "date_option",
        "changed",
        "equals",
        "literal",
        "other_state",
        "matches",
        "model_type",
        "record",
        "state",
        "first_of",
        "first_needed",
        "figure",
        "zero",
        "group_key",
        "missing_date",
        "sample",
        "tuple_of",
        "cli_arguments",
        "plain_sample",
        "toml",
        "dashed",
    ]
} | {"doc": wrapped}
