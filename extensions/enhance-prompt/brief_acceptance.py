"""Acceptance criteria: for each operation the checks that the generated tests carry out."""

from __future__ import annotations

import re

from brief_model import Entity, Requirement


def criteria(made: Requirement, entity: Entity | None) -> list[str]:
    """One to three criteria in Given/When/Then form; a gap gets one that says what is missing."""
    if made.verb == "quality":
        return [_QUALITY[made.noun]]
    if made.verb == "rule":
        return [_rule(made)]
    if entity is None or made.verb not in _CRITERIA:
        return [
            (
                f"Given the finished program, when the {_say(made.actor)}"
                f" asks for this, then it does it: {made.text[:120]}"
            )
        ]
    needed = next(
        (
            f.name
            for f in entity.fields
            if not f.optional and not f.type.startswith(("choice", "boolean"))
        ),
        "",
    )
    options = {d.split("=")[0][1:]: d.split("=", 1)[1] for d in made.details if d.startswith("@")}
    values = {
        "a": f"{'an' if entity.name[0] in 'aeiou' else 'a'} {_say(entity.name)}",
        "noun": _say(entity.name),
        "nouns": _say(entity.plural),
        "actor": f"the {_say(made.actor)}",
        "field": _say(needed),
        "detail": ", ".join(_say(d) for d in made.details if not d.startswith("@")),
        **{k: _say(v) for k, v in options.items()},
    }
    out = []
    for text in _CRITERIA[made.verb]:
        if "{field}" in text and not needed:
            continue
        out.append(text.format_map(values))
    if made.verb == "list":
        out = _list(made, values)
    if "group" in options:
        values["group"] = re.sub(r"(\w[\w ]*)\.(\w+)", r"\2 of the \1", values["group"]).replace(
            ",", " and "
        )
    if made.verb == "count" and "group" in options:
        out = [
            (
                f"Given {values['nouns']} that differ in their {values['group']}, when"
                f" {values['actor']} counts them, then each {values['group']} has its number"
            )
        ]
    if made.verb == "sum" and "*" in values["detail"]:
        values["detail"] = values["detail"].replace("*", " times ")
        out = [text.format_map(values) for text in _CRITERIA["sum"]]
    return out


def _list(made: Requirement, values: dict[str, str]) -> list[str]:
    out = []
    for detail in made.details:
        name, _, value = detail.partition("=")
        if re.search(r"<[+-]\d+d$", detail):
            column, _, days = detail.partition("<")
            when = (
                f"within {days[1:-1]} days"
                if days[0] == "+"
                else f"more than {days[1:-1]} days ago"
            )
            out.append(
                "Given {nouns} with different dates, when {actor} lists"
                " those whose {0} is {1}, then only those are shown".format(
                    _say(column), when, **values
                )
            )
        elif "<today" in detail:
            out.append(
                "Given one that is past its {} and one that is not, when {actor}"
                " lists the overdue {nouns}, then only the first is shown".format(
                    _say(detail.split("<")[0]), **values
                )
            )
        elif "<" in detail:
            name, value = detail.split("<")
            out.append(
                "Given {nouns} with little and with much {0}, when"
                " {actor} lists those below {1}, then only those are shown".format(
                    _say(name), value, **values
                )
            )
        elif name == "@sort":
            out.append(
                "Given {nouns} in any order, when {actor} lists them"
                " sorted by {0}, then they are shown in that order".format(
                    _say(value.removeprefix("-")) + ", highest first" * value.startswith("-"),
                    **values,
                )
            )
        elif name == "@period":
            out.append(
                "Given {nouns} on different days, when {actor} lists them without"
                " naming a period, then only those {0} are shown".format(_period(value), **values)
            )
        elif name == "@range":
            out.append(
                "Given {nouns} on different dates, when {actor} asks for"
                " a period by {0}, then only those within it are shown".format(
                    _say(value), **values
                )
            )
        elif name == "@available":
            out.append(
                "Given one {noun} that is lent and one that is not, when"
                " {actor} lists by availability, then they are told apart".format(**values)
            )
        else:
            out.append(
                "Given {nouns} that differ in their {0}, when {actor}"
                " filters by {1}, then only those that match are shown".format(
                    _say(name),
                    f"{_say(name)} {value.replace('!', 'not ')}" if value else _say(name),
                    **values,
                )
            )
    return out or [
        "Given some {nouns}, when {actor} lists the {nouns}, then each of them is shown".format(
            **values
        )
    ]


def _period(value: str) -> str:
    """'week:-1' → 'of last week'."""
    unit, _, number = value.partition(":")
    if unit == "days":
        return f"of the last {number[1:]} days" if number[0] == "-" else "from today on"
    days = {"0": "today", "1": "tomorrow", "-1": "yesterday"}
    if unit == "day":
        return f"of {days[number]}"
    return f"of {({'0': 'this', '1': 'next', '-1': 'last'})[number]} {unit}"


