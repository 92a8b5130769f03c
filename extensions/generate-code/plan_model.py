"""What is to be generated: entities, commands and gaps. Plain data; plan_read makes it."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field

PYTHON_TYPES = {
    "text": "str",
    "integer": "int",
    "decimal": "Decimal",
    "boolean": "bool",
    "date": "date",
    "datetime": "datetime",
    "list": "list[str]",
    "choice": "str",
    "ref": "int",
}
_TAKEN = frozenset(
    [
        "number",
        "context",
        "item",
        "items",
        "text",
        "order",
        "table",
        "one",
        "replace",
        "first",
        "last",
        "below",
        "by",
        "values",
        "words",
        "file",
        "database",
        "app",
        "typer",
        "check",
        "str",
        "int",
        "bool",
        "list",
        "field",
        "dataclass",
        "db",
        "now",
        "level",
        "levels",
        "days",
        "dated",
        "lent",
        "wanted",
        "totals",
        "figures",
        "total",
        "count",
        "added",
        "new",
        "read_file",
        "write_file",
        "decimal",
        "held",
        "mine",
        "period",
    ]
)  # names that the generated modules use themselves


_IMPORTED = frozenset(
    [
        "app",
        "options",
        "database",
        "decimal",
        "one",
        "order",
        "read_file",
        "table",
        "text",
        "write_file",
        "replace",
        "date",
        "datetime",
        "typer",
        "str",
        "int",
        "list",
        "sorted",
        "len",
        "any",
        "sum",
        "type",
    ]
)  # what the generated command line imports


@dataclass(eq=False)
class Attribute:
    name: str
    kind: str
    argument: str  # a|b of choice(a|b), the entity of ref(entity)
    optional: bool
    unique: bool
    minimum: int | None
    maximum: int | None = None
    target: Thing | None = None  # what a ref refers to

    @property
    def python(self) -> str:
        return PYTHON_TYPES[self.kind] + (
            " | None" if self.optional and self.kind != "list" else ""
        )

    @property
    def base(self) -> str:
        return PYTHON_TYPES[self.kind]

    @property
    def column(self) -> str:
        """The name in Python and SQL: a reference holds the other's id."""
        if self.kind == "ref":
            return f"{self.name.rstrip('_')}_id"
        return self.name + "_" if self.name in _TAKEN else self.name

    @property
    def choices(self) -> list[str]:
        return self.argument.split("|") if self.kind == "choice" else []

    @property
    def default(self) -> str | None:
        if self.kind == "choice" and self._usual:
            return repr_str(self._usual)
        if self.kind == "boolean":
            return "False"
        if self.kind == "list":
            return "field(default_factory=list)"
        return "None" if self.optional else None

    @property
    def _usual(self) -> str:
        """The choice that holds where none is given: a state begins with its first; of others
        only one that is called so."""
        if self.is_initial_state:
            return self.choices[0]
        usual = ("normal", "medium", "standard", "default", "regular", "average", "middle")
        return next((c for c in self.choices if c in usual and not self.optional), "")

    @property
    def is_initial_state(self) -> bool:
        return self.kind == "choice" and self.name in ("status", "state")

    @property
    def option(self) -> str:
        return "--" + self.column.strip("_").replace("_", "-")


@dataclass(eq=False)
class Thing:
    name: str
    plural: str
    attributes: list[Attribute] = field(default_factory=list)

    @property
    def cls(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("_"))

    def get(self, name: str) -> Attribute | None:
        return next((a for a in self.attributes if name in (a.name, a.column)), None)

    @property
    def ordered(self) -> list[Attribute]:
        """Those without a default first, as a dataclass wants them."""
        return sorted(self.attributes, key=lambda a: a.default is not None)

    @property
    def naming(self) -> Attribute | None:
        """The attribute by which a person knows one from another."""
        texts = [a for a in self.attributes if a.kind == "text" and not a.optional]
        named = (a for a in texts if a.name in ("name", "title"))
        return next(named, texts[0] if texts else None)

    @property
    def references(self) -> list[Attribute]:
        return [a for a in self.attributes if a.kind == "ref"]


