"""Decides what is generated: which rows of a backlog become commands, checks or gaps, and under
which names."""

from __future__ import annotations

import keyword
import re
import sys

from plan_model import Attribute, Feature, Plan, Thing
from plan_read import attribute, features

COMMANDS = frozenset(
    [
        "create",
        "list",
        "show",
        "update",
        "status",
        "delete",
        "search",
        "count",
        "sum",
        "export",
        "import",
        "lend",
        "return",
        "tag",
        "increase",
        "decrease",
    ]
)
RULES = frozenset(
    [
        "unique",
        "minimum",
        "required",
        "limit",
        "exclusive",
        "distinct",
        "capacity",
        "referred",
        "kept",
        "ordered",
    ]
)
QUALITIES = frozenset(["offline", "command-line", "persistence", "python"])
_IMPORTED = frozenset(["pytest", "typer", "click", "rich", "sample_data", "conftest"])
_PLURAL = re.compile(r"^(?P<name>[a-z]\w*) \(plural: (?P<plural>[a-z]\w*)\)$", re.MULTILINE)


def plan(backlog: str, prompt: str = "") -> Plan:
    """The plan for a backlog. The enhanced prompt gives title, goal and plurals; without it they
    are guessed."""
    rows = features(backlog)
    plurals = {m["name"]: m["plural"] for m in _PLURAL.finditer(prompt)}
    things = _things(rows, plurals)
    title = (re.search(r"^# (.+)$", prompt, re.MULTILINE) or [None, "Generated package"])[
        1
    ] or "Generated package"
    goal = re.search(r"^## Goal\n+(.*?)\n+## ", prompt, re.MULTILINE | re.DOTALL)
    made = Plan(
        title,
        " ".join(goal[1].split()) if goal else title,
        package_name(title),
        list(things.values()),
        [],
        [],
        [],
    )
    taken: set[str] = set()
    for row in rows:
        row.thing = things.get(row.noun)
        kind = _kind(row, rows, things)
        {"command": made.commands, "check": made.checks, "gap": made.gaps}[kind].append(row)
        if kind != "check":
            row.command = _command(row, kind, taken)
            taken.add(row.command)
    return made


def package_name(title: str) -> str:
    words = re.findall(r"[a-z0-9]+", title.lower())
    words = [w for w in words if w not in ("the", "a", "an", "of", "and", "for", "our")] or words
    name = "_".join(words[:3])
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name in _IMPORTED
    if name and name[0].isalpha() and len(name) > 3 and not taken:
        return name
    return f"{name or 'generated'}_app".lstrip("0123456789_")


def _things(rows: list[Feature], plurals: dict[str, str]) -> dict[str, Thing]:
    things: dict[str, Thing] = {}
    for row in rows:
        name = "loan" if row.verb == "lend" else row.noun
        found = [a for t in row.tokens if (a := attribute(t))]
        if (
            row.verb not in ("create", "lend")
            or not found
            or not re.fullmatch(r"[a-z][a-z0-9_]*", name)
        ):
            continue
        thing = things.setdefault(name, Thing(name, plurals.get(name, name + "s")))
        thing.attributes += [a for a in found if thing.get(a.name) is None]
    for thing in things.values():
        for one in thing.attributes:
            if one.kind == "ref" and one.argument not in things:
                one.kind, one.argument = "text", ""
    for thing in things.values():
        for one in sorted(thing.references, key=lambda a: not a.optional):
            if one.argument != thing.name and _leads_to(things, one.argument, thing.name):
                # neither of two that need each other could ever be added
                one.kind, one.argument = "text", ""
            else:
                one.target = things[one.argument]
    return things