def _rule(made: Requirement) -> str:
    kind, _, value = (made.details[0] if made.details else "").partition("=")
    noun, value = _say(made.noun), _say(value)
    return {
        "@unique": f"Given a {noun} with some {value}, when another"
        f" with the same {value} is added, then it is refused",
        "@minimum": f"Given a {noun}, when its {value.split('>')[0]}"
        f" would be negative, then it is refused",
        "@required": f"When a {noun} is added with an empty {value}, then it is refused",
        "@limit": f"Given a {value.split('<')[0]} with the most loans allowed"
        f" ({value.split('=')[-1]}), when one more is made, then it is refused",
        "@exclusive": f"Given a {value} that is lent, when it is lent again, then it is refused",
        "@capacity": f"Given a {value.split('<')[0]} whose {value.split('=')[-1]} is"
        f" used up, when one more {noun} is added, then it is refused",
        "@referred": f"Given a {noun} that a {value} refers to,"
        f" when it is deleted, then it is refused",
        "@kept": f"Given a {noun}{_held(value)}, when it is deleted, then it is refused",
        "@ordered": f"Given a {noun}, when its {value.split('=')[-1]} would"
        f" be below its {value.split('<')[0]}, then it is refused",
        "@distinct": f"Given a {noun}, when another with the same"
        f" {value.replace(',', ', ')} is added, then it is refused",
    }.get(kind, f"Given the finished program, then this holds: {made.text[:120]}")


def _held(value: str) -> str:
    """'status:paid' → ' that is paid', 'paid:true' → ' that is paid', 'always' → ''."""
    name, _, state = value.partition(":")
    return f" that is {name if state == 'true' else state}" if state else ""


def _say(name: str) -> str:
    return name.replace("_", " ").strip()


_CRITERIA: dict[str, tuple[str, ...]] = {
    "create": (
        (
            "Given an empty database, when {actor} adds {a} with every"
            " field, then it is stored and can be read back unchanged"
        ),
        (
            "Given an empty database, when {actor} adds {a} without"
            " its {field}, then it is refused and nothing is stored"
        ),
    ),
    "list": ("",),
    "show": (
        "Given {a}, when {actor} shows it by its number, then all of its fields are shown",
        "Given no such {noun}, when {actor} shows it, then an error names the number",
    ),
    "update": (
        "Given {a}, when {actor} changes it, then the new value is stored and nothing else changes",
        "Given no such {noun}, when {actor} changes it, then an error names the number",
    ),
    "status": (
        "Given {a}, when {actor} does this, then {detail} is stored",
        "Given no such {noun}, when {actor} does this, then an error names the number",
    ),
    "delete": (
        "Given two {nouns}, when {actor} deletes one, then only the other is left",
        "Given no such {noun}, when {actor} deletes it, then an error names the number",
    ),
    "search": (
        (
            "Given two {nouns}, when {actor} searches for words"
            " that only one of them has, then only that one is shown"
        ),
    ),
    "count": (
        "Given three {nouns}, when {actor} counts those asked for, then the right number is shown",
    ),
    "sum": (
        (
            "Given two {nouns}, when {actor} asks for the"
            " figure, then it is worked out from their {detail}"
        ),
    ),
    "export": (
        (
            "Given two {nouns}, when {actor} exports them as"
            " {format}, then the file holds both with all fields"
        ),
    ),
    "import": (
        "Given a {format} file with two {nouns}, when {actor} imports it, then both are stored",
    ),
    "lend": (
        "Given {a} that is there, when {actor} lends it, then an open loan is stored",
        "Given {a} that is lent, when {actor} lends it again, then it is refused",
    ),
    "return": (
        (
            "Given {a} that is lent, when {actor} returns it,"
            " then the loan is closed and it can be lent again"
        ),
        "Given {a} that is not lent, when {actor} returns it, then it is refused",
    ),
    "tag": (
        (
            "Given {a}, when {actor} adds a value to its {detail},"
            " then it is stored once and the others are kept"
        ),
    ),
    "increase": ("Given {a}, when {actor} increases the {detail} by 3, then it is 3 higher",),
    "decrease": (
        "Given {a}, when {actor} decreases the {detail} by 1, then it is 1 lower",
        (
            "Given {a}, when {actor} decreases the {detail}"
            " below zero, then it is refused and nothing changes"
        ),
    ),
}
_QUALITY = {
    "offline": "Given the installed package, then no module of it uses the network",
    "command-line": "Given the installed package, when its help"
    " is asked for, then every command is listed",
    "persistence": "Given stored data, when the program is"
    " started again, then the data is still there",
    "python": "Given the installed package, then `python -m` runs it",
}