@dataclass(eq=False)
class Feature:
    id: str
    text: str
    actor: str
    verb: str
    noun: str
    tokens: list[str]
    priority: str
    acceptance: list[str]
    depends_on: list[str]
    command: str = ""
    thing: Thing | None = None

    @property
    def names(self) -> list[str]:
        """Plain tokens: field names."""
        return [t for t in self.tokens if re.fullmatch(r"\w+", t)]

    @property
    def attributes(self) -> list[Attribute]:
        found = [self.thing.get(n) for n in self.names] if self.thing else []
        return [a for a in found if a]

    def option(self, key: str) -> str:
        return next((t.split("=", 1)[1] for t in self.tokens if t.startswith(f"@{key}=")), "")

    @property
    def settings(self) -> list[tuple[Attribute, str]]:
        """`name=value` tokens with the attribute that they name."""
        pairs = [t.split("=", 1) for t in self.tokens if re.match(r"^\w+=", t)]
        return [(a, v) for n, v in pairs if self.thing and (a := self.thing.get(n))]

    @property
    def sort(self) -> tuple[Attribute, bool] | None:
        """What a list is sorted by, and whether the highest comes first."""
        value = self.option("sort")
        found = self.thing.get(value.removeprefix("-")) if value and self.thing else None
        return (found, value.startswith("-")) if found else None

    @property
    def below(self) -> tuple[Attribute, str] | None:
        pair = next((t.split("<", 1) for t in self.tokens if re.match(r"^\w+<\w+$", t)), None)
        found = self.thing.get(pair[0]) if pair and self.thing else None
        return (found, pair[1]) if found and pair else None

    @property
    def window(self) -> tuple[Attribute, str, int] | None:
        """A date, '+' (from today on) or '-' (before today), and by how many days."""
        found = (re.match(r"^(\w+)<([+-])(\d+)d$", t) for t in self.tokens)
        match = next((m for m in found if m), None)
        date = self.thing.get(match[1]) if match and self.thing else None
        return (date, match[2], int(match[3])) if date and match else None

    @property
    def period(self) -> tuple[str, int] | None:
        """The days that a list shows where none are named: 'week' and -1 for last week; 'days'
        and how many ahead of today or, below zero, back."""
        match = re.match(
            r"^(?:(day|week|month|year):(-1|0|1)|days:(-?\d{1,5}))$", self.option("period")
        )
        if match is None:
            return None
        return (match[1], int(match[2])) if match[1] else ("days", int(match[3]))

    @property
    def groups(self) -> list[tuple[Attribute, str]]:
        """What a figure is given for each of: an attribute, and day, month or year if it is a
        date."""
        names = [n.partition(".") for n in self.option("group").split(",") if n]
        pairs = [(self.thing.get(n) if self.thing else None, unit) for n, _, unit in names]
        return [(a, unit) for a, unit in pairs if a]

    @property
    def function(self) -> str:
        name = self.command.replace("-", "_")
        return f"{name}_command" if keyword.iskeyword(name) or name in _IMPORTED else name


@dataclass(eq=False)
class Plan:
    title: str
    goal: str
    package: str
    things: list[Thing]
    commands: list[Feature]
    checks: list[Feature]  # rules and qualities: no command of their own
    gaps: list[Feature]

    def thing(self, name: str) -> Thing | None:
        return next((t for t in self.things if t.name == name), None)

    def uses(self, *kinds: str) -> bool:
        return any(a.kind in kinds for t in self.things for a in t.attributes)


def repr_str(text: str) -> str:
    """A Python string literal in double quotes."""
    escaped = (
        text.encode("unicode_escape").decode("ascii")
        if not text.isprintable()
        else text.replace("\\", "\\\\")
    )
    return '"' + escaped.replace('"', '\\"') + '"'