def _leads_to(things: dict[str, Thing], start: str, goal: str) -> bool:
    """Whether references lead from one thing to another."""
    seen, todo = set[str](), [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [a.argument for a in things[name].references if a.argument in things]
    return goal in seen


def _kind(row: Feature, rows: list[Feature], things: dict[str, Thing]) -> str:
    if row.verb == "quality":
        return "check" if row.noun in QUALITIES else "gap"
    if row.thing is None:
        return "gap"
    if row.verb == "rule":
        return "check" if _rule_holds(row, rows, things) else "gap"
    if row.verb not in COMMANDS:
        return "gap"
    return "command" if _complete(row, things) else "gap"


def _rule_holds(row: Feature, rows: list[Feature], things: dict[str, Thing]) -> bool:
    """Whether everything that a rule names is there."""
    key, _, value = (row.tokens[0] if row.tokens else "").lstrip("@").partition("=")
    thing = row.thing
    if thing is None:
        return False
    first, _, second = value.partition("<=")
    if key == "referred":
        holder = things.get(value)
        return holder is not None and any(a.argument == thing.name for a in holder.references)
    if key == "kept":
        name, _, state = value.partition(":")
        held = thing.get(name)
        deletes = any(r.verb == "delete" and r.noun == row.noun for r in rows)
        return held is not None and bool(state) if value != "always" else not deletes
    if key == "capacity":
        ref = thing.get(first)
        place = things.get(ref.argument) if ref and ref.kind == "ref" else None
        return place is not None and place.get(second) is not None
    if key == "ordered":
        low, high = thing.get(first), thing.get(second)
        return (
            low is not None
            and high is not None
            and low.kind == high.kind
            and (low.minimum or 0) <= (high.minimum or 0)
        )
    names = re.split(r"[<>]", value)[0].split(",")
    return key in RULES and row.thing is not None and all(row.thing.get(n) for n in names)


def _complete(row: Feature, things: dict[str, Thing]) -> bool:
    """Everything that the operation needs is there."""
    assert row.thing is not None  # noqa: S101 - for the type checker; _kind has looked
    numbers = [a for a in row.thing.attributes if a.kind in ("integer", "decimal")]
    if row.option("group") and len(row.groups) != len(row.option("group").split(",")):
        return False
    if row.verb == "list" and any("<" in t for t in row.tokens) and not (row.below or row.window):
        return False
    if row.option("sort") and not row.sort:
        return False
    dated = row.thing.get(row.option("range"))
    if row.option("range") and not (dated and dated.kind in ("date", "datetime")):
        return False
    if row.option("period") and not (row.period and dated):
        return False
    if row.verb == "status":
        return bool(row.settings)
    if row.verb == "sum":
        return all(
            row.thing.get(n) in numbers
            for t in row.tokens
            if not t.startswith("@")
            for n in t.split("*")
        ) and any(not t.startswith("@") for t in row.tokens)
    if row.verb in ("increase", "decrease"):
        return any(a in numbers for a in row.attributes)
    if row.verb == "tag":
        return any(a.kind == "list" for a in row.attributes)
    if row.verb in ("lend", "return"):
        loan = things.get("loan")
        return (
            loan is not None and loan.get(row.noun) is not None and loan.get("status") is not None
        )
    if row.verb == "search":
        return any(a.kind in ("text", "list", "choice") for a in row.attributes)
    if row.verb in ("export", "import"):
        return row.option("format") in ("csv", "json")
    return True


def _command(row: Feature, kind: str, taken: set[str]) -> str:
    """A command's name in the brief's own words: add-task, list-tasks-overdue, mark-order-paid."""
    word = re.sub(r"[^a-z]+", "-", row.option("word").lower()).strip("-")
    if kind == "gap" or row.thing is None:
        parts = (
            [*re.findall(r"[a-z]+", row.text.lower())[:5]]
            if not word or row.verb == "provide"
            else [word, *re.findall(r"[a-z]+", row.noun.lower())]
        )
        base = "-".join(parts) or "feature"
    else:
        base = "-".join(
            (word if word and word not in ("filter", "sort", "order") else row.verb, *_suffix(row))
        )
    name = re.sub(r"_+", "-", base).strip("-")
    return name if name not in taken else f"{name}-{row.id.lower()}"


def period_name(unit: str, number: int) -> str:
    """('day', 0) → 'today', ('week', -1) → 'last-week', ('days', -7) → 'last-7-days'."""
    if unit == "days":
        return f"last-{-number}-days" if number < 0 else "upcoming"
    if unit == "day":
        return {0: "today", 1: "tomorrow", -1: "yesterday"}[number]
    return f"{({0: 'this', 1: 'next', -1: 'last'})[number]}-{unit}"


def _suffix(row: Feature) -> list[str]:
    thing = row.thing
    assert thing is not None  # noqa: S101 - as in _complete
    many = thing.plural
    if row.verb == "list":
        below = row.below
        extra = (
            ["overdue"]
            if below and below[1] == "today"
            else [f"low-{below[0].name}"]
            if below
            else []
        )
        extra += [{"+": "within-days", "-": "older-than"}[row.window[1]]] if row.window else []
        extra += [v.replace("!", "not-") for _, v in row.settings if v not in ("true", "false")]
        extra += [
            a.name.removeprefix("is_") if v == "true" else f"not-{a.name.removeprefix('is_')}"
            for a, v in row.settings
            if v in ("true", "false")
        ]
        extra += (
            ["available" if row.option("available") == "true" else "lent"]
            if row.option("available")
            else []
        )
        by = [f"by-{a.name}" for a in row.attributes[:1]] or (
            [f"by-{row.sort[0].name}"] if row.sort and not extra else []
        )
        by = by or [period_name(*row.period)] if row.period else by
        by = by or ([f"by-{row.option('range')}"] if row.option("range") else [])
        return [many, *extra, *by]
    if row.verb == "status":
        return [
            thing.name,
            row.settings[0][1]
            if row.option("word") in ("mark", "set", "flag", "change")
            and row.settings[0][1] != "true"
            else row.settings[0][0].name
            if row.option("word") in ("mark", "set", "flag")
            else "",
        ]
    if row.verb == "update":
        return [
            thing.name,
            *(row.names[:1] if len(row.names) == 1 and row.option("word") != "rename" else []),
        ]
    if row.verb in ("count", "sum"):
        by = ["by-" + re.sub(r"\W+", "-", row.option("group"))] if row.option("group") else []
        what = (
            [t.replace("*", "-") for t in row.tokens if re.match(r"^\w+(\*\w+)?$", t)]
            if row.verb == "sum"
            else []
        )
        return [many, *what, *[v for _, v in row.settings], *by]
    return [
        many if row.verb in ("search", "export", "import") else thing.name,
        *(row.names[:1] if row.verb in ("increase", "decrease") else []),
    ]


__all__ = ["Attribute", "Feature", "Plan", "Thing", "package_name", "plan"]
