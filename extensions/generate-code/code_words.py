"""Template filters: how a plan's names and values are written in Python, SQL and TOML."""

from __future__ import annotations

import json
import re
import textwrap

from plan_model import Attribute, Feature, Plan, Thing, repr_str

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
    fixed = a.kind == "boolean" or (a.kind == "choice" and not a.optional)
    none = optional and (not fixed or single)
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


def state(t: Thing) -> Attribute | None:
    return next((a for a in t.attributes if a.is_initial_state), None)


def first_of(f: Feature, *kinds: str) -> Attribute:
    return next(a for a in f.attributes if a.kind in kinds)


def first_needed(t: Thing) -> Attribute | None:
    needed = [a for a in t.ordered if a.default is None]
    return next((a for a in needed if a.kind != "choice"), needed[0] if needed else None)


def model_type(python: str) -> str:
    """In the models a field may be called `date`; the type has another name there."""
    return re.sub(r"\bdatetime\b", "DateTime", re.sub(r"\bdate\b", "Date", python))


def toml(text: str) -> str:
    return json.dumps("".join(c for c in text if c.isprintable()), ensure_ascii=False)


def dashed(name: str) -> str:
    return name.replace("_", "-")


FILTERS = {
    "say": say,
    "wrapped": wrapped,
    "doc": wrapped,
    "feature_doc": feature_doc,
    "gap_name": gap_name,
    "gap_reason": gap_reason,
    "has_check": has_check,
    "column_sql": column_sql,
    "option": option,
    "update_option": update_option,
    "date_option": date_option,
    "changed": changed,
    "model_type": model_type,
    "state": state,
    "first_of": first_of,
    "first_needed": first_needed,
    "toml": toml,
    "dashed": dashed,
}
