"""What a brief is understood as: statements in, a specification out.

Plain data, no logic beyond lookup."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Statement:
    """One sentence or list item, with the kind of section it stands in."""

    text: str
    section: str  # one of brief_words.SECTIONS' values
    is_item: bool  # a list item or table row rather than prose
    line: int  # 1-based line in the brief
    parent: str = ""  # text of the list item that this one is nested below
    priority: str = ""  # must, should or could, where a table says so
    note: str = ""  # a remark from a table


@dataclass(frozen=True)
class Clause:
    """Who does what: `verb` as the brief has it, `op` what it stands for ("" if nothing known)."""

    actor: str
    op: str
    verb: str
    words: tuple[str, ...]  # after the verb
    asked: bool  # worded as a wish or a command, not as a description


@dataclass
class Field:
    """An attribute of an entity. `type`: text, integer, decimal, boolean, date, datetime, list,
    choice(a|b) or ref(entity)."""

    name: str
    type: str
    optional: bool = False
    unique: bool = False
    minimum: int | None = None
    maximum: int | None = None
    guessed_from: str = ""  # the phrase that was not understood but surely names a field

    def token(self) -> str:
        marks = "?" if self.optional else ""
        marks += "!" if self.unique else ""
        low = "" if self.minimum is None else f">={self.minimum}"
        high = "" if self.maximum is None else f"<={self.maximum}"
        return f"{self.name}:{self.type}{marks}{low}{high}"


@dataclass
class Entity:
    name: str
    plural: str
    fields: list[Field] = field(default_factory=list)
    stated: bool = False  # the brief itself says what it consists of
    unread: list[str] = field(default_factory=list)  # parts of its description that name no field

    def get(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)

    def first(self, *types: str) -> Field | None:
        return next((f for f in self.fields if f.type.split("(")[0] in types), None)

    def add(self, new: Field) -> Field:
        """Adds a field, or tells the known one what is new about it."""
        known = self.get(new.name)
        if known is None:
            self.fields.append(new)
            return new
        if known.type == "text" and new.type != "text":
            known.type = new.type
        known.unique = known.unique or new.unique
        known.minimum = new.minimum if known.minimum is None else known.minimum
        known.maximum = new.maximum if known.maximum is None else known.maximum
        return known


@dataclass
class Requirement:
    """`verb` is an operation of brief_words.OPERATIONS, or the brief's own word where none fits."""

    text: str
    actor: str
    verb: str
    noun: str
    details: list[str] = field(default_factory=list)
    acceptance: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)  # criteria in the brief's own words
    priority: str = "should"
    word: str = ""  # the brief's own verb; names the command
    line: int | None = None  # None: implied by others
    also: list[str] = field(default_factory=list)
    depends_on: list[int] = field(default_factory=list)


@dataclass
class Fate:
    """What became of a statement. Both lists empty: nothing yet."""

    requirements: list[Requirement] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  # why (else) nothing is built for it

    def give(self, made: Requirement) -> None:
        if all(one is not made for one in self.requirements):
            self.requirements.append(made)


@dataclass
class Specification:
    title: str
    goal: str
    users: list[str] = field(default_factory=list)
    entities: dict[str, Entity] = field(default_factory=dict)
    requirements: list[Requirement] = field(default_factory=list)
    context: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    fates: dict[Statement, Fate] = field(default_factory=dict)  # one for each statement
    described: frozenset[Statement] = frozenset()  # those that gave an entity its fields
    unread: str = ""  # which part of a long brief was not read

    def fate(self, statement: Statement) -> Fate:
        return self.fates.setdefault(statement, Fate())

    def entity(self, name: str, plural: str) -> Entity:
        """The entity of that name, made if there is none."""
        return self.entities.setdefault(name, Entity(name, plural))
